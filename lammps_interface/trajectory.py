# SPDX-License-Identifier: LGPL-3.0-or-later
"""Dumps of LAMMPS back into the structure's own frame: snapshots and ASE frames."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase import units as ase_units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz

from spin_dp.errors import DataError
from spin_dp.files import replacing
from spin_dp.lammps_interface.deck import SPIN_COLUMNS
from spin_dp.units import HBAR_EV_PS, PS_PER_FS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TextIO

    from spin_dp.lammps_interface.cell import Array, LammpsFrame
    from spin_dp.lammps_interface.deviation import Deviation
    from spin_dp.lammps_interface.thermo import ThermoRow

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
    symbols: Sequence[str]
    columns: Mapping[str, Array]

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


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Where a run stands, in the frame and order of the structure.

    Attributes
    ----------
    step
        Time step.
    time_fs
        Time, fs.
    symbols
        Chemical symbols, one per atom.
    positions
        Unwrapped: continuous in time, (n, 3), Å.
    cell
        Cell vectors in rows, (3, 3), Å.
    velocities
        (n, 3), Å/fs.
    moments
        (n, 3), μB.
    forces
        (n, 3), eV/Å.
    magnetic_forces
        -dE/dm, (n, 3), eV/μB; zero where the moment is.
    potential_energy
        eV.
    temperature
        Of the velocities, K.
    deviations
        Of the models since the snapshot before, every ``watch_every`` steps; empty with
        a single model.
    """

    step: int
    time_fs: float
    symbols: Sequence[str]
    positions: Array
    cell: Array
    velocities: Array
    moments: Array
    forces: Array
    magnetic_forces: Array
    potential_energy: float
    temperature: float
    deviations: Sequence[Deviation] = ()

    @property
    def deviation(self) -> Deviation | None:
        """Deviation of the models at this step; None if it was not computed."""
        rows = [row for row in self.deviations if row.step == self.step]
        return rows[-1] if rows else None

    def atoms(self) -> Atoms:
        """Return it as ASE atoms, as in a trajectory.

        Returns
        -------
        ase.Atoms
            Energy, forces and moments, (n, 3), are in the calculator, -dE/dm in the
            array ``magnetic_forces``.
        """
        atoms = Atoms(
            self.symbols,
            positions=self.positions,
            cell=self.cell,
            pbc=True,
            info={"step": self.step, "time_fs": self.time_fs},
        )
        atoms.set_velocities(self.velocities / ase_units.fs)
        atoms.set_array("magnetic_forces", self.magnetic_forces)
        # Three columns also where all moments lie along z: every frame has the same.
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=self.potential_energy,
            forces=self.forces,
            magmoms=self.moments,
        )
        return atoms


def snapshot(
    dumped: DumpFrame,
    frame: LammpsFrame,
    thermo: ThermoRow,
    *,
    timestep_fs: float,
    deviations: Sequence[Deviation] = (),
) -> Snapshot:
    """Return a dump frame turned back into the structure's frame.

    Parameters
    ----------
    dumped
        Frame in LAMMPS's frame.
    frame
        The way back to the structure's.
    thermo
        Thermo row of the same step.
    timestep_fs
        Time step, fs.
    deviations
        See :class:`Snapshot`.
    """
    velocities = frame.from_lammps(dumped.vectors("vx", "vy", "vz"))
    return Snapshot(
        step=dumped.step,
        time_fs=dumped.step * timestep_fs,
        symbols=dumped.symbols,
        positions=frame.from_lammps(dumped.vectors("xu", "yu", "zu") - dumped.origin),
        cell=frame.cell_from_lammps(dumped.box),
        velocities=velocities * PS_PER_FS,  # Å/ps to Å/fs
        moments=dumped.moments(),
        forces=frame.from_lammps(dumped.vectors("fx", "fy", "fz")),
        magnetic_forces=dumped.magnetic_forces(),
        potential_energy=thermo["potential_energy_eV"],
        temperature=thermo["temperature_K"],
        deviations=deviations,
    )


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
    bounds = np.array([line.split() for line in header[5:8]], dtype=np.float64)
    box, origin = _box(bounds)
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


