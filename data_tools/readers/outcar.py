# SPDX-License-Identifier: LGPL-3.0-or-later
"""VASP OUTCAR: every ionic step with the moments that belong to it.

The file is cut into ionic steps by the places of its marker lines; the tables are read
by :class:`pymatgen.io.vasp.Outcar`. The moments of a step are the last table (tables x,
y, z of a noncollinear run) between its line ``aborting loop`` and ``TOTAL-FORCE``:
noncollinear runs also print tables inside the SCF cycle, and a finished run repeats the
last one at its end. The energy is the free energy of the ionic step, to which the
forces belong; it contains dispersion, which the energy of the last SCF iteration lacks.
"""

from __future__ import annotations

import bisect
import gzip
import re
import warnings
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools.elements import formula
from spin_dp.data_tools.frame import Frame, Rejected, flaw, reject
from spin_dp.data_tools.readers.outcar_header import RunHeader, parse_header
from spin_dp.data_tools.readers.source import Reader, ReadOptions, Source, bare_name
from spin_dp.errors import DataError
from spin_dp.units import EV_PER_ANGSTROM3_IN_KBAR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spin_dp.data_tools.frame import Array

UNPOLARISED = "not spin-polarised (ISPIN=1): rerun VASP with ISPIN=2 and LORBIT=11"
NO_MOMENTS = "no per-atom moments in the OUTCAR: rerun VASP with LORBIT=11"
UNCONVERGED = "SCF not converged: EDIFF was not reached within NELM iterations"
UNFINISHED = "unfinished ionic step: the OUTCAR ends before its forces and energy"
POSITIVE = "absurd energy: the free energy of the ionic step is positive"
ABSURD_MOMENT = "absurd moments: over 10 μB on one atom"
INCONSISTENT = "absurd energy: over 2 eV/atom from the step's own last SCF iteration"

_SCF_MISMATCH_EV_PER_ATOM = 2.0  # dispersion, absent from SCF energies, is far smaller
_LARGEST_MOMENT_MUB = 10.0  # 4f7 with a polarised 5d shell stays below 8
_NUMBER = re.compile(r"-?\d*\.\d+(?:E[+-]?\d+)?|\*+|NaN")
_MARKERS = {
    "iteration": "- Iteration ",
    "converged": "aborting loop because EDIFF is reached",
    "forces": "TOTAL-FORCE (eV/Angst)",
    "energy": "free  energy   TOTEN  =",
    "scf_energy": "free energy    TOTEN  =",
    "stress": "  in kB ",
    "cell": "direct lattice vectors ",
    "total": "number of electron ",
    "x": " magnetization (x)",
    "y": " magnetization (y)",
    "z": " magnetization (z)",
    "footer": "General timing and accounting",
}


@dataclass(frozen=True)
class _Tables:
    """All tables of one kind, in the order of the file."""

    tables: list[list[list[Any]]]

    def get(self, index: int, nrows: int) -> Array | None:
        """Return one table, (nrows, columns), or None if it is not whole."""
        if index >= len(self.tables) or len(self.tables[index]) != nrows:
            return None
        rows = [row[0] for row in self.tables[index]]
        widths = {np.size(row) for row in rows}
        if len(widths) != 1:
            return None
        return np.array(rows, dtype=np.float64).reshape(nrows, -1)


