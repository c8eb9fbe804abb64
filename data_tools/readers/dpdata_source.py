# SPDX-License-Identifier: LGPL-3.0-or-later
"""Anything that dpdata reads, named by the user as ``FORMAT:PATH``.

The moments are dpdata's ``spins``, the magnetic forces its ``force_mags``; formats
without spins count as spin-blind. ABACUS runs and deepmd-kit systems go to the readers
of this package, which check more than dpdata does.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, flaw, reject
from spin_dp.data_tools.level import UNSPECIFIED, named_level
from spin_dp.data_tools.readers.source import Reader, ReadOptions, Source
from spin_dp.errors import DataError, unknown
from spin_dp.spin_states.elements import is_element

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from spin_dp.data_tools.frame import Array

NO_SPINS = "dpdata gives no spins for this format"
ZERO_MOMENTS = "no spins from dpdata: moments taken as zero"
NO_FORCES = "dpdata gives no forces"

_OWN_READERS = {
    **{
        f"abacus/{basis}{kind}": "abacus"
        for basis in ("", "pw/", "lcao/")
        for kind in ("scf", "relax", "md")
    },
    "deepmd/npy": "deepmd",
    "deepmd/npy/mixed": "deepmd",
    "deepmd/comp": "deepmd",
}


def parse(text: str) -> Source | None:
    """Return the source named by ``FORMAT:PATH``.

    Parameters
    ----------
    text
        What the user wrote, e.g. ``abacus/scf:run1``.

    Returns
    -------
    Source or None
        None for an ordinary path: no colon, an existing file, or a prefix without a
        slash that is no format of dpdata.

    Raises
    ------
    ConfigError
        If the prefix has a slash but is no format of the installed dpdata.
    DataError
        If the path does not exist.
    """
    name, colon, rest = text.partition(":")
    if not colon or not rest or Path(text).exists():
        return None
    known = _formats()
    if name.lower() not in known:
        if "/" not in name or name.startswith(("/", ".")):
            return None
        raise unknown("dpdata format", name, known)
    path = Path(rest)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    return _source(name.lower(), path)


def _formats() -> set[str]:
    import dpdata  # noqa: F401  (registers the formats)
    from dpdata.format import Format

    return set(Format.get_formats())


def _source(name: str, path: Path) -> Source:
    if path.is_file():
        return Source("dpdata", path, (path,), name)
    files = tuple(sorted(file for file in path.rglob("*") if file.is_file()))
    reader = _OWN_READERS.get(name)
    if reader is not None:
        return Source(reader, path, files)
    return Source("dpdata", path, files, name)


def read_dpdata(
    path: Path, name: str, options: ReadOptions | None = None
) -> Iterator[Frame | Rejected]:
    """Yield the frames that dpdata reads.

    Parameters
    ----------
    path
        File or folder.
    name
        Format of dpdata, e.g. ``lammps/dump``.
    options
        What the user decided; the defaults when None.

    Yields
    ------
    Frame or Rejected
        One for each frame that dpdata gives, in order.

    Raises
    ------
    DataError
        If dpdata fails, or gives no energies.
    """
    options = options or ReadOptions()
    data = load(path, name)
    symbols = elements_of(data)
    for index in range(len(data["energies"])):
        yield _frame(path, index, symbols, data, options)


def load(path: Path, name: str) -> dict[str, Any]:
    """Return the data of a labelled dpdata system, quietly.

    Raises
    ------
    DataError
        If dpdata cannot read it in this format.
    """
    import dpdata

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()) as said:
        warnings.simplefilter("ignore")  # dpdata warns of what is rejected later
        try:
            data: dict[str, Any] = dpdata.LabeledSystem(str(path), fmt=name).data
        except Exception as error:  # its parsers raise what they like
            words = " ".join(str(error).split())[:160]
            raise DataError(
                f"dpdata cannot read energies and forces as {name}: "
                f"{type(error).__name__}: {words}"
            ) from error
    if not len(data.get("energies", ())):
        words = " ".join(said.getvalue().split())[:160]
        raise DataError(f"dpdata finds no frames as {name}{': ' * bool(words)}{words}")
    return data


def elements_of(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the element of each atom; labels such as ``Fe1`` stand for Fe.

    Raises
    ------
    DataError
        If a name is no element.
    """
    names = [re.sub(r"\d+$", "", str(name)) for name in data["atom_names"]]
    for name in names:
        if not is_element(name):
            raise DataError(f"dpdata names the atoms {name!r}, which is no element")
    return tuple(names[kind] for kind in data["atom_types"])


def _frame(
    path: Path,
    index: int,
    symbols: tuple[str, ...],
    data: dict[str, Any],
    options: ReadOptions,
) -> Frame | Rejected:
    def of(name: str) -> Array | None:
        array = data.get(name)
        if array is None or len(array) <= index:
            return None
        return np.array(array[index], dtype=np.float64)

    forces, spins, coords, cell = of("forces"), of("spins"), of("coords"), of("cells")
    blank = np.zeros((len(symbols), 3))
    frame = Frame(
        source=str(path),
        step=index + 1,
        symbols=symbols,
        cell=np.zeros((3, 3)) if cell is None else cell,
        positions=blank if coords is None else coords,
        energy=float(data["energies"][index]),
        forces=blank if forces is None else forces,
        moments=blank if spins is None else spins,
        virial=of("virials"),
        level=named_level(options.level or UNSPECIFIED),
        magnetic_forces=of("force_mags"),
        energy_kind="energy",
        note=ZERO_MOMENTS if spins is None else "",
    )
    if forces is None:
        return reject(frame, NO_FORCES)
    if spins is None and options.missing_moments == "reject":
        return reject(frame, NO_SPINS)
    reason = flaw(frame)
    return frame if reason is None else reject(frame, reason)


def _find(_: Path, __: Sequence[Path]) -> list[Source]:
    return []  # only what the user names with its format


def _read(source: Source, options: ReadOptions) -> Iterator[Frame | Rejected]:
    return read_dpdata(source.path, source.format, options)


DPDATA = Reader("dpdata", "FORMAT:PATH with a format of dpdata", _find, _read)