def _box(rows: Array) -> tuple[Array, Array]:
    """Return box and corner from rows of bounds and a tilt, as LAMMPS writes them."""
    (low, high), (xy, xz, yz) = rows[:, :2].T, rows[:, 2]
    low = low - [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high = high - [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    edges = high - low
    box = np.array([[edges[0], 0.0, 0.0], [xy, edges[1], 0.0], [xz, yz, edges[2]]])
    return box, low


def read_binary_dump(path: Path, symbols: Sequence[str]) -> DumpFrame:
    """Return the one frame of a binary dump file, with all digits.

    Parameters
    ----------
    path
        File of ``dump custom`` with a name that ends in ``.bin``, written in an
        orthogonal or triclinic box, with a column ``id`` and no texts.
    symbols
        Chemical symbols of the ids 1, 2, ...

    Raises
    ------
    DataError
        If the file is no such dump file.
    """
    content = path.read_bytes()
    place = 0

    def take(layout: str) -> tuple[Any, ...]:
        nonlocal place
        values = struct.unpack_from(f"={layout}", content, place)
        place += struct.calcsize(f"={layout}")
        return values

    def take_text() -> str:
        (length,) = take("i")
        return str(take(f"{length}s")[0].decode())

    try:
        if take("q10sii") != (-10, b"DUMPCUSTOM", 1, 2):
            raise DataError(f"{path}: expected a binary dump file of LAMMPS, format 2")
        step, n_atoms, is_triclinic = take("qqi")
        take("6i")  # kinds of boundary
        bounds = np.reshape(take("6d"), (3, 2))
        tilts = take("3d") if is_triclinic else (0.0, 0.0, 0.0)
        (n_columns,) = take("i")
        take_text()  # units: none unless asked for
        if take("c") != (b"\0",):
            take("d")  # time
        names = take_text().split()
        (n_chunks,) = take("i")
        chunks = [take(f"{8 * take('i')[0]}s")[0] for _ in range(n_chunks)]
        table = np.frombuffer(b"".join(chunks)).reshape(n_atoms, n_columns)
    except (struct.error, ValueError) as error:
        raise DataError(f"{path}: the dump file is cut off ({error})") from error
    columns = dict(zip(names, table[np.argsort(table[:, 0])].T, strict=True))
    if columns.pop("id").astype(int).tolist() != list(range(1, len(symbols) + 1)):
        raise DataError(f"{path}: expected the atoms 1 to {len(symbols)}, got others")
    box, origin = _box(np.column_stack([bounds, tilts]))
    return DumpFrame(step, box, origin, symbols, columns)


def write_trajectory(
    path: Path,
    dumps: Sequence[Path],
    frame: LammpsFrame,
    *,
    thermo: Mapping[int, ThermoRow],
    timestep_fs: float,
) -> int:
    """Write one extended XYZ file from the dump files of a run.

    Parameters
    ----------
    path
        File to write; it replaces an older one when complete.
    dumps
        Dump files, oldest first; a later one replaces the steps after its first.
    frame
        The way back to the structure's frame.
    thermo
        Thermo rows by step; steps without one are left out.
    timestep_fs
        Time step, fs.

    Returns
    -------
    int
        Number of frames written.
    """
    count = 0
    last = -1
    starts = [next((one.step for one in read_dump(dump)), np.inf) for dump in dumps]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for number, dump in enumerate(dumps, start=1):
            # As with the thermo rows: the frame where a part begins is that before.
            end = min(starts[number:], default=np.inf)
            for dumped in read_dump(dump):
                if last < dumped.step <= end and dumped.step in thermo:
                    row = thermo[dumped.step]
                    kept = snapshot(dumped, frame, row, timestep_fs=timestep_fs)
                    write_extxyz(file, [kept.atoms()])
                    last = dumped.step
                    count += 1
    return count
