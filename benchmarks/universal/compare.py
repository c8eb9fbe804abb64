# SPDX-License-Identifier: LGPL-3.0-or-later
"""Errors on held-out frames of MD, and the time of a step."""

from __future__ import annotations

import time
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ase import Atoms

from examples.base_model.frames import HOT, collect_unseen, origins
from spin_dp import SpinDP, SpinDPCalculator
from spin_dp.demo.summary import markdown_table
from spin_dp.deployment.cache import fast_models
from spin_dp.errors import ConfigError
from spin_dp.evaluation import read_system
from spin_dp.evaluation.metrics import rms
from spin_dp.pretrained import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

OURS, PREDICTED = "by name", "moments of DFT"
"""Our model with a frame's states by name, and with the moments that DFT found."""

_TIMED_STEPS = 5


def _chgnet() -> Any:
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu")


def _sevennet() -> Any:
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0", device="cpu")


PEERS: Mapping[str, tuple[str, Callable[[], Any]]] = {
    "CHGNet 0.4.2": ("chgnet", _chgnet),
    "SevenNet-0": ("sevenn", _sevennet),
}
"""Module and calculator of each; their weights come with the wheels."""


def require_peers() -> None:
    """Refuse to run without them.

    Raises
    ------
    ConfigError
        If one is not installed.
    """
    absent = [name for name, (module, _) in PEERS.items() if find_spec(module) is None]
    if absent:
        raise ConfigError(
            f"{', '.join(absent)}: not installed; `pip install --group universal`."
        )


def held_out_frames(
    frames: Sequence[Path], data: Path
) -> tuple[list[Atoms], list[Floats], pd.DataFrame]:
    """Return the held-out frames of MD, their labels, and what is known of them.

    Parameters
    ----------
    frames
        Folders of frames; held out is what the shipped model was not trained on.
    data
        Where they are collected.

    Returns
    -------
    tuple
        Atoms with DFT's moments as initial ones; labels (n, 3), μB; ``energy`` (eV),
        ``geometry``, ``is_lowest`` and ``forces``, a row each.
    """
    collect_unseen(frames, data)
    rows = origins(data)
    rows = rows[(rows["split"] == "validation") & (rows["kind"] == HOT)]
    atoms, labels, known = [], [], []
    for row in rows.to_dict(orient="records"):
        system, k = read_system(data, str(row["system"])), int(row["index"])
        one = Atoms(
            system.symbols,
            positions=system.positions[k],
            cell=system.cells[k],
            pbc=True,
        )
        one.set_initial_magnetic_moments(system.moments[k])
        assert system.initial_moments is not None  # collected with named states
        atoms.append(one)
        labels.append(system.initial_moments[k])
        known.append(
            {
                "geometry": f"{row['formula']}/{row['geometry']}",
                "energy": float(system.energies[k]),
                "forces": system.forces[k],
            }
        )
    table = pd.DataFrame(known)
    lowest = table.groupby("geometry")["energy"].transform("min")
    return atoms, labels, table.assign(is_lowest=table["energy"] <= lowest)


def predictions(
    model: str, atoms: Sequence[Atoms], labels: Sequence[Floats]
) -> dict[str, list[tuple[float, Floats]]]:
    """Return energy (eV) and forces (eV/Å) of each frame, by potential."""
    opened = SpinDP(resolve(model)[0])
    found: dict[str, list[tuple[float, Floats]]] = {OURS: [], PREDICTED: []}
    for one, label in zip(atoms, labels, strict=True):
        converged = one.get_initial_magnetic_moments()
        for name, moments in ((OURS, label), (PREDICTED, converged)):
            said = opened.predict(one, moments[None]).part(0)
            found[name].append((float(said.energy), said.forces))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their own
        for name, (_, make) in PEERS.items():
            calculator = make()
            found[name] = []
            for one in atoms:
                copy = one.copy()
                copy.calc = calculator
                found[name].append((copy.get_potential_energy(), copy.get_forces()))
    return found


def errors(
    atoms: Sequence[Atoms],
    known: pd.DataFrame,
    said: Mapping[str, Sequence[tuple[float, Floats]]],
) -> pd.DataFrame:
    """Return RMS errors by potential, on all frames and on each geometry's lowest one.

    Energies (meV/atom) after one shift for each element, fitted on the frames that are
    compared; components of forces (meV/Å).
    """
    elements = sorted({symbol for one in atoms for symbol in one.symbols})
    counts = np.array([[(one.symbols == e).sum() for e in elements] for one in atoms])
    n_atoms = counts.sum(axis=1)
    rows = []
    for name, values in said.items():
        apart = np.array([energy for energy, _ in values]) - known["energy"].to_numpy()
        squares = np.array(
            [
                np.square(forces - wanted).mean()
                for (_, forces), wanted in zip(values, known["forces"], strict=True)
            ]
        )
        row: dict[str, Any] = {"potential": name}
        for which, chosen in (
            ("lowest", known["is_lowest"].to_numpy()),
            ("all", np.ones(len(known), dtype=bool)),
        ):
            shifts = np.linalg.lstsq(counts[chosen], apart[chosen], rcond=None)[0]
            left = (apart - counts @ shifts) / n_atoms
            row[f"energy_{which}"] = 1000.0 * rms(left[chosen])
            row[f"force_{which}"] = 1000.0 * float(np.sqrt(squares[chosen].mean()))
            row[f"frames_{which}"] = int(chosen.sum())
        rows.append(row)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """Return the table of :func:`errors`, with ``ms a step``, as text."""
    header = [
        *("", "lowest: meV/atom", "meV/Å"),
        *("all: meV/atom", "meV/Å", "ms a step"),
    ]
    rows = [
        [
            row["potential"],
            *(
                f"{row[f'{what}_{which}']:.{digits}f}"
                for which in ("lowest", "all")
                for what, digits in (("energy", 1), ("force", 0))
            ),
            "" if np.isnan(row["ms a step"]) else f"{row['ms a step']:.1f}",
        ]
        for row in table.to_dict("records")
    ]
    return markdown_table(header, rows)


def step_times(model: str, crystal: Atoms) -> dict[str, float]:
    """Return the time of energy and forces in ASE, s; ours compiled."""
    (fast,) = fast_models(model, 1)
    times = {OURS: _time(crystal, SpinDPCalculator(fast))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (_, make) in PEERS.items():
            times[name] = _time(crystal, make())
    return times


def _time(crystal: Atoms, calculator: Calculator) -> float:
    """Return the median time of some steps; the first one, which sets up, is left."""
    atoms, rng, times = crystal.copy(), np.random.default_rng(1), []
    atoms.calc = calculator
    for _ in range(_TIMED_STEPS + 1):
        atoms.positions += rng.normal(0.0, 0.005, atoms.positions.shape)
        start = time.perf_counter()
        atoms.get_forces()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))
