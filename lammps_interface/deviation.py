# SPDX-License-Identifier: LGPL-3.0-or-later
"""How far several models differ along a run, read line by line.

The numbers are those of pair style deepspin: of the force of each atom the standard
deviation over the models, as the length of a vector; of that the largest and the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from spin_dp.errors import DataError
from spin_dp.files import replacing
from spin_dp.units import PS_PER_FS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

_LAMMPS_NAMES = (
    *("step", "max_devi_v", "min_devi_v", "avg_devi_v"),
    *("max_devi_fr", "min_devi_fr", "avg_devi_fr"),
    *("max_devi_fm", "min_devi_fm", "avg_devi_fm"),
)
TABLE_COLUMNS = (
    *("step", "time_ps", "force_eV_per_A", "mean_force_eV_per_A", "force_atom"),
    *("magnetic_force_eV_per_muB", "mean_magnetic_force_eV_per_muB"),
    "virial_eV_per_atom",
)


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far the models differ at one step.

    Attributes
    ----------
    step
        Time step.
    force, mean_force
        Of the forces, the largest and the mean of the atoms, eV/Å.
    force_atom
        The atom of the largest, counted from 0.
    magnetic_force, mean_magnetic_force
        Of -dE/dm, eV/μB. LAMMPS does not tell the atom.
    virial
        The largest of the nine components, eV per atom.
    """

    step: int
    force: float
    mean_force: float
    force_atom: int
    magnetic_force: float
    mean_magnetic_force: float
    virial: float


class DeviationFile:
    """A file of model deviations that may still grow.

    Parameters
    ----------
    path
        What LAMMPS writes for ``out_file ... atomic``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0

    def new_rows(self) -> list[Deviation]:
        """Return the complete rows that were not returned before.

        Raises
        ------
        DataError
            If the file is another one.
        """
        if not self._path.exists():  # nothing has been computed yet
            return []
        with self._path.open(encoding="utf-8") as file:
            file.seek(self._place)
            rows = list(_read_rows(file, self._path))
            self._place = file.tell()
        return rows


def read_deviations(parts: Sequence[Path]) -> Iterator[Deviation]:
    """Yield the deviations of a run, each step once.

    Parameters
    ----------
    parts
        Files of its parts, oldest first; a later one replaces the steps after its
        first, as with the frames.

    Raises
    ------
    DataError
        If one is no such file.
    """
    starts = [next((row.step for row in _read_file(part)), inf) for part in parts]
    last = -1
    for number, part in enumerate(parts, start=1):
        end = min(starts[number:], default=inf)
        for row in _read_file(part):
            if last < row.step <= end:
                yield row
                last = row.step


def write_deviation_table(
    path: Path, parts: Sequence[Path], *, timestep_fs: float, until: int
) -> None:
    """Write the deviations of a run as comma-separated text, one row at a time.

    Parameters
    ----------
    path
        File to write; it replaces an older one when complete.
    parts
        As for :func:`read_deviations`.
    timestep_fs
        Time step, fs.
    until
        Last step of the run; later rows are left out.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(",".join(TABLE_COLUMNS) + "\n")
        for row in read_deviations(parts):
            if row.step > until:
                break
            time = row.step * timestep_fs * PS_PER_FS
            file.write(
                f"{row.step},{time:.12g},{row.force:.6g},{row.mean_force:.6g},"
                f"{row.force_atom},{row.magnetic_force:.6g},"
                f"{row.mean_magnetic_force:.6g},{row.virial:.6g}\n"
            )


def read_deviation_table(path: Path) -> Iterator[Deviation]:
    """Yield the rows of a table that :func:`write_deviation_table` wrote."""
    with path.open(encoding="utf-8") as file:
        file.readline()
        for line in file:
            step, _, force, mean, atom, magnetic, magnetic_mean, virial = line.split(
                ","
            )
            yield Deviation(
                step=int(step),
                force=float(force),
                mean_force=float(mean),
                force_atom=int(atom),
                magnetic_force=float(magnetic),
                mean_magnetic_force=float(magnetic_mean),
                virial=float(virial),
            )


def _read_file(path: Path) -> Iterator[Deviation]:
    with path.open(encoding="utf-8") as file:
        yield from _read_rows(file, path)


def _read_rows(file: TextIO, path: Path) -> Iterator[Deviation]:
    """Yield rows from where the file stands; it is left before an incomplete line."""
    while True:
        place = file.tell()
        line = file.readline()
        if not line.endswith("\n"):
            file.seek(place)
            return
        words = line.lstrip("#").split()
        if line.startswith("#"):
            if tuple(words) != _LAMMPS_NAMES:
                raise DataError(
                    f"{path}: expected the columns {' '.join(_LAMMPS_NAMES)} of pair "
                    f"style deepspin, got {' '.join(words)}"
                )
            continue
        yield _row(words, path)


def _row(words: Sequence[str], path: Path) -> Deviation:
    n = len(_LAMMPS_NAMES)
    try:
        step, *values = map(float, words)
        virial, _, _, force, _, mean, magnetic, _, magnetic_mean = values[: n - 1]
        atoms = values[n - 1 :]
        # The first that is no number, if there is one.
        atom = max(range(len(atoms)), key=lambda i: (atoms[i] != atoms[i], atoms[i]))
    except ValueError as error:
        raise DataError(
            f"{path}: expected {n} numbers and one for each atom, got "
            f"{' '.join(words)[:80]!r} ({error})"
        ) from error
    return Deviation(
        step=int(step),
        force=force,
        mean_force=mean,
        force_atom=atom,
        magnetic_force=magnetic,
        mean_magnetic_force=magnetic_mean,
        virial=virial,
    )
