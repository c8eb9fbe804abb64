# SPDX-License-Identifier: LGPL-3.0-or-later
"""Structures and their moment labels, from files, ASE, pymatgen or plain words."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from ase import Atoms
from ase import io as ase_io
from numpy.typing import NDArray

from spin_dp.errors import ConfigError, DataError, ShapeError, unknown

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pymatgen.core import Structure

Array: TypeAlias = NDArray[np.float64]

log = logging.getLogger(__name__)


def read_structure(path: str | Path) -> Atoms:
    """Read a structure with ASE, or with pymatgen where ASE cannot.

    Parameters
    ----------
    path
        Any structure file; of a trajectory the last frame.

    Returns
    -------
    ase.Atoms
        With the moments that the file has.

    Raises
    ------
    DataError
        If the file is absent, unreadable, or has sites of partial occupancy.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such structure file")
    if path.suffix.lower() == ".mcif":  # ASE reads these without their moments
        return _read_pymatgen(path, None)
    try:
        atoms = ase_io.read(path, index=-1)
    except Exception as error:  # readers of a hundred formats raise what they like
        return _read_pymatgen(path, error)
    if not isinstance(atoms, Atoms) or len(atoms) == 0:
        raise DataError(f"{path}: expected a structure, found no atoms")
    _refuse_partial_sites(atoms, path)
    return atoms


def _read_pymatgen(path: Path, first: Exception | None) -> Atoms:
    from pymatgen.core import Structure

    try:
        structure = Structure.from_file(str(path))
    except Exception as error:
        reasons = f"pymatgen: {error}" if first is None else f"ASE: {first!r}"
        raise DataError(
            f"{path}: neither ASE nor pymatgen reads this as a structure ({reasons}). "
            "Name the file by its format, e.g. .cif, POSCAR, .extxyz."
        ) from (first or error)
    return as_atoms(structure)


def _refuse_partial_sites(atoms: Atoms, path: Path) -> None:
    for site in atoms.info.get("occupancy", {}).values():
        if any(abs(share - 1.0) > 1.0e-3 for share in site.values()):
            raise DataError(
                f"{path}: expected full sites, got the occupancy {site}. Choose an "
                "ordered cell first (e.g. pymatgen's OrderDisorderedStructure"
                "Transformation)."
            )


def as_atoms(structure: Atoms | Structure) -> Atoms:
    """Return ASE atoms for ASE atoms or a pymatgen structure.

    Parameters
    ----------
    structure
        ASE atoms pass through. Of a pymatgen structure the site property ``magmom``,
        or else the spin of its species, becomes the initial moments.

    Returns
    -------
    ase.Atoms
        Same order of atoms.

    Raises
    ------
    DataError
        If the object is no structure, is disordered, or has moments on some sites only.
    """
    if isinstance(structure, Atoms):
        return structure
    if not hasattr(structure, "lattice") or not hasattr(structure, "cart_coords"):
        raise DataError(
            "structure: expected ase.Atoms or a pymatgen Structure, got "
            f"{type(structure).__name__}"
        )
    if not structure.is_ordered:
        raise DataError(
            f"structure {structure.formula}: expected full sites, got partial "
            "occupancies. Choose an ordered cell first."
        )
    atoms = Atoms(
        [site.specie.symbol for site in structure],
        positions=structure.cart_coords,
        cell=structure.lattice.matrix,
        pbc=structure.lattice.pbc,
    )
    moments = _pymatgen_moments(structure)
    if moments is not None:
        atoms.set_initial_magnetic_moments(_shortest(moments))
    return atoms


def _pymatgen_moments(structure: Structure) -> Array | None:
    values = list(structure.site_properties.get("magmom", [None] * len(structure)))
    if all(value is None for value in values):
        spins = [getattr(site.specie, "spin", None) for site in structure]
        if all(spin is None for spin in spins):
            return None
        return moment_vectors([spin or 0.0 for spin in spins], len(structure))
    if any(value is None for value in values):
        place = next(index for index, value in enumerate(values) if value is None)
        raise DataError(
            f"site property magmom: expected a moment on every site, got none on site "
            f"{place}. Set the others to 0."
        )
    return np.array([_moment_vector(value) for value in values], dtype=np.float64)


def _moment_vector(value: Any) -> Array:  # noqa: ANN401 - number, list or Magmom
    value = getattr(value, "global_moment", value)
    vector = np.asarray(value, dtype=np.float64)
    return vector if vector.shape == (3,) else np.array([0.0, 0.0, float(vector)])


def _shortest(moments: Array) -> Array:
    """Return one number per atom for moments along z, else the vectors."""
    return moments if moments[:, :2].any() else moments[:, 2]


