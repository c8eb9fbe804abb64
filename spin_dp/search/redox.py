# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which ions change their charge while lithium leaves.

At each content of lithium, in a few arrangements of the vacancies, the lowest spin
state is looked for; what its ions are, beside those of the full crystal, is the redox
bookkeeping. Positions stay, or relax in the lowest states.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spin_dp.drawing import COLOURS, plain, save_png
from spin_dp.errors import ConfigError, unknown
from spin_dp.search.ladder import ranked_frames
from spin_dp.search.lowest import lowest_states
from spin_dp.search.relaxed import relax_states
from spin_dp.spin_states.key import label_rank
from spin_dp.spin_states.nominal import find_nominal_state
from spin_dp.structures import as_atoms
from spin_dp.vacancies import with_vacancies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ase import Atoms
    from pymatgen.core import Structure

    from spin_dp.inference.predictor import SpinDP
    from spin_dp.search.chains import SearchSettings
    from spin_dp.search.relaxed import Relaxed

log = logging.getLogger(__name__)

_WHOLE = 1e-6
_STATE = "n "  # column of a state's number of sites


@dataclass(frozen=True, eq=False)
class Redox:
    """The lowest state at each content of lithium.

    Attributes
    ----------
    table
        A row for each content and arrangement, full crystal first: ``x`` (share of the
        ions that is left); ``arrangement``; ``removed`` (ions); ``energy`` (eV per
        cell); ``state`` (key); ``oxidised`` and ``reduced`` (electrons that metals have
        lost and gained against the full crystal's lowest state, e per cell);
        ``oxygen_moment`` (mean length of the moments of the anions, μB; nan where the
        model predicts none); ``evaluated`` (assignments); ``lowest`` (whether it is
        the lowest arrangement at this content); ``n STATE`` (sites in it).
    frames
        The structures in these states, in the order of the table.
    """

    table: pd.DataFrame
    frames: Sequence[Atoms]

    @property
    def lowest(self) -> pd.DataFrame:
        """The row of the lowest arrangement at each content."""
        return self.table[self.table["lowest"]]

    @property
    def states(self) -> list[str]:
        """Names of states that some row has."""
        columns = [str(name) for name in self.table.columns]
        return [name[len(_STATE) :] for name in columns if name.startswith(_STATE)]


