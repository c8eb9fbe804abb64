# SPDX-License-Identifier: LGPL-3.0-or-later
"""ABACUS run folders (``INPUT``, ``STRU``, ``OUT.*``): single points, relaxations, MD.

dpdata reads geometry, energy, forces, stress and moments. Which SCF cycle converged and
which moments belong to it is taken from ``running_*.log`` here, cycle by cycle: dpdata
drops unconverged cycles but keeps their moments. The energy is ``E_KohnSham``, the free
energy that contains -TS and to which the forces belong.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, flaw, reject
from spin_dp.data_tools.readers.abacus_input import (
    abacus_level,
    is_on,
    number,
    parse_input,
)
from spin_dp.data_tools.readers.dpdata_source import elements_of
from spin_dp.data_tools.readers.source import Reader, ReadOptions, Source
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import formula

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from spin_dp.data_tools.frame import Array
    from spin_dp.data_tools.level import Level

UNCONVERGED = "SCF not converged: scf_thr was not reached within scf_nmax iterations"
UNFINISHED = "unfinished step: the ABACUS log ends before its energy and forces"
NO_FORCES = "no forces: rerun ABACUS with cal_force 1"
NO_MOMENTS = "no per-atom moments: rerun ABACUS with out_mul 1"
UNPOLARISED = "not spin-polarised (nspin 1): rerun ABACUS with nspin 2"
ZERO_MOMENTS = "not spin-polarised (nspin 1): moments taken as zero"

_KINDS = {"scf": "scf", "relax": "relax", "cell-relax": "relax", "md": "md"}
_FIRST_ITERATION = re.compile(r"\bELEC *= *\+?1 *-|#ELEC ITER# *1\b")
_REACHED = re.compile(r"charge density convergence is achieved|#SCF IS CONVERGED#")
_FAILED = re.compile(
    r"convergence has not been achieved|SCF IS NOT CONVERGED", re.IGNORECASE
)
_NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class _Cycle:
    """What the log says of one SCF cycle."""

    converged: bool | None  # None where the log was cut before it says so
    moments: Array | None
    magnetic_forces: Array | None
    total_moment: float


@dataclass(frozen=True)
class _Run:
    """What is equal for all steps of a run."""

    source: str
    symbols: tuple[str, ...]
    level: Level
    polarised: bool
    constrained: bool


def read_abacus(
    folder: Path, options: ReadOptions | None = None
) -> Iterator[Frame | Rejected]:
    """Yield the steps of an ABACUS run.

    Parameters
    ----------
    folder
        Folder with ``INPUT``.
    options
        What the user decided; the defaults when None.

    Yields
    ------
    Frame or Rejected
        One for each SCF cycle (for MD: each written one), in order.

    Raises
    ------
    DataError
        If a file is missing, the calculation has no forces, or dpdata fails.
    """
    options = options or ReadOptions()
    settings = parse_input(_text(folder / "INPUT"))
    calculation = settings.get("calculation", "scf")
    if calculation not in _KINDS:
        raise DataError(
            f"calculation {calculation!r} of ABACUS gives no frames; "
            f"read are {', '.join(_KINDS)}"
        )
    log = _log(folder, settings, calculation)
    structure = _structure(folder, settings)
    run = _run(folder, settings, structure, log)
    every = number(settings, "md_dumpfreq") if calculation == "md" else None
    cycles = _cycles(log)[:: int(every or 1)]
    data = _frames(folder, calculation)
    numbers = _matching(cycles, len(data["energies"]))
    for index, cycle in enumerate(cycles):
        place = numbers.get(index)
        yield _frame(index, cycle, place, data, run, options)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"the ABACUS run has no {path.name}: {error}") from error


def _log(folder: Path, settings: Mapping[str, str], calculation: str) -> str:
    out = folder / f"OUT.{settings.get('suffix', 'ABACUS')}"
    return _text(out / f"running_{calculation}.log")


def _structure(folder: Path, settings: Mapping[str, str]) -> dict[str, Any]:
    from dpdata.formats.abacus.stru import get_frame_from_stru

    path = folder / settings.get("stru_file", "STRU")
    _text(path)
    with _quiet("STRU"):
        data: dict[str, Any] = get_frame_from_stru(str(path))
    return data


def _frames(folder: Path, calculation: str) -> dict[str, Any]:
    """Return what dpdata reads, not yet checked: its moments are not used."""
    from dpdata.system import load_format

    name = f"abacus/{_KINDS[calculation]}"
    with _quiet(name):
        data: dict[str, Any] = load_format(name).from_labeled_system(str(folder))
    return data


@contextlib.contextmanager
def _quiet(what: str) -> Iterator[None]:
    """Turn what dpdata raises into DataError and keep it from printing."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of steps that are rejected here
        try:
            yield
        except Exception as error:  # its parsers raise what they like
            words = " ".join(str(error).split())[:160]
            raise DataError(
                f"dpdata cannot read {what}: {type(error).__name__}: {words}"
            ) from error


def _cycles(log: str) -> list[_Cycle]:
    starts = [match.start() for match in _FIRST_ITERATION.finditer(log)] or [0]
    return [
        _cycle(log[start:end])
        for start, end in zip(starts, [*starts[1:], len(log)], strict=True)
    ]


