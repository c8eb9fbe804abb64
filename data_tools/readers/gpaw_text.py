# SPDX-License-Identifier: LGPL-3.0-or-later
"""GPAW text output: every ionic step with its forces, free energy and local moments.

The file is cut where an SCF cycle begins. A step uses the last table of positions
before its SCF cycle and the tables after it; it is rejected unless GPAW says that the
cycle converged. The energy is the free energy, to which the forces belong, not the one
extrapolated to zero smearing. Energies are relative to GPAW's reference atoms.
"""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, flaw, reject
from spin_dp.data_tools.level import Level
from spin_dp.data_tools.readers.packed import bare_name
from spin_dp.data_tools.readers.source import Reader, ReadOptions, Source
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import formula, is_element

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spin_dp.data_tools.frame import Array
    from spin_dp.data_tools.readers.source import MissingMoments

UNCONVERGED = "SCF not converged within GPAW's maximum number of iterations"
UNFINISHED = "unfinished step: the GPAW log ends before its energy and forces"
NO_FORCES = "no forces in the GPAW log: ask the calculator for forces"
NO_MOMENTS = "no local magnetic moments in the GPAW log of a spin-polarised run"
UNPOLARISED = "not spin-polarised: rerun GPAW with spinpol=True"
ZERO_MOMENTS = "not spin-polarised: moments taken as zero"
NO_POSITIONS = "the GPAW log does not repeat the positions of this step"
NO_CELL = "not periodic in three directions"

_LOGOS = (b"|__||  | ||/\\|", b"|__ |  _|___|_____|")
_HEAD_BYTES = 1024
_BEGIN_SCF = re.compile(r"^\|?iter: +1[ |]", re.MULTILINE)
_NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")
_ATOM = re.compile(r"^[| ]*\d+[| ]+([A-Z][a-z]?)\b([^\n]*)$", re.MULTILINE)
_PARAMETER = re.compile(r"^  (\w+) ?[=:] *(.*(?:\n   +.*)*)", re.MULTILINE)
_OTHER_PARAMETERS = ("mode", "h", "basis", "charge", "soc", "experimental", "external")


def read_gpaw_text(
    path: Path, *, missing_moments: MissingMoments = "reject"
) -> Iterator[Frame | Rejected]:
    """Yield the steps of a GPAW log.

    Parameters
    ----------
    path
        Text output of GPAW, also gzipped.
    missing_moments
        Whether steps of runs that were not spin-polarised get moments zero.

    Yields
    ------
    Frame or Rejected
        One for each SCF cycle, in order.

    Raises
    ------
    DataError
        If the file cannot be read or has no table of atoms.
    """
    text = _read_text(path)
    starts = [match.start() for match in _BEGIN_SCF.finditer(text)]
    head = text[: starts[0]] if starts else text
    run = _run(head)
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else len(text)
        before = text[starts[number - 1] : start] if number else head
        step = _Step(str(path), number + 1, run, before, text[start:end])
        yield step.frame(missing_moments)
    if not starts:
        yield Rejected(source=str(path), step=1, reason=UNFINISHED, level=run.level.id)


@dataclass(frozen=True)
class _Run:
    """What the head of a log says of all its steps."""

    level: Level
    cell: Array
    periodic: bool
    polarised: bool
    constrained: bool
    max_iterations: int


