# SPDX-License-Identifier: LGPL-3.0-or-later
"""Structures and their moment labels, from files, ASE, pymatgen or plain words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from ase import Atoms
from ase import io as ase_io
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from spin_dp.errors import ConfigError, DataError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pymatgen.core import Structure

Array: TypeAlias = NDArray[np.float64]

SPIN_STATES = "spin_states"
"""Array of ASE atoms, site property of pymatgen structures: the state of each site,
``Mn3+HS``, ``-Mn3+HS`` for down, empty or :data:`NO_STATE` for no label."""

NO_STATE = "none"
"""State of a site without one in a file; an empty word would not be read back."""

LABELS = "labels"
"""Array of ASE atoms beside :data:`SPIN_STATES`: what LAMMPS carried, (n, 3), μB; the
directions of moments that turn."""

_INITIAL, _CALCULATED = "initial_magmoms", "magmoms"  # names of ASE
_RESULTS = ("energy", "free_energy", "forces", "stress", _CALCULATED)
_FOREIGN_MOMENTS = (_CALCULATED, "magmom")  # arrays, where no calculator has them


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
        or else the spin of its species, becomes the initial moments; ``spin_states``
        is kept.

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
        atoms.set_initial_magnetic_moments(shortest_moments(moments))
    states = structure.site_properties.get(SPIN_STATES)
    if states is not None:
        atoms.set_array(SPIN_STATES, np.array([state or "none" for state in states]))
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


def shortest_moments(moments: Array) -> Array:
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


def carried_moments(atoms: Atoms) -> Array | None:
    """Return the moments that a structure carries.

    Calculated moments count while they belong to these atoms: nothing that ASE's
    ``check_state`` sees, positions and initial moments among it, has changed since they
    were calculated. Otherwise the initial moments count; if all of them are zero, which
    is what programs write for none, they do not.

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
    if calculated is not None and not _has_changed(atoms):
        return moment_vectors(calculated, len(atoms), name="calculated moments")
    if atoms.has(_INITIAL) and atoms.arrays[_INITIAL].any():
        return moment_vectors(atoms.arrays[_INITIAL], len(atoms), name=_INITIAL)
    for name in _FOREIGN_MOMENTS:
        if atoms.has(name):
            return moment_vectors(atoms.arrays[name], len(atoms), name=name)
    return None


def _has_changed(atoms: Atoms) -> bool:
    """Return whether calculated results belong to other atoms, as far as one sees."""
    check = getattr(atoms.calc, "check_state", None)
    if check is None or atoms.calc.atoms is None:
        return True
    return bool(check(atoms))


def freeze(atoms: Atoms) -> None:
    """Keep with atoms what their calculator has said, and let go of it.

    A calculator may be shared, and asked about other atoms meanwhile.
    """
    results = {k: v for k, v in atoms.calc.results.items() if k in _RESULTS}
    atoms.calc = SinglePointCalculator(atoms, **results)


def repeated(atoms: Atoms, supercell: tuple[int, int, int]) -> Atoms:
    """Return a supercell with the moments that the cell carries, calculated ones, too.

    Raises
    ------
    ConfigError
        If a number of repetitions is not positive.
    """
    if any(number < 1 for number in supercell):
        raise ConfigError(
            f"supercell: expected three positive integers, got {supercell}"
        )
    moments = carried_moments(atoms)
    large: Atoms = atoms.repeat(supercell)
    if moments is not None:
        large.arrays.pop(_INITIAL, None)
        tiled = np.tile(moments, (int(np.prod(supercell)), 1))
        large.set_array(_CALCULATED, shortest_moments(tiled))
    return large


def read_moments(path: Path) -> Array:
    """Read moments from a text file, a row of one or three numbers for each atom.

    Parameters
    ----------
    path
        ``#`` begins a comment; commas count as blanks.

    Returns
    -------
    Array
        (n,) or (n, 3), μB.

    Raises
    ------
    DataError
        If a row holds anything else, or the rows differ.
    """
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
    if not rows:
        raise DataError(f"{path}: expected a row of moments for each atom, got none")
    array = np.array(rows)
    return array[:, 0] if array.shape[1] == 1 else array