def _cycle(text: str) -> _Cycle:
    from dpdata.formats.abacus.scf import get_mag_force

    with _quiet("the moments in the log"):
        moments, magnetic_forces = get_mag_force(text.split("\n"))
    totals = re.findall(r"otal magnetism \(Bohr mag/cell\)(.*)", text)
    numbers = [float(n) for n in _NUMBER.findall(totals[-1])] if totals else [nan]
    if _FAILED.search(text):
        converged: bool | None = False
    else:
        converged = True if _REACHED.search(text) else None
    return _Cycle(
        converged=converged,
        moments=moments[-1] if len(moments) else None,
        magnetic_forces=magnetic_forces[-1] if len(magnetic_forces) else None,
        total_moment=numbers[0]
        if len(numbers) == 1
        else float(np.hypot.reduce(numbers)),
    )


def _matching(cycles: Sequence[_Cycle], nframes: int) -> dict[int, int]:
    """Return which frame of dpdata belongs to which cycle.

    dpdata leaves out unconverged cycles and a cut-off end; for newer ABACUS, whose
    marks it does not know, it keeps the unconverged ones.
    """
    converged = [i for i, cycle in enumerate(cycles) if cycle.converged]
    if nframes == len(cycles):
        return {i: i for i in converged}
    if nframes <= len(converged):
        return {cycle: frame for frame, cycle in enumerate(converged[:nframes])}
    raise DataError(
        f"dpdata gives {nframes} frames, but the log has {len(converged)} converged "
        f"of {len(cycles)} SCF cycles; the output is not of one run"
    )


def _frame(
    index: int,
    cycle: _Cycle,
    place: int | None,
    data: Mapping[str, Any],
    run: _Run,
    options: ReadOptions,
) -> Frame | Rejected:
    has_forces = len(data["forces"]) == len(data["energies"]) > 0
    reason = _missing(cycle, place, has_forces, run, options)
    if reason is not None or place is None:
        energy = nan if place is None else float(data["energies"][place])
        return Rejected(
            source=run.source,
            step=index + 1,
            reason=reason or UNFINISHED,
            formula=formula(run.symbols),
            natoms=len(run.symbols),
            energy=energy,
            total_moment=cycle.total_moment,
            level=run.level.id,
            constrained=run.constrained,
        )
    moments = np.zeros((len(run.symbols), 3))
    virials = data.get("virials")
    frame = Frame(
        source=run.source,
        step=index + 1,
        symbols=run.symbols,
        cell=np.array(data["cells"][place], dtype=np.float64),
        positions=np.array(data["coords"][place], dtype=np.float64),
        energy=float(data["energies"][place]),
        forces=np.array(data["forces"][place], dtype=np.float64),
        moments=moments if cycle.moments is None else cycle.moments,
        virial=None if virials is None else np.array(virials[place]),
        level=run.level,
        magnetic_forces=cycle.magnetic_forces,
        constrained=run.constrained,
        total_moment=cycle.total_moment,
        note=ZERO_MOMENTS if cycle.moments is None else "",
    )
    reason = flaw(frame)
    return frame if reason is None else reject(frame, reason)


def _missing(
    cycle: _Cycle, place: int | None, has_forces: bool, run: _Run, options: ReadOptions
) -> str | None:
    if cycle.converged is False:
        return UNCONVERGED
    if cycle.converged is None or place is None:
        return UNFINISHED
    if not has_forces:
        return NO_FORCES
    if not run.polarised:
        return UNPOLARISED if options.missing_moments == "reject" else None
    return NO_MOMENTS if cycle.moments is None else None


def _run(
    folder: Path, settings: Mapping[str, str], structure: Mapping[str, Any], log: str
) -> _Run:
    held = bool(number(settings, "nupdown"))
    return _Run(
        source=str(folder),
        symbols=elements_of(structure),
        level=abacus_level(settings, structure, log),
        polarised=settings.get("nspin", "1") in {"2", "4"}
        or is_on(settings, "noncolin")
        or is_on(settings, "lspinorb"),
        constrained=held or is_on(settings, "sc_mag_switch"),
    )


def _find(folder: Path, files: Sequence[Path]) -> list[Source]:
    inputs = [path for path in files if path.name == "INPUT"]
    outputs = sorted(path for path in folder.glob("OUT.*") if path.is_dir())
    if not inputs or not outputs or not _is_abacus_input(inputs[0]):
        return []
    written = [
        path
        for output in outputs
        for pattern in ("running_*.log", "MD_dump", "STRU_ION*_D")
        for path in sorted(output.glob(pattern))
    ]
    structure = [path for path in files if path.name == "STRU"]
    return [Source("abacus", folder, (*inputs, *structure, *written))]


def _is_abacus_input(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            head = stream.read(1024)
    except OSError:
        return False
    return "INPUT_PARAMETERS" in head


def _read(source: Source, options: ReadOptions) -> Iterator[Frame | Rejected]:
    return read_abacus(source.path, options)


ABACUS = Reader("abacus", "ABACUS run folders (INPUT, STRU, OUT.*)", _find, _read)