def follow_redox(
    structure: Atoms | Structure,
    model: SpinDP,
    *,
    ion: str = "Li",
    shares: Sequence[float] = (1.0, 0.75, 0.5, 0.25, 0.0),
    arrangements: int = 3,
    states: Mapping[str, Sequence[str | float]] | None = None,
    relax: Relaxed | None = None,
    max_patterns: int = 512,
    search: SearchSettings | None = None,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Redox:
    """Find the lowest spin states while an ion is taken out.

    Parameters
    ----------
    structure
        The full crystal, a supercell.
    model
        As for :func:`spin_dp.search.rank_states`.
    ion
        Element that leaves.
    shares
        Of the ions that are left, between 0 and 1.
    arrangements
        Of the vacancies at each content: the first one spread far from each other,
        others drawn.
    states
        As for :func:`spin_dp.search.rank_states`.
    relax
        Whether atoms, or cell, relax in the lowest state of each arrangement.
    max_patterns
        Where there are more distinct assignments, chains search.
    search
        How; a short tempering if None.
    seed
        Of the arrangements.
    progress
        Called as ``progress(done, number)`` over all arrangements.

    Raises
    ------
    ConfigError
        If the structure has no such ion, or a share is none; as
        :func:`spin_dp.search.rank_states`.
    """
    full = as_atoms(structure)
    if ion not in full.get_chemical_symbols():
        raise unknown("ion that leaves", ion, set(full.get_chemical_symbols()))
    if not shares or min(shares) < 0.0 or max(shares) > 1.0:
        raise ConfigError(f"shares: expected 0 to 1, got {list(shares)}.")
    if arrangements < 1:
        raise ConfigError(f"arrangements: expected at least 1, got {arrangements}.")
    count = full.get_chemical_symbols().count(ion)
    for share in shares:
        if abs(share * count - round(share * count)) > _WHOLE:
            raise ConfigError(
                f"shares: {share:g} of the {count} {ion} ions is no whole number; give "
                "a supercell (--supercell), or other shares."
            )
    jobs = [
        (share, number, atoms)
        for share in sorted(set(shares), reverse=True)
        for number, atoms in enumerate(
            _arrangements(full, ion, share, arrangements, seed)
        )
    ]
    rows: list[dict[str, Any]] = []
    frames: list[Atoms] = []
    for done, (share, number, atoms) in enumerate(jobs):
        table = lowest_states(
            atoms, model, states=states, max_patterns=max_patterns, search=search
        )
        if relax is None:
            energy = float(table["energy"].iloc[0])
            (frame,) = ranked_frames(atoms, table, 1)
            moments = table["moments"].iloc[0]
        else:
            relaxed, (frame,) = relax_states(atoms, model, table, 1, what=relax)
            energy = float(relaxed["energy"].iloc[0])
            moments = model.moments(frame)
        left = frame.get_chemical_symbols().count(ion)
        labels = model.labels(frame)
        named = Counter(state.name for state in labels.states if state is not None)
        rows.append(
            {
                "x": share,
                "arrangement": number,
                "removed": count - left,
                "energy": energy,
                "state": str(table["state"].iloc[0]),
                "oxygen_moment": _anion_moment(frame, moments, model),
                "evaluated": int(table.attrs.get("evaluated", 0)),
                **{f"{_STATE}{name}": count for name, count in named.items()},
            }
        )
        frames.append(frame)
        if progress is not None:
            progress(done + 1, len(jobs))
    return Redox(_finished(rows), frames)


def _arrangements(
    full: Atoms, ion: str, share: float, number: int, seed: int
) -> list[Atoms]:
    """Return the crystal without some of its ions; one where there is one only."""
    count = full.get_chemical_symbols().count(ion)
    out = round((1.0 - share) * count)
    if out == 0:
        return [full]
    if out == count:
        return [_without(full, ion)]
    return [
        with_vacancies(full, {ion: out}, spread=k == 0, seed=seed + k)
        for k in range(number)
    ]


def _without(full: Atoms, ion: str) -> Atoms:
    left = full.copy()
    del left[[i for i, symbol in enumerate(full.symbols) if symbol == ion]]
    return left


def _anion_moment(atoms: Atoms, moments: np.ndarray, model: SpinDP) -> float:
    """Return the mean length of the moments of sites without states, μB."""
    if not model.info.predicts_moments:
        return float("nan")
    anions = [
        i
        for i, symbol in enumerate(atoms.symbols)
        if symbol in model.spin_elements and not model.states.has_states(symbol)
    ]
    lengths = np.linalg.norm(moments[anions], axis=1)
    return float(lengths.mean()) if anions else float("nan")


def _finished(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the table with what hangs on other rows."""
    table = pd.DataFrame(rows)
    names = sorted(
        (
            str(name)[len(_STATE) :]
            for name in table.columns
            if str(name).startswith(_STATE)
        ),
        key=lambda name: (name[:2], label_rank(name)),
    )
    counted = [f"{_STATE}{name}" for name in names]
    table[counted] = table[counted].fillna(0).astype(int)
    lowest = table.groupby("x")["energy"].idxmin()
    table["lowest"] = table.index.isin(lowest)
    first = table[table["lowest"]].iloc[0]
    charges = np.array([_charge(name) for name in names])
    elements = np.array([_element(name) for name in names])
    electrons = np.zeros((len(table), 2))
    for element in dict.fromkeys(elements.tolist()):
        here = elements == element
        columns = [name for name, own in zip(counted, here, strict=True) if own]
        sums = table[columns].to_numpy() @ charges[here]
        change = sums - float(first[columns].to_numpy() @ charges[here])
        electrons[:, 0] += np.maximum(change, 0.0)
        electrons[:, 1] += np.maximum(-change, 0.0)
    table["oxidised"], table["reduced"] = electrons.T
    head = ["x", "arrangement", "removed", "energy", "state", "oxidised", "reduced"]
    return table[[*head, "oxygen_moment", "evaluated", "lowest", *counted]]


def _charge(name: str) -> float:
    state = find_nominal_state(name)
    return float("nan") if state is None else float(state.oxidation)


def _element(name: str) -> str:
    state = find_nominal_state(name)
    return name[:2] if state is None else state.element


def draw_redox(redox: Redox, path: Path) -> None:
    """Draw sites in each state and the moment of the anions against lithium."""
    rows = redox.lowest.sort_values("x")
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    bottom = np.zeros(len(rows))
    places = np.arange(len(rows))
    for colour, name in zip(
        np.resize(COLOURS, len(redox.states)), redox.states, strict=True
    ):
        counts = rows[f"{_STATE}{name}"].to_numpy(dtype=float)
        if not counts.any():
            continue
        axes[0].bar(places, counts, 0.7, bottom, color=str(colour), label=name)
        bottom += counts
    ticks = [f"{x:g}" for x in rows["x"]]
    axes[0].set_title("sites in the lowest state")
    axes[0].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes[1].plot(places, rows["oxygen_moment"], "o-", color=COLOURS[3])
    axes[1].set_title("mean moment of anions, μB")
    for axis in axes:
        axis.set_xticks(places, ticks)
        axis.set_xlabel("share of the ions that is left")
        plain(axis)
    save_png(figure, path)
