# SPDX-License-Identifier: LGPL-3.0-or-later
"""Force constants of a labelled crystal, and what phonopy makes of them.

Finite displacements to both sides in a supercell that carries the labels; phonopy uses
the symmetry of positions and moments (A. Togo et al., J. Phys.: Condens. Matter 35,
353001 (2023)). Phonopy is asked itself: matcalc's PhononCalc displaces to one side and
keeps the forces that relaxing left, which costs some tenths of a THz at Γ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.spacegroup.symmetrize import refine_symmetry

from spin_dp.errors import ConfigError, DataError
from spin_dp.properties.crystal import conventional_matrix
from spin_dp.properties.host import package, quiet
from spin_dp.properties.relaxation import AtRest, RelaxationSettings
from spin_dp.properties.settings import option
from spin_dp.search.symmetry import SYMMETRY_ERRORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

MEV_OF_KJ = 1.0e6 / 96485.33212
"""meV of one kJ/mol."""

_SYMMETRY = 1e-5  # Å
_FAR_THZ = 0.5
_BAND_POINTS = 60  # of each segment


@dataclass(frozen=True, kw_only=True)
class PhononSettings(AtRest):
    """Supercell, displacements, temperatures.

    Attributes
    ----------
    min_length, supercell, displacement, temperatures, mesh, imaginary, symmetry
        See :func:`spin_dp.properties.settings.described`.
    max_force, relax, max_steps, optimizer
        The same.
    """

    min_length: float = option(10.0, "least length of the supercell's vectors, Å")
    supercell: tuple[int, int, int] | None = option(
        None, "repetitions, in the place of min_length"
    )
    displacement: float = option(0.015, "of atoms, Å")
    temperatures: tuple[float, float, float] = option(
        (0.0, 1000.0, 10.0), "first, last and step of thermal properties, K"
    )
    mesh: float = option(50.0, "fineness of the mesh of q-points, Å")
    imaginary: float = option(
        0.15, "frequencies below minus this count as imaginary, THz"
    )
    symmetry: float = option(1e-3, "distance for finding equal displacements, Å")
    max_force: float = option(0.0005, "largest force after relaxing, eV/Å")
    relax: str = option("cell", "before: cell, atoms or no")

    def __post_init__(self) -> None:
        if not (self.min_length > 0 and self.displacement > 0 and self.imaginary >= 0):
            raise ConfigError(
                "phonons: expected positive min_length and displacement, and imaginary "
                f"not negative, got {self.min_length}, {self.displacement} and "
                f"{self.imaginary}."
            )
        first, last, step = self.temperatures
        if not (0.0 <= first < last and step > 0.0):
            raise ConfigError(
                "phonons: temperatures: expected first, last and step, rising, got "
                f"{self.temperatures}."
            )

    @property
    def relaxation(self) -> RelaxationSettings:
        """Those of the relaxation before."""
        return replace(super().relaxation, what=self.relax)

    def repetitions(self, atoms: Atoms) -> Ints:
        """Return the vectors of the supercell in those of the cell, (3, 3).

        They repeat the conventional cell, which keeps the symmetry of the crystal, as
        long as that holds the magnetic cell a whole number of times.
        """
        if self.supercell is not None:
            return np.diag(self.supercell)
        matrix = conventional_matrix(atoms, self.symmetry)
        lengths = np.linalg.norm(matrix @ atoms.cell.array, axis=1)
        numbers = np.ceil(self.min_length / lengths).astype(np.int64)
        return np.asarray(numbers[:, None] * matrix)


def phonopy_of(
    subject: Subject, settings: PhononSettings, progress: Progress | None = None
) -> Any:  # noqa: ANN401 - phonopy has no types
    """Return ``phonopy.Phonopy`` with the force constants of a subject at rest.

    Parameters
    ----------
    subject
        It is not relaxed here.
    settings
        Of the calculation.
    progress
        Called as ``progress(what, done, total)``.
    """
    atoms = _at_its_symmetry(subject.atoms, settings.symmetry)
    with quiet():
        phonon = _opened(atoms, settings, with_symmetry=True)
        if phonon is not None:
            _calculate(phonon, subject, settings.displacement, progress)
            # Of operations that are none, constants are far from the sum rule.
            if np.sort(np.abs(gamma_frequencies(phonon)))[2] < _FAR_THZ:
                return phonon
        phonon = _opened(atoms, settings, with_symmetry=False)
        if phonon is None:
            raise DataError(
                f"phonons of {atoms.get_chemical_formula()}: phonopy cannot read its "
                "cell; check that its vectors have a volume and no atoms overlap."
            )
        _calculate(phonon, subject, settings.displacement, progress)
    return phonon


def _calculate(
    phonon: Any,  # noqa: ANN401
    subject: Subject,
    displacement: float,
    progress: Progress | None,
) -> None:
    """Displace, calculate forces, and find force constants."""
    phonon.generate_displacements(distance=displacement, is_plusminus=True)
    displaced = phonon.supercells_with_displacements
    forces = []
    calculator = subject.calculator()
    for number, cell in enumerate(displaced):
        atoms = subject.labelled(_ase_atoms(cell))
        atoms.calc = calculator
        forces.append(atoms.get_forces())
        if progress is not None:
            progress("forces of displaced supercells", number + 1, len(displaced))
    phonon.forces = np.array(forces)
    phonon.produce_force_constants()


def _at_its_symmetry(atoms: Atoms, tolerance: float) -> Atoms:
    """Return a structure exactly at the symmetry that it has within a distance, Å.

    What relaxing leaves is as large as that distance, and operations that spglib then
    finds need be no group.
    """
    refined: Atoms = atoms.copy()
    try:
        refine_symmetry(refined, tolerance)
    except SYMMETRY_ERRORS:
        return atoms
    return refined


def _opened(atoms: Atoms, settings: PhononSettings, *, with_symmetry: bool) -> Any:  # noqa: ANN401
    """Return phonopy of a crystal; None where it cannot tell the symmetry."""
    phonopy = package("phonopy")
    try:
        return phonopy.Phonopy(
            _phonopy_atoms(atoms),
            supercell_matrix=settings.repetitions(atoms),
            primitive_matrix="P",
            symprec=_SYMMETRY,
            is_symmetry=with_symmetry,
        )
    except (*SYMMETRY_ERRORS, TypeError, AttributeError):
        return None  # the last two of older versions, which go on with None


def _phonopy_atoms(atoms: Atoms) -> Any:  # noqa: ANN401
    from phonopy.structure.atoms import PhonopyAtoms

    moments = atoms.get_initial_magnetic_moments()
    return PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        magnetic_moments=moments if moments.any() else None,
    )


def _ase_atoms(cell: Any) -> Atoms:  # noqa: ANN401
    return Atoms(
        cell.symbols,
        scaled_positions=cell.scaled_positions,
        cell=cell.cell,
        pbc=True,
        magmoms=cell.magnetic_moments,
    )


def gamma_frequencies(phonon: Any) -> Floats:  # noqa: ANN401
    """Return the frequencies at Γ, THz, imaginary ones negative, in rising order."""
    phonon.run_qpoints([[0.0, 0.0, 0.0]])
    return np.sort(np.asarray(phonon.qpoints.frequencies)[0])


def thermal_properties(
    phonon: Any,  # noqa: ANN401 - phonopy has no types
    units: int,
    settings: PhononSettings,
) -> pd.DataFrame:
    """Return free energy, entropy and heat capacity of force constants.

    Parameters
    ----------
    phonon
        Of :func:`phonopy_of`.
    units
        Formula units of the cell.
    settings
        Temperatures and mesh.

    Returns
    -------
    pandas.DataFrame
        As :attr:`Phonons.thermal`.
    """
    first, last, step = settings.temperatures
    with quiet():
        phonon.run_mesh(settings.mesh)
        phonon.run_thermal_properties(
            t_min=first, t_max=last, t_step=step, exclude_gamma_acoustic=True
        )
    found = phonon.thermal_properties
    return pd.DataFrame(
        {
            "temperature": found.temperatures,
            "free_energy": MEV_OF_KJ * np.asarray(found.free_energy) / units,
            "entropy": np.asarray(found.entropy) / units,
            "heat_capacity": np.asarray(found.heat_capacity) / units,
        }
    )


def band_structure(phonon: Any, atoms: Atoms) -> tuple[pd.DataFrame, pd.DataFrame]:  # noqa: ANN401
    """Return frequencies along ASE's path of the cell's lattice, and its corners.

    Returns
    -------
    tuple
        As ``bands`` and ``corners`` of :class:`spin_dp.properties.Phonons`.
    """
    from ase.dft.kpoints import parse_path_string

    lattice = atoms.cell.bandpath(eps=1e-3)
    rows, corners, begun = [], [], 0.0
    reciprocal = atoms.cell.reciprocal()
    number = 0
    for points in parse_path_string(lattice.path):
        corners.append((begun, points[0]))
        for first, second in pairwise(points):
            ends = np.array([lattice.special_points[p] for p in (first, second)])
            path = np.linspace(ends[0], ends[1], _BAND_POINTS)
            length = float(np.linalg.norm((ends[1] - ends[0]) @ reciprocal))
            phonon.run_qpoints(path)
            frequencies = np.asarray(phonon.qpoints.frequencies)
            part = pd.DataFrame(path, columns=["q1", "q2", "q3"])
            part.insert(0, "distance", np.linspace(begun, begun + length, len(path)))
            part.insert(1, "segment", number)
            for branch, values in enumerate(frequencies.T, start=1):
                part[str(branch)] = values
            rows.append(part)
            begun += length
            number += 1
            corners.append((begun, second))
    table = pd.DataFrame(corners, columns=["distance", "point"])
    table["point"] = table["point"].replace({"G": "Γ"})
    return pd.concat(rows, ignore_index=True), table
