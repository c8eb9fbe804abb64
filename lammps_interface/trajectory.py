# SPDX-License-Identifier: LGPL-3.0-or-later
"""Dump files of LAMMPS back into the structure's own frame, as ASE frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase import units as ase_units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz

from spin_dp.errors import DataError
from spin_dp.files import replacing
from spin_dp.lammps_interface.deck import SPIN_COLUMNS
from spin_dp.units import HBAR_EV_PS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from spin_dp.lammps_interface.cell import Array, LammpsFrame

_HEADER_LINES = 9
_ITEM = "ITEM: TIMESTEP"


@dataclass(frozen=True)
class DumpFrame:
    """One frame of a dump file, atoms in the order of their ids.

    Attributes
    ----------
    step
        Time step.
    box, origin
        Lower triangular cell vectors, (3, 3), and corner, (3,), Å.
    symbols
        Chemical symbols.
    columns
        Numbers per atom by the name of the dump column, (n,) each.
    """

    step: int
    box: Array
    origin: Array
    symbols: list[str]
    columns: dict[str, Array]

    def vectors(self, *names: str) -> Array:
        """Return columns side by side, (n, number of names)."""
        return np.stack([self.columns[name] for name in names], axis=1)

    def moments(self) -> Array:
        """Return the moments, (n, 3), μB."""
        size, *direction = (f"c_moment[{index}]" for index in range(1, 5))
        return np.asarray(self.columns[size][:, None] * self.vectors(*direction))

    def magnetic_forces(self) -> Array:
        """Return -dE/dm, (n, 3), eV/μB; zero where the moment is (LAMMPS has none)."""
        names = [f"c_moment[{SPIN_COLUMNS.index(name) + 1}]" for name in SPIN_COLUMNS]
        size = self.columns[names[0]][:, None]
        scaled = self.vectors(*names[4:]) * HBAR_EV_PS
        return np.divide(scaled, size, out=np.zeros_like(scaled), where=size > 0.0)


def read_dump(path: Path) -> Iterator[DumpFrame]:
    """Yield the complete frames of a dump file; a cut-off last one is left out.

    Parameters
    ----------
    path
        Dump file as written by the decks of this package.

    Raises
    ------
    DataError
        If the file is no such dump file.
    """
    with path.open(encoding="utf-8") as file:
        while (frame := _read_frame(file, path)) is not None:
            yield frame


def _read_frame(file: TextIO, path: Path) -> DumpFrame | None:
    header = [file.readline() for _ in range(_HEADER_LINES)]
    if not header[-1].endswith("\n"):
        return None
    if header[0].strip() != _ITEM or "xy xz yz" not in header[4]:
        raise DataError(
            f"{path}: expected a frame of a triclinic dump file ({_ITEM!r} first), "
            f"got {header[0].strip()!r}"
        )
    n_atoms = int(header[3])
    lines = [file.readline() for _ in range(n_atoms)]
    if not lines[-1].endswith("\n"):
        return None
    box, origin = _box(header[5:8])
    names = header[8].split()[2:]
    words = [line.split() for line in lines]
    if any(len(row) != len(names) for row in words):
        raise DataError(
            f"{path}, step {header[1].strip()}: expected {len(names)} columns "
            "for every atom, got another number. The file is damaged."
        )
    numbers = {
        name: np.array([row[place] for row in words], dtype=np.float64)
        for place, name in enumerate(names)
        if name != "element"
    }
    order = np.argsort(numbers.pop("id"))
    return DumpFrame(
        step=int(header[1]),
        box=box,
        origin=origin,
        symbols=[words[index][names.index("element")] for index in order],
        columns={name: values[order] for name, values in numbers.items()},
    )


def _box(lines: Sequence[str]) -> tuple[Array, Array]:
    """Return box and corner from the bounding box that LAMMPS writes."""
    rows = np.array([line.split() for line in lines], dtype=np.float64)
    (low, high), (xy, xz, yz) = rows[:, :2].T, rows[:, 2]
    low = low - [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high = high - [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    edges = high - low
    box = np.array([[edges[0], 0.0, 0.0], [xy, edges[1], 0.0], [xz, yz, edges[2]]])
    return box, low


def frame_atoms(
    dumped: DumpFrame, frame: LammpsFrame, *, energy: float, timestep_fs: float
) -> Atoms:
    """Return a dump frame as ASE atoms in the structure's frame and order.

    Parameters
    ----------
    dumped
        Frame in LAMMPS's frame.
    frame
        The way back to the structure's.
    energy
        Potential energy, eV.
    timestep_fs
        Time step, fs.

    Returns
    -------
    ase.Atoms
        Positions are unwrapped. Energy, forces and moments (collinear: one number
        along z) are in the calculator, -dE/dm in the array ``magnetic_forces``.
    """
    atoms = Atoms(
        dumped.symbols,
        positions=frame.from_lammps(dumped.vectors("xu", "yu", "zu") - dumped.origin),
        cell=frame.cell_from_lammps(dumped.box),
        pbc=True,
        info={"step": dumped.step, "time_fs": dumped.step * timestep_fs},
    )
    velocities = frame.from_lammps(dumped.vectors("vx", "vy", "vz"))
    atoms.set_velocities(velocities / (1000.0 * ase_units.fs))  # from Å/ps
    moments = dumped.moments()
    is_collinear = not moments[:, :2].any()
    atoms.set_array("magnetic_forces", dumped.magnetic_forces())
    atoms.calc = SinglePointCalculator(
        atoms,
        energy=energy,
        forces=frame.from_lammps(dumped.vectors("fx", "fy", "fz")),
        magmoms=moments[:, 2] if is_collinear else moments,
    )
    return atoms


def write_trajectory(
    path: Path,
    dumps: Sequence[Path],
    frame: LammpsFrame,
    *,
    energies: Mapping[int, float],
    timestep_fs: float,
) -> int:
    """Write one extended XYZ file from the dump files of a run.

    Parameters
    ----------
    path
        File to write; it replaces an older one when complete.
    dumps
        Dump files, oldest first; a later one replaces the steps it redid.
    frame
        The way back to the structure's frame.
    energies
        Potential energy by step, eV; steps without one are left out.
    timestep_fs
        Time step, fs.

    Returns
    -------
    int
        Number of frames written.
    """
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for dump, end in _with_ends(dumps):
            for dumped in read_dump(dump):
                if dumped.step >= end or dumped.step not in energies:
                    continue
                energy = energies[dumped.step]
                atoms = frame_atoms(
                    dumped, frame, energy=energy, timestep_fs=timestep_fs
                )
                write_extxyz(file, [atoms])
                count += 1
    return count


def _with_ends(dumps: Sequence[Path]) -> list[tuple[Path, float]]:
    """Return each dump with frames and the step where a later one begins."""
    kept: list[tuple[Path, float]] = []
    end = np.inf
    for dump in reversed(dumps):
        first = next(read_dump(dump), None)
        if first is not None:
            kept.append((dump, end))
            end = min(end, first.step)
    return kept[::-1]
