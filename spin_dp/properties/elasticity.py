# SPDX-License-Identifier: LGPL-3.0-or-later
"""Elastic constants in a spin state: stresses of strained cells, by matcalc.

Ions relax in each strained cell. Averages are those of Voigt, Reuss and Hill (R. Hill,
Proc. Phys. Soc. A 65, 349 (1952)); a crystal is stable where all eigenvalues of the
tensor are positive (F. Mouhat and F.-X. Coudert, Phys. Rev. B 90, 224104 (2014)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase import Atoms

from spin_dp.errors import ConfigError
from spin_dp.properties.host import package, quiet
from spin_dp.properties.members import over_members
from spin_dp.properties.relaxation import RelaxationSettings, relaxed
from spin_dp.properties.result import Result, value
from spin_dp.properties.settings import option

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

    Floats = NDArray[np.float64]

_SHOWN, _TENS = (11, 22, 33, 44, 55, 66, 12, 13, 23), (10,) * 9
_ROTATION = 1e-2  # how far from one pymatgen's matrix may be


@dataclass(frozen=True, kw_only=True)
class ElasticitySettings:
    """Strains, and how far strained cells are relaxed.

    Attributes
    ----------
    strains, shears, relax_ions, max_force, max_steps, optimizer
        See :func:`spin_dp.properties.settings.described`.
    """

    strains: tuple[float, ...] = option(
        (-0.01, -0.005, 0.005, 0.01), "of lengths, along each axis"
    )
    shears: tuple[float, ...] = option(
        (-0.02, -0.01, 0.01, 0.02), "engineering shears, in each plane"
    )
    relax_ions: bool = option(True, "let positions relax in strained cells")
    max_force: float = option(0.002, "largest force at the end of relaxations, eV/Å")
    max_steps: int = option(500, "of a relaxation, at most")
    optimizer: str = option("BFGS", "of ASE, by name")

    def __post_init__(self) -> None:
        for name, strains in (("strains", self.strains), ("shears", self.shears)):
            if len(strains) < 2 or 0.0 in strains or max(map(abs, strains)) > 0.2:
                raise ConfigError(
                    f"elasticity: {name}: expected two or more numbers that are not "
                    f"zero, of at most 0.2, got {strains}."
                )

    @property
    def relaxation(self) -> RelaxationSettings:
        """Those of relaxations."""
        return RelaxationSettings(
            max_force=self.max_force,
            max_steps=self.max_steps,
            optimizer=self.optimizer,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Elasticity(Result):
    """Elastic constants along the standard axes of the crystal (IEEE 176-1987).

    Attributes
    ----------
    tensor
        Symmetrised, Voigt's order, (6, 6), GPa, in the standard axes.
    rotation
        From the axes of the given cell to these, (3, 3).
    stable
        Whether all eigenvalues of the tensor are positive.
    """

    name: ClassVar[str] = "elasticity"

    bulk_modulus: float = value("GPa", "bulk modulus K (Hill)", digits=1)
    shear_modulus: float = value("GPa", "shear modulus G (Hill)", digits=1)
    young_modulus: float = value("GPa", "Young's modulus (Hill)", digits=1)
    poisson_ratio: float = value("", "Poisson's ratio", digits=3)
    reuss_bulk_modulus: float = value("GPa", "bulk modulus (Reuss)", digits=1)
    c11: float = value("GPa", "C11", digits=1)
    c22: float = value("GPa", "C22", digits=1)
    c33: float = value("GPa", "C33", digits=1)
    c44: float = value("GPa", "C44", digits=1)
    c55: float = value("GPa", "C55", digits=1)
    c66: float = value("GPa", "C66", digits=1)
    c12: float = value("GPa", "C12", digits=1)
    c13: float = value("GPa", "C13", digits=1)
    c23: float = value("GPa", "C23", digits=1)
    lowest_eigenvalue: float = value("GPa", "lowest eigenvalue", digits=1)
    asymmetry: float = value("GPa", "largest |Cij - Cji| as fitted", digits=2)
    tensor: Floats
    rotation: Floats
    stable: bool

    def remarks(self) -> list[str]:
        """Return whether the crystal is unstable."""
        if self.stable:
            return []
        return ["mechanically unstable: an eigenvalue of the tensor is below zero"]

    def draw(self, axes: Axes) -> None:
        """Draw the tensor as a table of colours."""
        largest = float(np.abs(self.tensor).max())
        axes.imshow(self.tensor, cmap="RdBu_r", vmin=-largest, vmax=largest)
        for (i, j), number in np.ndenumerate(self.tensor):
            colour = "white" if abs(number) > 0.6 * largest else "black"
            text = f"{number:.0f}"
            axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=8)
        names = [str(k) for k in range(1, 7)]
        axes.set_xticks(range(6), names)
        axes.set_yticks(range(6), names)
        axes.set_title(f"{self.label}: Cij, GPa", fontsize=9)


def elasticity(
    subject: Subject,
    settings: ElasticitySettings | None = None,
    progress: Progress | None = None,
) -> Elasticity:
    """Fit elastic constants to the stresses of strained cells.

    Parameters
    ----------
    subject, settings, progress
        As for :func:`spin_dp.properties.relax`.

    Returns
    -------
    Elasticity
        Of the first model.

    Raises
    ------
    ConfigError
        If matcalc is not installed, or the structure does not relax.
    DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    chosen = settings or ElasticitySettings()
    matcalc = package("matcalc")

    def one(member: Subject, tell: Progress) -> Elasticity:
        tell("relaxing", 0, 2)
        start = relaxed(member, chosen.relaxation)
        tell("stresses of strained cells", 1, 2)
        calculation = matcalc.ElasticityCalc(
            start.calculator(),
            norm_strains=chosen.strains,
            shear_strains=chosen.shears,
            fmax=chosen.max_force,
            relax_structure=False,
            relax_deformed_structures=chosen.relax_ions,
            units_GPa=True,
            r2_min=-np.inf,
            relax_calc_kwargs={
                "optimizer": chosen.optimizer,
                "max_steps": chosen.max_steps,
            },
        )
        with quiet():
            found = calculation.calc(start.atoms)["elastic_tensor"]
        atoms = start.calculated()
        atoms.get_potential_energy()
        tell("stresses of strained cells", 2, 2)
        whose = {**member.identity, "becomes": start.becomes(atoms)}
        return _constants(np.array(found.voigt), atoms, whose)

    return over_members(subject, one, progress)


