# SPDX-License-Identifier: LGPL-3.0-or-later
"""VASP runs: the OUTCAR and the vasprun.xml of one run, found together, read together.

Files of one folder belong to one run if their names differ only in ``OUTCAR`` and
``vasprun.xml`` (``OUTCAR.relax1.gz``, ``vasprun.xml.relax1.gz``). Moments, convergence
and what decides on a step come from the OUTCAR. Where vasprun.xml shows the same step,
it gives positions, forces and stress, of which it has more digits; the cell stays that
of the OUTCAR, which has one digit more.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, reject
from spin_dp.data_tools.readers.packed import bare_name, packing, read_text
from spin_dp.data_tools.readers.source import Reader, ReadOptions, Source
from spin_dp.data_tools.readers.vasp.outcar import read_outcar
from spin_dp.data_tools.readers.vasp.step import nearest_image
from spin_dp.data_tools.readers.vasp.vasprun import VasprunRun
from spin_dp.errors import DataError
from spin_dp.units import EV_PER_ANGSTROM3_IN_KBAR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spin_dp.data_tools.frame import Array
    from spin_dp.data_tools.readers.source import MissingMoments

DISAGREE = "OUTCAR and vasprun.xml disagree on the {} of the step: not the same run?"
NOT_IN_OUTCAR = "the OUTCAR ends before this step of the vasprun.xml"
OUTCAR_ALONE = "OUTCAR alone: {}"
NOT_IN_VASPRUN = "the step is not in the vasprun.xml"

_ENERGY_EV_PER_ATOM = 1.0e-5
_CELL_ANGSTROM = 1.0e-6
_POSITION_ANGSTROM = 2.0e-5  # an OUTCAR gives five decimals
_FORCE_EV_PER_ANGSTROM = 2.0e-6  # six decimals
_STRESS_KBAR = 1.0e-3  # vasprun.xml shows its numerical asymmetry


def find_runs(_: Path, files: Sequence[Path]) -> list[Source]:
    """Return the VASP runs among the files of one folder.

    Parameters
    ----------
    files
        Files of the folder.

    Returns
    -------
    list of Source
        One for each OUTCAR, with the vasprun.xml of its run, and one for each
        vasprun.xml of a run without OUTCAR. Of copies of a vasprun.xml (plain and
        gzipped) no more are read than there are of the OUTCAR.
    """
    vaspruns: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(files):
        if _is_vasprun(path):
            vaspruns[_run_name(path)].append(path)
    sources: list[Source] = []
    have_outcar: set[str] = set()
    for path in sorted(files):
        if _is_vasprun(path) or not _is_outcar(path):
            continue
        name = _run_name(path)
        have_outcar.add(name)
        partners = vaspruns[name]
        partner = [partners.pop(_closest(path, partners))] if partners else []
        sources.append(Source("vasp", path, (path, *partner)))
    for name, paths in vaspruns.items():
        if name not in have_outcar:
            sources += [Source("vasp", path, (path,)) for path in paths]
    return sources


def read_run(source: Source, options: ReadOptions) -> Iterator[Frame | Rejected]:
    """Yield the ionic steps of one run.

    Parameters
    ----------
    source
        A source of :func:`find_runs`.
    options
        What the user decided.

    Yields
    ------
    Frame or Rejected
        One for each ionic step. Where the vasprun.xml cannot be used, the note of the
        frame says so.

    Raises
    ------
    DataError
        If the OUTCAR (or the only file) cannot be read at all.
    """
    missing = options.missing_moments
    if _is_vasprun(source.path):
        yield from VasprunRun(source.path).frames(missing)
    elif len(source.files) == 1:
        yield from read_outcar(source.path, missing_moments=missing)
    else:
        yield from _read_pair(source, missing)


def _read_pair(source: Source, missing: MissingMoments) -> Iterator[Frame | Rejected]:
    symbols: tuple[str, ...] = ()
    steps: list[Frame | Rejected] = []
    note = NOT_IN_VASPRUN
    try:  # the text of this file is given up before the other one is opened
        run = VasprunRun(source.files[1])
        symbols, steps = run.header.symbols, run.steps
    except DataError as error:
        note = str(error)
    last: Frame | Rejected | None = None
    for last in read_outcar(source.path, missing_moments=missing):
        if isinstance(last, Rejected):
            yield last
        elif symbols not in {(), last.symbols}:
            yield reject(last, DISAGREE.format("atoms"))
        elif last.step > len(steps):
            yield _noted(last, note)
        elif isinstance(step := steps[last.step - 1], Rejected):
            yield _noted(last, step.reason)
        else:
            yield _merged(last, step)
    if last is not None:
        for step in steps[last.step :]:
            more = reject(step, NOT_IN_OUTCAR) if isinstance(step, Frame) else step
            yield replace(more, source=str(source.path), reason=NOT_IN_OUTCAR)


def _merged(frame: Frame, step: Frame) -> Frame | Rejected:
    """Return the step with the digits of vasprun.xml, if both files agree on it."""
    stress, virial = np.zeros(()), frame.virial
    if virial is not None and step.virial is not None:
        stress = (virial - step.virial) * EV_PER_ANGSTROM3_IN_KBAR / frame.volume
        virial = step.virial
    positions = nearest_image(step.positions, frame.positions, frame.cell)
    # Largest difference and what rounding allows; nan never agrees.
    differences: dict[str, tuple[Array | float, float]] = {
        "energy": (frame.energy - step.energy, _ENERGY_EV_PER_ATOM * frame.natoms),
        "cell": (frame.cell - step.cell, _CELL_ANGSTROM),
        "positions": (frame.positions - positions, _POSITION_ANGSTROM),
        "forces": (frame.forces - step.forces, _FORCE_EV_PER_ANGSTROM),
        "stress": (stress, _STRESS_KBAR),
    }
    for quantity, (difference, allowed) in differences.items():
        if not np.abs(difference).max() <= allowed:
            return reject(frame, DISAGREE.format(quantity))
    return replace(frame, positions=positions, forces=step.forces, virial=virial)


def _noted(frame: Frame, why: str) -> Frame:
    notes = filter(None, (frame.note, OUTCAR_ALONE.format(why)))
    return replace(frame, note="; ".join(notes))


def _run_name(path: Path) -> str:
    name = bare_name(path).lower()
    for word in ("outcar", "vasprun", ".xml"):
        name = name.replace(word, "", 1)
    return name.strip("._-")


def _closest(path: Path, partners: Sequence[Path]) -> int:
    """Return which partner is packed as the file is, or the first."""
    alike = [packing(partner) == packing(path) for partner in partners]
    return alike.index(True) if True in alike else 0


def _is_vasprun(path: Path) -> bool:
    name = bare_name(path).lower()
    return "vasprun" in name and ".xml" in name and not name.startswith(".")


def _is_outcar(path: Path) -> bool:
    name = bare_name(path)
    return name.startswith("OUTCAR") or (
        "outcar" in name.lower() and _starts_like_outcar(path)
    )


def _starts_like_outcar(path: Path) -> bool:
    """Recognise an OUTCAR of another name, e.g. ``run1.outcar``."""
    try:
        return read_text(path, 64).lstrip().startswith("vasp.")
    except DataError:
        return False


VASP = Reader("vasp", "OUTCAR*, vasprun*.xml* (VASP)", find_runs, read_run)