@dataclass(frozen=True)
class _Step:
    """One SCF cycle: the text before it (positions), and the text from it on."""

    source: str
    number: int
    run: _Run
    before: str
    text: str

    def frame(self, missing_moments: MissingMoments) -> Frame | Rejected:
        symbols, positions = _atoms(self.before)
        energy = _value(self.text, r"^ *Free energy: +(\S+)")
        forces = _table(self.text, r"^Forces\b.*eV/Ang", len(symbols))
        moments = _table(self.text, r"^Local magnetic moments", len(symbols))
        reason = self._missing(symbols, energy, forces, moments, missing_moments)
        total = _total_moment(self.text)
        if reason is not None or forces is None or energy is None:
            return Rejected(
                source=self.source,
                step=self.number,
                reason=reason or UNFINISHED,
                formula=formula(symbols),
                natoms=len(symbols),
                energy=nan if energy is None else energy,
                total_moment=total,
                level=self.run.level.id,
                constrained=self.run.constrained,
            )
        cell, _ = _cell(self.before) or (self.run.cell, True)
        frame = Frame(
            source=self.source,
            step=self.number,
            symbols=symbols,
            cell=cell,
            positions=positions,
            energy=energy,
            forces=forces,
            moments=np.zeros_like(forces) if moments is None else moments,
            virial=self._virial(cell),
            level=self.run.level,
            constrained=self.run.constrained,
            total_moment=total,
            note=ZERO_MOMENTS if moments is None else "",
        )
        reason = flaw(frame)
        return frame if reason is None else reject(frame, reason)

    def _missing(
        self,
        symbols: Sequence[str],
        energy: float | None,
        forces: Array | None,
        moments: Array | None,
        missing_moments: MissingMoments,
    ) -> str | None:
        if not symbols:
            return NO_POSITIONS
        if not re.search(r"^Converged (?:in|after) \d+", self.text, re.MULTILINE):
            return UNCONVERGED if self._ran_out(energy) else UNFINISHED
        if not self.run.periodic:
            return NO_CELL
        if energy is None:
            return UNFINISHED
        if forces is None:
            return NO_FORCES
        if moments is not None:
            return None
        if self.run.polarised:
            return NO_MOMENTS
        return UNPOLARISED if missing_moments == "reject" else None

    def _ran_out(self, energy: float | None) -> bool:
        """Return whether the cycle ended by itself, not because the log was cut."""
        last = re.findall(r"^\|?iter: +(\d+)", self.text, re.MULTILINE)[-1]
        spoken = re.search(r"did not converge", self.text, re.IGNORECASE)
        at_end = 0 < self.run.max_iterations <= int(last)
        return energy is not None or spoken is not None or at_end

    def _virial(self, cell: Array) -> Array | None:
        stress = _table(self.text, r"^Stress tensor", 3)
        if stress is None:
            return None
        return np.asarray(-abs(np.linalg.det(cell)) * stress)


def _run(head: str) -> _Run:
    cell = _cell(head)
    if cell is None or not _atoms(head)[0]:
        raise DataError("not a GPAW log, or cut off before its atoms and unit cell")
    paired = re.search(
        r"^Spin-components: 1\b|^Spin-paired calculation", head, re.MULTILINE
    )
    held = re.search(r"fixmagmom[=:] ?True|^ *Fixed magnetic moment:", head, re.M)
    limit = _value(head, r"^[Mm]aximum number of [^:\n]*iter[^:\n]*: +(\d+)")
    return _Run(
        level=_level(head),
        cell=cell[0],
        periodic=cell[1],
        polarised=paired is None,
        constrained=held is not None,
        max_iterations=int(limit or 0),
    )


def _level(head: str) -> Level:
    """Return the level: functional, setups, U, basis and smearing.

    K-mesh, SCF thresholds and a held total moment do not count.
    """
    parameters = {
        name: " ".join(value.split()).rstrip(",")
        for name, value in _PARAMETER.findall(_section(head, r"^Input parameters:"))
    }
    functional = _word(head, r"^xc functional:\s+name: (.*)") or _word(
        head, r"^XC parameters: (.*)"
    )
    functional = functional.partition(" with ")[0].strip() or "unknown"
    setups = dict(
        re.findall(
            r"^ *([A-Z][a-z]?)(?:-setup)?:\n +name: .*\n +id: +(\w+)", head, re.M
        )
    )
    hubbard = _hubbard(head, setups)
    cutoff = _value(head, r"^ *Cutoff(?: energy)?: +([\d.]+) +eV")
    description: dict[str, object] = {
        "program": "GPAW",
        "functional": functional,
        "setups": setups,
        "hubbard": hubbard,
        "cutoff_ev": cutoff,
        "smearing": _smearing(head),
        **{k: parameters[k] for k in _OTHER_PARAMETERS if k in parameters},
    }
    basis = f"{cutoff:.0f}eV" if cutoff else parameters.get("mode", "")
    label = f"GPAW-{functional}{'+U' if hubbard else ''}-{basis}"
    return Level(label[:40], description)