def _constants(fitted: Floats, atoms: Atoms, whose: dict[str, Any]) -> Elasticity:
    """Return the result of a tensor, (6, 6), GPa, in the axes of the cell."""
    from pymatgen.core.elasticity import ElasticTensor
    from pymatgen.io.ase import AseAtomsAdaptor

    # The axes are those of the lattice: moments would hide it in a magnetic cell.
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    crystal = AseAtomsAdaptor.get_structure(bare)
    rotation = np.asarray(ElasticTensor.get_ieee_rotation(crystal))
    symmetric = ElasticTensor.from_voigt(0.5 * (fitted + fitted.T)).rotate(
        rotation, tol=_ROTATION
    )
    tensor = np.array(symmetric.voigt)
    constants: dict[str, Any] = {
        f"c{i}{j}": float(tensor[i - 1, j - 1]) for i, j in map(divmod, _SHOWN, _TENS)
    }
    bulk, shear = float(symmetric.k_vrh), float(symmetric.g_vrh)
    lowest = float(np.linalg.eigvalsh(_mandel(tensor)).min())
    return Elasticity(
        **whose,
        bulk_modulus=bulk,
        shear_modulus=shear,
        young_modulus=9.0 * bulk * shear / (3.0 * bulk + shear),
        poisson_ratio=(3.0 * bulk - 2.0 * shear) / (2.0 * (3.0 * bulk + shear)),
        reuss_bulk_modulus=float(symmetric.k_reuss),
        **constants,
        lowest_eigenvalue=lowest,
        asymmetry=float(np.abs(fitted - fitted.T).max()),
        tensor=tensor,
        rotation=rotation,
        stable=lowest > 0.0,
    )


def _mandel(tensor: Floats) -> Floats:
    """Return a tensor in the notation whose eigenvalues no rotation changes."""
    weights = np.sqrt([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    return np.asarray(tensor * np.outer(weights, weights))