def moment_vectors(moments: ArrayLike, n_atoms: int, *, name: str = "moments") -> Array:
    """Return moments as vectors.

    Parameters
    ----------
    moments
        One number (collinear, along z) or three per atom, (n,) or (n, 3), μB.
    n_atoms
        Number of atoms n.
    name
        What the array is called in errors.

    Returns
    -------
    Array
        Moments, (n, 3), μB; a new array.

    Raises
    ------
    ShapeError
        If the shape is neither (n,) nor (n, 3).
    DataError
        If a value is no finite number.
    """
    try:
        array = np.array(moments, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"{name}: expected ({n_atoms},) or ({n_atoms}, 3) numbers, got {error}"
        ) from error
    if array.shape not in ((n_atoms,), (n_atoms, 3)):
        raise ShapeError(
            f"{name}: expected ({n_atoms},) or ({n_atoms}, 3), one or three numbers "
            f"per atom, got {array.shape}"
        )
    vectors = np.zeros((n_atoms, 3))
    if array.ndim == 1:
        vectors[:, 2] = array
    else:
        vectors[:] = array
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        raise DataError(
            f"{name}: expected finite numbers, got {array[bad[0]]} at atom {bad[0]}"
        )
    return vectors


def structure_moments(atoms: Atoms) -> Array | None:
    """Return the moments that a structure carries.

    Calculated moments come before the initial ones, from which a calculation started.

    Parameters
    ----------
    atoms
        The structure.

    Returns
    -------
    Array or None
        Moments, (n, 3), μB; None where the structure has none.
    """
    calculated = getattr(atoms.calc, "results", {}).get("magmoms")
    for name, values in (
        ("calculated moments", calculated),
        ("magmoms", atoms.arrays.get("magmoms")),
        ("initial moments", atoms.arrays.get("initial_magmoms")),
    ):
        if values is not None:
            return moment_vectors(values, len(atoms), name=name)
    return None


def parse_moments(text: str | None, atoms: Atoms) -> Array:
    """Return the moments that a word stands for.

    Parameters
    ----------
    text
        ``None``: the structure's own. ``"Mn=3.8,Ni=1.3"``: by element, all others
        zero. ``"3.8,3.8,0,0"``: one number per atom. Else the path of a text file
        with one row of one or three numbers per atom.
    atoms
        The structure.

    Returns
    -------
    Array
        Moments, (n, 3), μB.

    Raises
    ------
    ConfigError
        If nothing gives moments, or an element or number is not understood.
    ShapeError
        If the number of moments is not the number of atoms.
    DataError
        If the file is absent or damaged, or a moment is no finite number.
    """
    if text is None:
        own = structure_moments(atoms)
        if own is None:
            raise ConfigError(
                f"{_formula(atoms)} has no moments in its structure file. Give "
                "moments: per element (Mn=3.8,Ni=1.3), one per atom (3.8,0,0,...) or a "
                "file."
            )
        return own
    words = [word.strip() for word in text.split(",")]
    if any("=" in word for word in words):
        return _moments_by_element(words, atoms)
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return _moments_from_file(Path(text), atoms)
    _check_count(len(numbers), atoms, "moments")
    return moment_vectors(numbers, len(atoms))


def _formula(atoms: Atoms) -> str:
    return str(atoms.get_chemical_formula())


def _check_count(found: int, atoms: Atoms, source: str) -> None:
    if found != len(atoms):
        raise ShapeError(
            f"{source}: expected {len(atoms)} moments from {_formula(atoms)}, got "
            f"{found}. Give one per atom, in the order of the structure file."
        )


def _moments_by_element(words: list[str], atoms: Atoms) -> Array:
    symbols = np.array(atoms.get_chemical_symbols())
    sizes = np.zeros(len(atoms))
    seen: set[str] = set()
    for word in words:
        element, _, number = (part.strip() for part in word.partition("="))
        if element not in symbols:
            raise unknown("element", element, set(symbols.tolist()))
        if element in seen:
            raise ConfigError(f"moments: {element} is given twice in {','.join(words)}")
        seen.add(element)
        try:
            sizes[symbols == element] = float(number)
        except ValueError as error:
            raise ConfigError(
                f"moments: expected a number of μB after {element}=, got {number!r}"
            ) from error
    return moment_vectors(sizes, len(atoms))


def _moments_from_file(path: Path, atoms: Atoms) -> Array:
    if not path.is_file():
        raise DataError(
            f"moments {str(path)!r}: neither numbers, nor elements (Mn=3.8), nor the "
            "path of a file"
        )
    rows: list[list[float]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
        if len(row) not in (1, 3) or (rows and len(row) != len(rows[0])):
            raise DataError(
                f"{path}, line {number}: expected one or three numbers, the same in "
                f"every row, got {len(row)}"
            )
        rows.append(row)
    _check_count(len(rows), atoms, str(path))
    array = np.array(rows)
    return moment_vectors(
        array[:, 0] if array.shape[1] == 1 else array, len(atoms), name=str(path)
    )
