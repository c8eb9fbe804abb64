# SPDX-License-Identifier: LGPL-3.0-or-later
"""The LAMMPS data file of a structure, with moments or without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_masses, atomic_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.lammps_interface.cell import Array, LammpsFrame


def element_types(symbols: Sequence[str]) -> list[str]:
    """Return the elements of LAMMPS types 1, 2, ...: in order of first appearance."""
    return list(dict.fromkeys(symbols))


def render_data(
    symbols: Sequence[str],
    positions: Array,
    moments: Array | None,
    frame: LammpsFrame,
) -> str:
    """Return the text of a data file for ``atom_style spin``.

    Moments are written as they are, not turned with the cell: the energy has no
    spin-orbit coupling, so spin space has its own axes, and labels read back equal.

    Parameters
    ----------
    symbols
        Chemical symbols, one per atom.
    positions
        Cartesian positions in the structure's frame, (n, 3), Å.
    moments
        Magnetic moments, (n, 3), μB; None: for ``atom_style atomic``.
    frame
        LAMMPS frame of the cell.

    Returns
    -------
    str
        The data file; atom n of the structure is LAMMPS atom n + 1.
    """
    types = element_types(symbols)
    box = frame.box
    style, columns = "atomic", [frame.to_lammps(positions)]
    if moments is not None:
        style, columns = "spin", [*columns, *_directions_and_sizes(moments)]
    lines = [
        "# id type x y z (Angstrom); spin: direction and size of the moment (muB)",
        "",
        f"{len(symbols)} atoms",
        f"{len(types)} atom types",
        "",
        f"0.0 {box[0, 0]:.15g} xlo xhi",
        f"0.0 {box[1, 1]:.15g} ylo yhi",
        f"0.0 {box[2, 2]:.15g} zlo zhi",
        f"{box[1, 0]:.15g} {box[2, 0]:.15g} {box[2, 1]:.15g} xy xz yz",
        "",
        "Masses",
        "",
        *(
            f"{number} {atomic_masses[atomic_numbers[symbol]]:.6f}  # {symbol}"
            for number, symbol in enumerate(types, start=1)
        ),
        "",
        f"Atoms # {style}",
        "",
        *_atom_lines(symbols, types, np.concatenate(columns, axis=1)),
    ]
    return "\n".join(lines) + "\n"


def _directions_and_sizes(moments: Array) -> tuple[Array, Array]:
    """Return unit vectors, along z where there is no moment, and sizes, (n, 1)."""
    sizes = np.linalg.norm(moments, axis=1)[:, None]
    along_z = np.tile([0.0, 0.0, 1.0], (len(moments), 1))
    return np.divide(moments, sizes, out=along_z, where=sizes > 0.0), sizes


def _atom_lines(symbols: Sequence[str], types: list[str], rows: Array) -> list[str]:
    numbers = {symbol: number for number, symbol in enumerate(types, start=1)}
    return [
        f"{index} {numbers[symbol]} {' '.join(f'{value:.15g}' for value in row)}"
        for index, (symbol, row) in enumerate(zip(symbols, rows, strict=True), start=1)
    ]
