# SPDX-License-Identifier: LGPL-3.0-or-later
"""Extended XYZ with per-atom ``magmoms``, read through ASE.

The energy taken is ``free_energy``, to which the forces belong; ``energy`` only where
there is no other. Collinear moments (one column) are stored along z.
"""

from __future__ import annotations

import gzip
from math import nan
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools.elements import formula, is_element
from spin_dp.data_tools.frame import Frame, Rejected, flaw, reject
from spin_dp.data_tools.level import level_of_settings
from spin_dp.data_tools.readers.source import Reader, ReadOptions, Source, bare_name
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spin_dp.data_tools.frame import Array

UNCONVERGED = "SCF not converged (converged=F)"
NO_FORCES = "no forces"
NO_ENERGY = "no energy"
NO_MOMENTS = "no per-atom magmoms array: write the calculator's moments as magmoms"
NO_CELL = "not periodic in three directions"
UNKNOWN_ELEMENT = "an atom is not a chemical element"
FALLBACK = "no free_energy: energy used, which may not be the one of the forces"


def read_extxyz(path: Path, *, level: str | None = None) -> Iterator[Frame | Rejected]:
    """Yield the frames of an extended-XYZ file.

    Parameters
    ----------
    path
        ``.extxyz`` or ``.xyz``, also gzipped.
    level
        Level of theory of frames that record no ``settings``.

    Yields
    ------
    Frame or Rejected
        One for each frame in the file, in order. Where the text itself is broken, the
        rest of the file is one rejected frame.
    """
    from ase.io.extxyz import XYZError, read_xyz

    step = 0
    try:
        with _open(path) as stream:
            for atoms in read_xyz(stream, index=slice(None)):
                step += 1
                yield _frame(atoms, str(path), step, level)
    except XYZError as error:
        yield Rejected(source=str(path), step=step + 1, reason=_broken(error))
    except (OSError, EOFError) as error:
        raise DataError(f"the file cannot be read: {error}") from error
    except Exception as error:  # ASE raises what it likes on broken text
        yield Rejected(source=str(path), step=step + 1, reason=_broken(error))


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _broken(error: Exception) -> str:
    words = " ".join(str(error).split())[:120]
    return f"not valid extended XYZ: {type(error).__name__}: {words}"


def _frame(atoms: Any, source: str, step: int, level: str | None) -> Frame | Rejected:  # noqa: ANN401
    results: dict[str, Any] = dict(atoms.calc.results) if atoms.calc else {}
    symbols = tuple(atoms.get_chemical_symbols())
    energy = _energy(results)
    theory = level_of_settings(atoms.info.get("settings"), level)
    total = atoms.info.get("total_magmom", results.get("magmom", nan))
    constraint = atoms.info.get("spin_constraint")
    reason = _missing(atoms, results, symbols)
    if reason is not None:
        return Rejected(
            source=source,
            step=step,
            reason=reason,
            formula=formula(symbols) if all(map(is_element, symbols)) else "",
            natoms=len(symbols),
            energy=energy[0],
            total_moment=_length(total),
            level=theory.id,
        )
    cell = np.array(atoms.cell.array, dtype=np.float64)
    frame = Frame(
        source=source,
        step=step,
        symbols=symbols,
        cell=cell,
        positions=np.array(atoms.positions, dtype=np.float64),
        energy=energy[0],
        forces=np.array(results["forces"], dtype=np.float64),
        moments=_vectors(results["magmoms"]),
        virial=_virial(results.get("stress"), cell),
        level=theory,
        energy_kind=energy[1],
        constrained=None if constraint is None else str(constraint) != "none",
        total_moment=_length(total),
        geometry_id=_text(atoms.info.get("geometry_id")),
        note=FALLBACK if energy[1] == "energy" else "",
    )
    reason = flaw(frame)
    return frame if reason is None else reject(frame, reason)


def _missing(
    atoms: Any,  # noqa: ANN401
    results: dict[str, Any],
    symbols: tuple[str, ...],
) -> str | None:
    """Return the first thing that keeps a frame from being used."""
    if not all(map(is_element, symbols)):
        return UNKNOWN_ELEMENT
    if not atoms.info.get("converged", True):
        return UNCONVERGED
    if not {"energy", "free_energy"} & results.keys():
        return NO_ENERGY
    if "forces" not in results:
        return NO_FORCES
    if "magmoms" not in results:
        return NO_MOMENTS
    if not atoms.pbc.all():
        return NO_CELL
    return None


def _energy(results: dict[str, Any]) -> tuple[float, str]:
    for kind in ("free_energy", "energy"):
        if results.get(kind) is not None:
            return float(results[kind]), kind
    return nan, ""


def _vectors(magmoms: Any) -> Array:  # noqa: ANN401
    """Return moments as (nloc, 3); a single column is collinear and goes along z."""
    moments = np.array(magmoms, dtype=np.float64)
    if moments.ndim == 1:
        return np.stack([np.zeros_like(moments), np.zeros_like(moments), moments], 1)
    return moments


def _virial(stress: Any, cell: Array) -> Array | None:  # noqa: ANN401
    """Return minus volume times the ASE stress (xx yy zz yz xz xy), (3, 3), eV."""
    if stress is None:
        return None
    xx, yy, zz, yz, xz, xy = np.asarray(stress, dtype=np.float64).ravel()[
        [0, 1, 2, 3, 4, 5] if np.size(stress) == 6 else [0, 4, 8, 5, 2, 1]
    ]
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return np.asarray(-abs(np.linalg.det(cell)) * tensor)


def _length(total: Any) -> float:  # noqa: ANN401
    numbers = np.asarray(total, dtype=np.float64).ravel()
    return float(numbers[0]) if numbers.size == 1 else float(np.linalg.norm(numbers))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _find(_: Path, files: Sequence[Path]) -> list[Source]:
    return [
        Source("extxyz", path, (path,))
        for path in files
        if bare_name(path).endswith((".extxyz", ".xyz"))
    ]


def _read(source: Source, options: ReadOptions) -> Iterator[Frame | Rejected]:
    return read_extxyz(source.path, level=options.level)


EXTXYZ = Reader("extxyz", "*.extxyz, *.xyz", _find, _read)
