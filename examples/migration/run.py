# SPDX-License-Identifier: LGPL-3.0-or-later
"""Hops of lithium in four cathodes: dumbbell and tetrahedron, electrons in four ways.

``python examples/migration/run.py -o migration``
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spin_dp import SpinDP, rank_states
from spin_dp.crystals import unit_cell
from spin_dp.demo.summary import markdown_table
from spin_dp.deployment.cache import fast_models
from spin_dp.drawing import save_png
from spin_dp.files import write_text
from spin_dp.properties import RelaxationSettings, Subject
from spin_dp.properties.migration import (
    Barrier,
    BarrierSettings,
    HopSettings,
    barrier,
    hops_of,
)
from spin_dp.properties.relaxation import relaxed
from spin_dp.search import ranked_frames
from spin_dp.threads import default_to_one_thread

if TYPE_CHECKING:
    from ase import Atoms

# Of the full crystals; which states hold the holes is found.
CRYSTALS = {
    "LiCoO2": "Co=3+LS",
    "LiNiO2": "Ni=3+LS",
    "LiMnO2": "Mn=3+HS",
    "Li0.5NiO2": None,
}
NAME = "lixmo2"  # in pictures
WAYS = (
    ("staying", "adiabatic"),
    ("staying", "held"),
    ("following", "adiabatic"),
    ("lowest", "adiabatic"),
)


def build(name: str) -> Atoms:
    """Return a crystal: a conventional cell, of Li0.5NiO2 two metals in two rows."""
    if name != "Li0.5NiO2":
        return unit_cell(name, primitive=False)
    atoms = unit_cell("LiNiO2").repeat((2, 1, 1))
    del atoms[next(k for k, s in enumerate(atoms.symbols) if s == "Li")]
    return atoms


def at_rest(name: str, model: SpinDP, label_mode: str) -> Subject:
    """Return a crystal with relaxed cell, in its spin state.

    The half-empty one is in its lowest state, and has the lattice of the full one: the
    shipped model swells it too much.
    """
    atoms, labels = build(name), CRYSTALS[name]
    if labels is None:
        table = rank_states(atoms, model, states={"Ni": ["3+LS", "4+LS"]})
        atoms = ranked_frames(atoms, table, 1)[0]
    subject = Subject.of_model(atoms, model, labels)
    what = "cell" if labels else "atoms"
    found = relaxed(subject, RelaxationSettings(what=what, max_force=0.01)).atoms
    return Subject.of_model(
        found,
        model,
        labels,
        label_mode=label_mode,  # type: ignore[arg-type]
        name=NAME,
    )


def main(
    out: Path,
    model: str | list[Path] = "lixmo2",
    *,
    crystals: tuple[str, ...] = tuple(CRYSTALS),
    ways: tuple[tuple[str, str], ...] = WAYS,
    width: float = 7.0,
    images: int = 7,
    max_force: float = 0.03,
) -> pd.DataFrame:
    """Search all paths; return a row for each."""
    out.mkdir(parents=True, exist_ok=True)
    opened = SpinDP(fast_models(model) if isinstance(model, str) else model)
    rows = []
    for name in crystals:
        subjects = {mode: at_rest(name, opened, mode) for mode in dict(_swapped(ways))}
        kinds = ("present",) if CRYSTALS[name] is None else ("one", "two")
        for vacancies in kinds:
            settings = HopSettings(vacancies=vacancies)
            first = next(iter(subjects.values()))
            for number, hop in enumerate(hops_of(first, settings).hops):
                found = []
                for electron, mode in ways:
                    one = barrier(
                        subjects[mode],
                        BarrierSettings(
                            vacancies=vacancies,
                            hop=number,
                            electron=electron,
                            width=width,
                            images=images,
                            max_force=max_force,
                        ),
                    )
                    found.append(one)
                    rows.append(_row(name, vacancies, number, one))
                    print(*rows[-1].values(), flush=True)
                _write(found, out, f"{name}-{vacancies}-{number}-{hop.way}")
                table = pd.DataFrame(rows)
                table.round(3).to_csv(out / "barriers.csv", index=False)
                write_text(out / "barriers.md", markdown(table) + "\n")
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """Return a row for each hop, with the barriers of all ways, as text."""
    header = [
        *("crystal", "vacancies", "hop, Å", "stays", "moments held"),
        *("goes along", "lowest", "Li-O, Å", "Li-M, Å"),
    ]
    rows = []
    for _, hop in table.groupby(["crystal", "vacancies", "hop"], sort=False):
        ways = hop.set_index(["electron", "labels"])
        first = hop.iloc[0]
        barriers = []
        for way in WAYS:
            here = ways.loc[way] if way in ways.index else None
            text = "" if here is None else f"{here['barrier']:.2f}"
            if barriers or here is None or np.isnan(here["spread"]):
                barriers.append(text)
            else:
                barriers.append(f"{text} ± {here['spread']:.2f}")
        rows.append(
            [
                *(first["crystal"], first["vacancies"]),
                f"{first['way']}, {first['distance']:.2f}",
                *barriers,
                *(f"{first[name]:.2f}" for name in ("Li-O", "Li-M")),
            ]
        )
    return markdown_table(header, rows, left=3)


def _swapped(ways: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [(mode, electron) for electron, mode in ways]


def _row(name: str, vacancies: str, hop: int, one: Barrier) -> dict[str, object]:
    return {
        "crystal": name,
        "vacancies": vacancies,
        "hop": hop,
        "way": one.way,
        "distance": one.distance,
        "electron": one.electron,
        "labels": one.label_mode,
        "barrier": one.barrier,
        "spread": (one.spread or {}).get("barrier", float("nan")),
        "end": one.reaction_energy,
        "crossing": one.crossing_energy,
        "Li-O": one.nearest_anion,
        "Li-M": one.nearest_metal,
        "anions": one.top_coordination,
        "state": one.spin_state.partition("#")[0],
        "unstable": one.unstable_modes,
        "converged": one.converged,
    }


def _write(found: list[Barrier], out: Path, name: str) -> None:
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for one in found:
        one.plot(axes)
        one.write_path(out / f"{name}-{one.electron}-{one.label_mode}.extxyz")
    save_png(figure, out / f"{name}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("migration"))
    parser.add_argument("-m", "--model", default="lixmo2")
    given = parser.parse_args()
    default_to_one_thread()
    result = main(given.output, given.model)
    print(result.round(3).to_string(index=False))