def _hubbard(head: str, setups: dict[str, str]) -> dict[str, object]:
    """Return U (eV), l and scaling of each element that has one."""
    found: dict[str, object] = {}
    for element in setups:
        block = _section(head, rf"^ *{element}(?:-setup)?:$")
        match = re.search(r"Hubbard: *\{([^}]*)\}", block)
        if match:
            words = re.sub(r"#.*", "", match[1])
            found[element] = " ".join(words.replace(",", " ").split())
    return found


def _smearing(head: str) -> str:
    lines = _section(head, r"^occupation numbers:").splitlines()[1:]
    words = [re.sub(r"#.*", "", line).strip() for line in lines]
    kept = [word for word in words if word and not word.startswith("Fixed magnetic")]
    return " ".join(kept) or "none"


def _section(text: str, heading: str) -> str:
    """Return a heading and what is indented below it, or an empty text."""
    match = re.search(
        heading + r".*\n(?:(?: +.*)?\n)*?(?=\S|\n|\Z)", text, re.MULTILINE | re.I
    )
    return match[0] if match else ""


def _atoms(text: str) -> tuple[tuple[str, ...], Array]:
    """Return elements and positions, (nloc, 3), of the last table of atoms."""
    headings = [*re.finditer(r"^(?:Atoms|Positions:)[^\n]*\n", text, re.MULTILINE)]
    if not headings:
        return (), np.zeros((0, 3))
    block = text[headings[-1].end() :].lstrip("\n").partition("\n\n")[0]
    if "..." in block:  # a table that leaves out atoms
        return (), np.zeros((0, 3))
    rows = [
        (match[1], [float(n) for n in _NUMBER.findall(match[2])[:3]])
        for match in _ATOM.finditer(block)
    ]
    rows = [row for row in rows if is_element(row[0]) and len(row[1]) == 3]
    return tuple(row[0] for row in rows), np.array([row[1] for row in rows])


def _cell(text: str) -> tuple[Array, bool] | None:
    """Return the last cell, rows of (3, 3), and whether all its axes are periodic."""
    headings = [*re.finditer(r"^Unit cell[^\n]*\n", text, re.MULTILINE)]
    if not headings:
        return None
    axes = re.findall(r"\b(yes|no)\b([^\n]*)", text[headings[-1].end() :])[:3]
    rows = [[float(n) for n in _NUMBER.findall(axis[1])[:3]] for axis in axes]
    if [len(row) for row in rows] != [3, 3, 3]:
        return None
    return np.array(rows), all(axis[0] == "yes" for axis in axes)


def _table(text: str, heading: str, nrows: int) -> Array | None:
    """Return the table of three columns below the last such heading, (nrows, 3)."""
    headings = [*re.finditer(heading + r"[^\n]*\n", text, re.MULTILINE)]
    if not headings or not nrows:
        return None
    lines = text[headings[-1].end() :].split("\n")
    rows = [_NUMBER.findall(line.partition("#")[0]) for line in lines[: nrows + 2]]
    rows = [row for row in rows if len(row) == 3][:nrows]
    return np.array(rows, dtype=np.float64) if len(rows) == nrows else None


def _total_moment(text: str) -> float:
    found = re.findall(r"^Total magnetic moment: (.*)$", text, re.MULTILINE)
    if not found:
        return nan
    numbers = [float(number) for number in _NUMBER.findall(found[-1])]
    if len(numbers) == 3 and not any(numbers[:2]):  # collinear: keep the sign
        return numbers[2]
    return float(np.linalg.norm(numbers)) if len(numbers) > 1 else sum(numbers)


def _value(text: str, pattern: str) -> float | None:
    matches = [*re.finditer(pattern, text, re.MULTILINE)]
    return float(matches[-1][1]) if matches else None


def _word(text: str, pattern: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else ""


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        return data.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"the file cannot be read: {error}") from error


def _find(_: Path, files: Sequence[Path]) -> list[Source]:
    return [
        Source("gpaw", path, (path,))
        for path in files
        if bare_name(path).endswith((".txt", ".log", ".out")) and _has_logo(path)
    ]


def _has_logo(path: Path) -> bool:
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except (OSError, EOFError):
        return False
    return any(logo in head for logo in _LOGOS)


def _read(source: Source, options: ReadOptions) -> Iterator[Frame | Rejected]:
    return read_gpaw_text(source.path, missing_moments=options.missing_moments)


GPAW_TEXT = Reader("gpaw", "GPAW text output (*.txt, *.log, *.out)", _find, _read)