class OutcarText:
    """An OUTCAR cut into ionic steps.

    Parameters
    ----------
    path
        The file; ``.gz`` is unpacked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = _read_text(path)
        self.places = {name: _places(self.text, m) for name, m in _MARKERS.items()}
        head = (self.places["iteration"] or [len(self.text)])[0]
        first = (self.places["forces"] or [len(self.text)])[0]
        self.header: RunHeader = parse_header(self.text[:head], self.text[head:first])
        axes = "xyz" if self.header.noncollinear else "x"
        reader = _table_reader(path)
        self._moments = {
            axis: self._checked(axis, _moment_tables(reader, axis)) for axis in axes
        }
        self._forces = self._checked("forces", _force_tables(reader))

    def _checked(self, name: str, tables: list[Any]) -> _Tables:
        """Make sure that the n-th table is the one at the n-th marker."""
        places = self.places[name]
        rows = len(self.header.symbols)
        is_cut = bool(places) and self.text.count("\n", places[-1]) < rows + 8
        if len(tables) not in {len(places), len(places) - is_cut}:
            marker = _MARKERS[name].strip()
            raise DataError(
                f"{len(tables)} of {len(places)} tables {marker!r} can be read"
            )
        return _Tables(tables)

    def frames(self) -> Iterator[Frame | Rejected]:
        """Yield each ionic step, usable or rejected."""
        start = 0
        n_steps = len(self.places["forces"])
        for step in range(n_steps):
            place = self.places["forces"][step]
            following = self.places["forces"][step + 1 : step + 2]
            end = following[0] if following else len(self.text)
            yield self._step(step, start, place, end)
            start = place
        if self._has_unfinished_step(start):
            yield self._rejected(n_steps, UNFINISHED)

    def _has_unfinished_step(self, last_forces: int) -> bool:
        if self.places["footer"]:
            return False
        energy = self._last("energy", last_forces, len(self.text))
        if energy is None:  # nothing at all, or already reported as a broken step
            return not self.places["forces"]
        return self._last("iteration", energy, len(self.text)) is not None

    def _step(self, step: int, start: int, place: int, end: int) -> Frame | Rejected:
        energy = self._number("energy", place, end, first=True)
        table = self._forces.get(step, len(self.header.symbols))
        cell = self._cell(start, place)
        if energy is None or table is None or table.shape[1] != 6 or cell is None:
            return self._rejected(step, UNFINISHED)
        converged = self._last("converged", start, place)
        moments = self._step_moments(converged, place)
        frame = Frame(
            source=str(self.path),
            step=step + 1,
            symbols=self.header.symbols,
            cell=cell,
            positions=table[:, :3],
            energy=energy,
            forces=table[:, 3:],
            moments=np.zeros_like(table[:, :3]) if moments is None else moments,
            virial=self._virial(start, place, cell),
            level=self.header.level,
            constrained=self.header.constrained,
            total_moment=self._total_moment(start, place),
        )
        scf_energy = self._number("scf_energy", start, place)
        return self._judge(frame, converged is not None, moments is None, scf_energy)

    def _judge(
        self, frame: Frame, converged: bool, silent: bool, scf_energy: float | None
    ) -> Frame | Rejected:
        if not self.header.polarised:
            return reject(frame, UNPOLARISED)
        if not converged:
            return reject(frame, UNCONVERGED)
        if silent:
            return reject(frame, NO_MOMENTS)
        if (reason := flaw(frame)) is not None:
            return reject(frame, reason)
        if frame.energy > 0.0:
            return reject(frame, POSITIVE)
        if np.abs(frame.moments).max() > _LARGEST_MOMENT_MUB:
            return reject(frame, ABSURD_MOMENT)
        if scf_energy is not None and (
            abs(frame.energy - scf_energy) > _SCF_MISMATCH_EV_PER_ATOM * frame.natoms
        ):
            return reject(frame, INCONSISTENT)
        return frame

    def _rejected(self, step: int, reason: str) -> Rejected:
        symbols = self.header.symbols
        return Rejected(
            source=str(self.path),
            step=step + 1,
            reason=reason,
            formula=formula(symbols),
            natoms=len(symbols),
            level=self.header.level.id,
            constrained=self.header.constrained,
        )

    def _last(self, name: str, start: int, end: int) -> int | None:
        """Return the last place of a marker in [start, end), or None."""
        places = self.places[name]
        index = bisect.bisect_left(places, end) - 1
        return places[index] if index >= 0 and places[index] >= start else None

    def _number(
        self, name: str, start: int, end: int, *, first: bool = False
    ) -> float | None:
        places = self.places[name]
        index = bisect.bisect_left(places, start if first else end) - (not first)
        if not 0 <= index < len(places) or not start <= places[index] < end:
            return None
        numbers = self._numbers(places[index], _MARKERS[name])
        return numbers[0] if numbers else None

    def _numbers(self, place: int, marker: str) -> list[float]:
        """Return the numbers that follow a marker on its line."""
        begin = place + len(marker)
        line_end = self.text.find("\n", begin)
        if line_end < 0:  # cut off inside the line: its last digits may be missing
            return []
        return _floats(self.text[begin:line_end])

    def _cell(self, start: int, end: int) -> Array | None:
        place = self._last("cell", start, end)
        if place is None:
            return None
        rows = [_floats(line)[:3] for line in self.text[place:end].split("\n", 4)[1:4]]
        return np.array(rows) if all(len(row) == 3 for row in rows) else None

    def _virial(self, start: int, end: int, cell: Array) -> Array | None:
        """Return the virial in eV; VASP prints pressure (positive: compression)."""
        place = self._last("stress", start, end)
        numbers = [] if place is None else self._numbers(place, _MARKERS["stress"])
        if len(numbers) != 6 or not all(isfinite(number) for number in numbers):
            return None
        xx, yy, zz, xy, yz, zx = numbers
        kbar = np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
        volume = abs(np.linalg.det(cell))
        return np.asarray(kbar * volume / EV_PER_ANGSTROM3_IN_KBAR)

    def _step_moments(self, converged: int | None, forces: int) -> Array | None:
        if converged is None:
            return None
        natoms = len(self.header.symbols)
        columns = {axis: np.zeros(natoms) for axis in "xyz"}
        for axis, tables in self._moments.items():
            place = self._last(axis, converged, forces)
            if place is None:
                return None
            index = bisect.bisect_left(self.places[axis], place)
            column = tables.get(index, natoms)
            if column is None:
                return None
            columns[axis if self.header.noncollinear else "z"] = column[:, 0]
        return np.stack([columns[axis] for axis in "xyz"], axis=1)

    def _total_moment(self, start: int, end: int) -> float:
        place = self._last("total", start, end)
        if place is None:
            return nan
        line = self.text[place : self.text.find("\n", place)]
        numbers = _floats(line.partition("magnetization")[2])
        if len(numbers) == 1:
            return numbers[0]
        return float(np.linalg.norm(numbers)) if numbers else nan


def read_outcar(path: Path) -> Iterator[Frame | Rejected]:
    """Yield the ionic steps of an OUTCAR.

    Parameters
    ----------
    path
        OUTCAR or OUTCAR.gz.

    Yields
    ------
    Frame or Rejected
        One for each ionic step, in order; an unfinished last one is rejected.

    Raises
    ------
    DataError
        If the file is not an OUTCAR or its tables cannot be told apart.
    """
    yield from OutcarText(Path(path)).frames()


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        return data.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"the file cannot be read: {error}") from error


def _places(text: str, marker: str) -> list[int]:
    places, place = [], text.find(marker)
    while place >= 0:
        places.append(place)
        place = text.find(marker, place + len(marker))
    return places


def _floats(line: str) -> list[float]:
    return [nan if word[0] in "*N" else float(word) for word in _NUMBER.findall(line)]


def _table_reader(path: Path) -> Any:  # noqa: ANN401
    """Return an Outcar that only reads tables.

    Its constructor parses the whole run, which takes longer than all tables together
    and fails on files cut off early; pymatgen's table reader does without it.
    """
    from pymatgen.io.vasp.outputs import Outcar

    reader = Outcar.__new__(Outcar)
    reader.filename = str(path)
    reader.data = {}
    return reader


def _read_tables(reader: Any, *patterns: str, postprocess: Any) -> list[Any]:  # noqa: ANN401
    with warnings.catch_warnings():  # a table cut off at the end is reported as such
        warnings.filterwarnings("ignore", message=r"Table in .* is truncated")
        tables: list[Any] = reader.read_table_pattern(
            *patterns, postprocess=postprocess, last_one_only=False
        )
    return tables


def _moment_tables(reader: Any, axis: str) -> list[Any]:  # noqa: ANN401
    return _read_tables(
        reader,
        rf"magnetization \({axis}\)\s+# of ion[^\n]*\n\s*-+[ \t]*$",
        r"(?>\d+[ \t]+[^\n]*?(-?\d+\.\d+|\*+|NaN)[ \t]*$)",
        r"(?:-{5,}|[A-Za-z])",  # one atom: no rule and no line "tot" below the table
        postprocess=lambda word: _floats(word)[0],
    )


def _force_tables(reader: Any) -> list[Any]:  # noqa: ANN401
    return _read_tables(
        reader,
        r"TOTAL-FORCE \(eV/Angst\)[ \t]*\n\s*-+[ \t]*$",
        r"(?>((?!-{3})[-.*\d][^\n]*))",
        r"-{5,}",
        postprocess=_floats,
    )


def _find_outcars(_: Path, files: Sequence[Path]) -> list[Source]:
    return [Source("vasp", path, (path,)) for path in files if _is_outcar(path)]


def _is_outcar(path: Path) -> bool:
    name = bare_name(path)
    return name.startswith("OUTCAR") or (
        "outcar" in name.lower() and _starts_like_outcar(path)
    )


def _starts_like_outcar(path: Path) -> bool:
    """Recognise an OUTCAR of another name, e.g. ``run1.outcar``."""
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as stream:
            return stream.read(64).lstrip().startswith(b"vasp.")
    except OSError:
        return False


def _read(source: Source, _: ReadOptions) -> Iterator[Frame | Rejected]:
    return read_outcar(source.path)


OUTCAR = Reader("vasp", "OUTCAR*", _find_outcars, _read)
