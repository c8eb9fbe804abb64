# SPDX-License-Identifier: LGPL-3.0-or-later
"""Files that ASE reads and that hold moments: extended XYZ, ``.traj`` and ``.gpw``.

The energy taken is ``free_energy``, to which the forces belong; ``energy`` only where
there is no other. Moments are those of the calculator (``magmoms``); starting guesses
(``initial_magmoms``) are never used. Collinear moments (one column) lie along z.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from math import nan
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, flaw, reject
from spin_dp.data_tools.level import Level, level_of_settings
from spin_dp.data_tools.readers.source import Reader, ReadOptions, Source
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import formula, is_element

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spin_dp.data_tools.frame import Array
    from spin_dp.data_tools.readers.source import MissingMoments

UNCONVERGED = "SCF not converged (converged=F)"
NO_FORCES = "no forces"
NO_ENERGY = "no energy"
NO_MOMENTS = "no per-atom magmoms array: write the calculator's moments as magmoms"
ONLY_GUESSES = (
    "initial_magmoms only, which are starting guesses: "
    "write the calculator's moments as magmoms"
)
ZERO_MOMENTS = "no moments in the file: taken as zero"
NO_LATTICE = "no Lattice in the comment line: plain XYZ, not extended XYZ"
NO_CELL = "not periodic in three directions"
UNKNOWN_ELEMENT = "an atom is not a chemical element"
FALLBACK = "no free_energy: energy used, which may not be the one of the forces"

_ZERO_TOTAL_MUB = 1.0e-3
_FORMATS = {
    "extxyz": (".extxyz", ".xyz", ".extxyz.gz", ".xyz.gz"),
    "traj": (".traj",),
    "gpw": (".gpw",),
}
_NAMES = {
    "extxyz": "extended XYZ",
    "traj": "ASE trajectory",
    "gpw": "GPAW restart file",
}
_GPAW_LEVEL = ("mode", "xc", "setups", "basis", "h", "occupations", "charge", "soc")


@dataclass(frozen=True)
class _Choices:
    """What is equal for all frames of a file."""

    source: str
    level: str | None
    missing_moments: MissingMoments
    recorded: Level | None = None
    constrained: bool | None = None


def read_extxyz(
    path: Path, *, level: str | None = None, missing_moments: MissingMoments = "reject"
) -> Iterator[Frame | Rejected]:
    """Yield the frames of an extended-XYZ file.

    Parameters
    ----------
    path
        ``.extxyz`` or ``.xyz``, also gzipped.
    level
        Level of theory of frames that record no ``settings``.
    missing_moments
        As in :class:`spin_dp.data_tools.readers.source.ReadOptions`.

    Yields
    ------
    Frame or Rejected
        One for each frame in the file, in order. Where the text itself is broken, the
        rest of the file is one rejected frame.

    Raises
    ------
    DataError
        If the file cannot be opened.
    """
    return read_ase(path, "extxyz", level=level, missing_moments=missing_moments)


def read_ase(
    path: Path,
    kind: str,
    *,
    level: str | None = None,
    missing_moments: MissingMoments = "reject",
) -> Iterator[Frame | Rejected]:
    """Yield the frames of a file that ASE reads.

    Parameters
    ----------
    path
        The file.
    kind
        ``extxyz``, ``traj`` or ``gpw``.
    level, missing_moments
        As in :func:`read_extxyz`.

    Yields
    ------
    Frame or Rejected
        One for each frame in the file, in order; a broken rest is one rejected frame.

    Raises
    ------
    DataError
        If the file cannot be opened.
    """
    images = {"extxyz": _xyz_images, "traj": _traj_images, "gpw": _gpw_images}[kind]
    step = 0
    try:
        recorded = _gpw_settings(path) if kind == "gpw" else (None, None)
        choices = _Choices(str(path), level, missing_moments, *recorded)
        for atoms in images(path):
            step += 1
            yield _frame(atoms, step, choices)
    except Exception as error:  # ASE raises what it likes on broken files
        if _is_unreadable(error):
            raise DataError(f"the file cannot be read: {error}") from error
        words = " ".join(str(error).split())[:120]
        reason = f"not valid {_NAMES[kind]}: {type(error).__name__}: {words}"
        yield Rejected(source=str(path), step=step + 1, reason=reason)


def _is_unreadable(error: Exception) -> bool:
    """Return whether the file, not its content, is at fault; ASE uses OSError too."""
    return isinstance(error, (OSError, EOFError)) and not type(
        error
    ).__module__.startswith("ase.")


def _xyz_images(path: Path) -> Iterator[Any]:
    from ase.io.extxyz import read_xyz

    with _open(path) as stream:
        yield from read_xyz(stream, index=slice(None))


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _traj_images(path: Path) -> Iterator[Any]:
    from ase.io.trajectory import TrajectoryReader

    with TrajectoryReader(str(path)) as images:
        yield from images


def _gpw_images(path: Path) -> Iterator[Any]:
    from ase.io.gpw import read_gpw

    atoms = read_gpw(str(path))
    vectors = _gpw_part(path, "results").get("non_collinear_magmoms")
    if vectors is not None:  # ASE knows only collinear ones
        atoms.calc.results["magmoms"] = vectors
    yield atoms


def _gpw_part(path: Path, name: str) -> dict[str, Any]:
    from ase.io import ulm

    with ulm.open(str(path)) as reader:
        part = getattr(reader, name, None)
        return {} if part is None else dict(part.asdict())


def _gpw_settings(path: Path) -> tuple[Level | None, bool | None]:
    """Return level and constraint from the parameters of the calculation.

    K-mesh and SCF thresholds do not count, and a held total moment is no level.
    """
    parameters = _gpw_part(path, "parameters")
    kept = {key: parameters[key] for key in _GPAW_LEVEL if key in parameters}
    if not kept:
        return None, None
    occupations = dict(kept.pop("occupations", None) or {})
    held = bool(occupations.pop("fixmagmom", False))
    functional = kept.get("xc", "LDA")
    name = functional if isinstance(functional, str) else functional.get("name", "xc")
    description = {"program": "GPAW", **kept, "occupations": occupations}
    return Level(f"GPAW-{name}", description), held


def _frame(atoms: Any, step: int, choices: _Choices) -> Frame | Rejected:  # noqa: ANN401
    results: dict[str, Any] = dict(atoms.calc.results) if atoms.calc else {}
    symbols = tuple(atoms.get_chemical_symbols())
    energy, kind = _energy(results)
    known: dict[str, Any] = {
        "source": choices.source,
        "step": step,
        "energy": energy,
        "total_moment": _length(
            atoms.info.get("total_magmom", results.get("magmom", nan))
        ),
        "constrained": _constrained(atoms, choices),
    }
    level = choices.recorded or level_of_settings(
        atoms.info.get("settings"), choices.level
    )
    reason = _missing(atoms, results, symbols) or _without_moments(
        atoms, results, known["total_moment"], choices.missing_moments
    )
    if reason is not None:
        name = formula(symbols) if all(map(is_element, symbols)) else ""
        return Rejected(
            reason=reason, formula=name, natoms=len(symbols), level=level.id, **known
        )
    cell = np.array(atoms.cell.array, dtype=np.float64)
    magnetic_forces = atoms.arrays.get("magnetic_forces")
    notes = [FALLBACK] if kind == "energy" else []
    notes += [ZERO_MOMENTS] if "magmoms" not in results else []
    frame = Frame(
        symbols=symbols,
        cell=cell,
        positions=np.array(atoms.positions, dtype=np.float64),
        forces=np.array(results["forces"], dtype=np.float64),
        moments=_vectors(results.get("magmoms", np.zeros(len(symbols)))),
        virial=_virial(results.get("stress"), cell),
        level=level,
        magnetic_forces=None if magnetic_forces is None else _vectors(magnetic_forces),
        energy_kind=kind,
        geometry_id=_text(atoms.info.get("geometry_id")),
        note="; ".join(notes),
        **known,
    )
    reason = flaw(frame)
    return frame if reason is None else reject(frame, reason)


def _constrained(atoms: Any, choices: _Choices) -> bool | None:  # noqa: ANN401
    constraint = atoms.info.get("spin_constraint")
    return choices.constrained if constraint is None else str(constraint) != "none"


def _missing(
    atoms: Any,  # noqa: ANN401
    results: dict[str, Any],
    symbols: tuple[str, ...],
) -> str | None:
    """Return the first thing but moments that keeps a frame from being used."""
    if not all(map(is_element, symbols)):
        return UNKNOWN_ELEMENT
    if not atoms.info.get("converged", True):
        return UNCONVERGED
    if not atoms.cell.any():
        return NO_LATTICE
    if not {"energy", "free_energy"} & results.keys():
        return NO_ENERGY
    if "forces" not in results:
        return NO_FORCES
    if not atoms.pbc.all():
        return NO_CELL
    return None


def _without_moments(
    atoms: Any,  # noqa: ANN401
    results: dict[str, Any],
    total: float,
    missing_moments: MissingMoments,
) -> str | None:
    """Return why a frame without moments cannot be used.

    One that was started from moments, or has a total moment, was not spin-blind: its
    moments are unknown and must not be taken as zero.
    """
    if "magmoms" in results:
        return None
    if np.any(atoms.arrays.get("initial_magmoms", 0.0)):
        return ONLY_GUESSES
    if missing_moments == "reject" or abs(total) > _ZERO_TOTAL_MUB:
        return NO_MOMENTS
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
        Source("ase", path, (path,), kind)
        for path in files
        for kind, endings in _FORMATS.items()
        if path.name.endswith(endings)
    ]


def _read(source: Source, options: ReadOptions) -> Iterator[Frame | Rejected]:
    return read_ase(
        source.path,
        source.format,
        level=options.level,
        missing_moments=options.missing_moments,
    )


ASE_FILES = Reader("ase", "*.extxyz, *.xyz, *.traj, *.gpw", _find, _read)
