# SPDX-License-Identifier: LGPL-3.0-or-later
"""Ranked states to look at and to go on with: a picture, and structures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure

from spin_dp.drawing import COLOURS, plain, save_png
from spin_dp.structures import NO_STATE, SPIN_STATES, as_atoms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from pymatgen.core import Structure

_ORDERS = ("FM", "AFM", "FiM", "single", "NM")
_MOST_COLUMNS, _MOST_LEVELS = 8, 60
_WIDTH = 0.36
# Also of keys with sites off the axis: Ni3+LS[1up,2off].
_SITES, _NUMBER = re.compile(r"([A-Z][^\[\]]*)\[([^\]]*)\]"), re.compile(r"\d+")


def draw_ladder(table: pd.DataFrame, path: Path) -> None:
    """Draw energies of states as levels, a column for each set of site states.

    Parameters
    ----------
    table
        Of :func:`spin_dp.search.rank_states`; its lowest 60 rows are drawn.
    path
        PNG.
    """
    rows = table.head(_MOST_LEVELS)
    sets = [_site_states(str(key)) for key in rows["state"]]
    columns = list(dict.fromkeys(sets))[:_MOST_COLUMNS]
    orders = [order for order in _ORDERS if (rows["order"] == order).any()]
    figure = Figure(figsize=(2.0 + 1.3 * len(columns), 4.6), layout="constrained")
    axes = figure.subplots()
    for order in orders:
        colour = COLOURS[_ORDERS.index(order)]
        axes.plot([], [], color=colour, linewidth=2.0, label=order)
    for name, order, energy, half in zip(
        sets,
        rows["order"],
        rows["above_lowest"],
        rows["above_lowest_interval"],
        strict=True,
    ):
        if name not in columns:
            continue
        x, colour = columns.index(name), COLOURS[_ORDERS.index(order)]
        axes.hlines(energy, x - _WIDTH, x + _WIDTH, color=colour, linewidth=2.0)
        if np.isfinite(half) and half > 0.0:
            place = x + _WIDTH * (0.2 + 0.2 * orders.index(order))
            axes.errorbar(place, energy, half, color=colour, linewidth=0.8)
    axes.set_xticks(range(len(columns)), columns, fontsize=9)
    axes.set_xlim(-0.6, len(columns) - 0.4)
    axes.set_ylabel("above the lowest state, meV per formula unit")
    axes.legend(ncols=len(orders), loc="upper left", bbox_to_anchor=(0.0, 1.08))
    plain(axes)
    save_png(figure, path)


def ranked_frames(
    structure: Atoms | Structure, table: pd.DataFrame, number: int | None = None
) -> list[Atoms]:
    """Return a structure in its lowest states.

    Parameters
    ----------
    structure
        That was ranked.
    table
        Of :func:`spin_dp.search.rank_states`.
    number
        How many states; None: all rows.

    Returns
    -------
    list of Atoms
        Lowest first, with initial magnetic moments, names of the sites' states in the
        array ``spin_states``, and ``state`` and ``above_lowest`` (meV per formula unit)
        in ``info``.
    """
    frames = []
    for row in table.head(len(table) if number is None else number).to_dict("records"):
        given = as_atoms(structure)
        # What a file says of forces and moments is that of another state.
        atoms = Atoms(given.numbers, given.positions, cell=given.cell, pbc=given.pbc)
        moments = np.asarray(row["moments"])
        collinear = not moments[:, :2].any()
        atoms.set_initial_magnetic_moments(moments[:, 2] if collinear else moments)
        names = _names(str(row["labels"]), atoms.get_chemical_symbols())
        atoms.set_array(SPIN_STATES, np.array(names))
        atoms.info = {
            "state": str(row["state"]),
            "above_lowest": float(row["above_lowest"]),
        }
        frames.append(atoms)
    return frames


def ranked_structures(
    structure: Atoms | Structure, table: pd.DataFrame, number: int | None = None
) -> list[Structure]:
    """Return a structure in its lowest states, for pymatgen.

    Parameters
    ----------
    structure, table, number
        As for :func:`ranked_frames`.

    Returns
    -------
    list of Structure
        Lowest first, with site properties ``magmom`` (μB) and ``spin_states``.
    """
    from pymatgen.io.ase import AseAtomsAdaptor

    made = []
    for atoms in ranked_frames(structure, table, number):
        moments = atoms.get_initial_magnetic_moments()
        names = atoms.arrays[SPIN_STATES].tolist()
        bare = atoms.copy()
        del bare.arrays["initial_magmoms"], bare.arrays[SPIN_STATES]
        one = AseAtomsAdaptor.get_structure(bare)
        one.add_site_property("magmom", moments.tolist())
        one.add_site_property(SPIN_STATES, names)
        made.append(one)
    return made


def _names(labels: str, symbols: Sequence[str]) -> list[str]:
    """Return the state of each atom by the labels of a row."""
    names = [NO_STATE] * len(symbols)
    for word in labels.split():
        atom, _, state = word.partition("=")
        sign = "-" * state.startswith("-")
        names[int(atom)] = f"{sign}{symbols[int(atom)]}{state.removeprefix('-')}"
    return names


def _site_states(key: str) -> str:
    """Return how many sites are in each state, a line each, by a key."""
    counts = [
        f"{sum(map(int, _NUMBER.findall(signs)))} {name}"
        for name, signs in _SITES.findall(key)
    ]
    return "\n".join(counts)
