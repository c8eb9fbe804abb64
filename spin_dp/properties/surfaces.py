# SPDX-License-Identifier: LGPL-3.0-or-later
"""Surface energies in a spin state: slabs of pymatgen that keep the labels.

gamma = (E_slab - n E_bulk) / 2 A, both faces of a stoichiometric slab. The bulk and the
positions of the slab relax. Slabs are cut from the conventional cell as a multiple of
the labelled one: matcalc standardises the cell instead, and moments are lost there.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from ase.build import make_supercell
from ase.units import J, m

from spin_dp.errors import ConfigError, OutsideTrainingData
from spin_dp.properties.crystal import conventional_cell, conventional_matrix
from spin_dp.properties.members import over_members
from spin_dp.properties.relaxation import AtRest, relaxed, relaxed_atoms
from spin_dp.properties.result import Result, value
from spin_dp.properties.settings import option
from spin_dp.properties.single_points import single_points
from spin_dp.spin_states.ions import charge_of_known_ions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from matplotlib.axes import Axes

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

_FAR = 50.0  # Å, of an ion that has no neighbours


@dataclass(frozen=True, kw_only=True)
class SurfaceSettings(AtRest):
    """Which slabs are cut, and how they relax.

    Attributes
    ----------
    miller, thickness, vacuum, polar, relax, max_force, max_steps, optimizer, symmetry
        See :func:`spin_dp.properties.settings.described`.
    """

    miller: tuple[int, int, int] = option((1, 0, 4), "indices in the conventional cell")
    thickness: float = option(12.0, "least thickness of the slab, Å")
    vacuum: float = option(12.0, "between slabs, Å")
    polar: bool = option(False, "also terminations whose charges make a dipole")
    relax: bool = option(True, "let the positions of the slab relax")
    max_force: float = option(0.02, "largest force at the end of relaxations, eV/Å")
    symmetry: float = option(0.02, "distance for finding the conventional cell, Å")

    def __post_init__(self) -> None:
        if not any(self.miller) or not (self.thickness > 0 and self.vacuum > 0):
            raise ConfigError(
                "surface: expected indices that are not all zero, and a positive "
                f"thickness and vacuum, got {self.miller}, {self.thickness} and "
                f"{self.vacuum}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface(Result):
    """Energy of a surface, of its lowest termination.

    Attributes
    ----------
    miller
        Indices in the conventional cell.
    cell
        Space group and lattice constants of that cell.
    terminations
        ``shift`` (place of the cut), ``polar``, ``atoms``, ``area`` (Å²),
        ``unrelaxed`` and ``energy`` (J/m²) of each.
    structure
        The slab of the lowest one, with labels.
    bulk
        The relaxed bulk, with labels.
    """

    name: ClassVar[str] = "surface"

    energy: float = value("J/m²", "surface energy")
    unrelaxed: float = value("J/m²", "surface energy, unrelaxed")
    area: float = value("Å²", "area of the slab", digits=2)
    atoms: float = value("", "atoms of the slab", digits=0)
    miller: tuple[int, int, int]
    cell: str
    terminations: pd.DataFrame
    structure: Atoms
    bulk: Atoms

    def at_same_geometries(
        self, other: Subject, progress: Progress | None = None
    ) -> Surface:
        """Return energies of another one of the lowest slab and the bulk."""
        lowest = self.terminations.nsmallest(1, "energy").reset_index(drop=True)

        def one(member: Subject, tell: Progress) -> Surface:
            both = [self.bulk, self.structure]
            bulk, slab = single_points(member, both, tell, "energies of bulk and slab")
            energy = _surface_energy(slab.atoms, bulk.energy / len(self.bulk))
            return replace(
                self,
                **bulk.subject.identity,
                becomes=slab.becomes or bulk.becomes,
                spread=None,
                energy=energy,
                unrelaxed=float("nan"),
                terminations=lowest.assign(energy=energy, unrelaxed=np.nan),
                geometries=self.model,
            )

        return over_members(other, one, progress)

    def remarks(self) -> list[str]:
        """Return which plane it is."""
        h, k, l = self.miller  # noqa: E741 - as they are called
        return [f"({h} {k} {l}) of the conventional cell, {self.cell}"]

    def draw(self, axes: Axes) -> None:
        """Draw the energies of the terminations."""
        rows = self.terminations
        places = np.arange(len(rows))
        axes.bar(places - 0.2, rows["unrelaxed"], 0.4, label="unrelaxed")
        axes.bar(places + 0.2, rows["energy"], 0.4, label="relaxed")
        axes.set_xticks(places, [f"{shift:.3f}" for shift in rows["shift"]])
        axes.set_xlabel("termination, by the place of the cut")
        axes.set_ylabel("surface energy, J/m²")
        axes.set_title(self.label, fontsize=9)
        axes.legend(fontsize=8)


def surface(
    subject: Subject,
    settings: SurfaceSettings | None = None,
    progress: Progress | None = None,
) -> Surface:
    """Calculate the energy of a surface in a spin state.

    Parameters
    ----------
    subject, settings, progress
        As for :func:`spin_dp.properties.relax`.

    Returns
    -------
    Surface
        Of the first model.

    Warns
    -----
    OutsideTrainingData
        Of models: few have seen a surface.

    Raises
    ------
    ConfigError
        If matcalc is not installed, the bulk does not relax, or all terminations are
        polar.
    DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    chosen = settings or SurfaceSettings()
    if subject.label_mode != "free":
        warnings.warn(
            f"surface: {subject.model} knows surfaces only if it was trained on some "
            "(lixmo2 has seen bulk crystals only); compare with DFT (--against gpaw).",
            OutsideTrainingData,
            stacklevel=2,
        )

    def one(member: Subject, tell: Progress) -> Surface:
        tell("relaxing the bulk", 0, 1)
        bulk = relaxed(member, chosen.relaxation)
        per_atom = bulk.calculated().get_potential_energy() / len(bulk.atoms)
        slabs = cut(bulk, chosen)
        rows, frames = [], []
        for number, (slab, shift, polar) in enumerate(slabs):
            tell("relaxing slabs", number, len(slabs))
            row, atoms = _row(bulk.carrying(slab), per_atom, chosen)
            rows.append({"shift": shift, "polar": polar, **row})
            frames.append(atoms)
        tell("relaxing slabs", len(slabs), len(slabs))
        table = pd.DataFrame(rows)
        best = int(table["energy"].argmin())
        cell, group = conventional_cell(bulk.atoms, chosen.symmetry)
        lengths = ", ".join(f"{x:.3f}" for x in cell[:3])
        return Surface(
            **member.identity,
            energy=float(table["energy"][best]),
            unrelaxed=float(table["unrelaxed"][best]),
            area=float(table["area"][best]),
            atoms=float(table["atoms"][best]),
            miller=chosen.miller,
            cell=f"{group}, {lengths} Å",
            terminations=table,
            structure=frames[best],
            bulk=bulk.atoms,
        )

    return over_members(subject, one, progress)


def cut(bulk: Subject, settings: SurfaceSettings) -> list[tuple[Atoms, float, bool]]:
    """Return the slabs of a plane, each with the place of its cut and whether polar.

    Parameters
    ----------
    bulk
        Relaxed.
    settings
        Plane, thickness, vacuum.

    Returns
    -------
    list of tuple
        Atoms with the initial moments of their parents in the bulk.

    Raises
    ------
    ConfigError
        If all terminations are polar, and polar ones are not asked for.
    """
    from pymatgen.core.surface import SlabGenerator
    from pymatgen.io.ase import AseAtomsAdaptor

    matrix = conventional_matrix(bulk.atoms, settings.symmetry)
    cell = bulk.carrying(make_supercell(bulk.atoms, matrix))
    crystal = AseAtomsAdaptor.get_structure(cell.atoms)
    crystal.remove_site_property("spin_states")
    crystal.add_site_property("parent", list(range(len(crystal))))
    charges = _charges(cell)
    # Reduced to a smaller cell, moments that alternate would be taken for equal.
    generator = SlabGenerator(
        crystal,
        settings.miller,
        settings.thickness,
        settings.vacuum,
        primitive=False,
        center_slab=True,
    )
    moments = cell.atoms.get_initial_magnetic_moments()
    found = []
    for slab in generator.get_slabs(symmetrize=False):
        parents = np.array(slab.site_properties["parent"], dtype=np.int64)
        slab.add_oxidation_state_by_site(charges[parents].tolist())
        polar = bool(slab.is_polar())
        atoms = AseAtomsAdaptor.get_atoms(slab, msonable=False)
        atoms.set_initial_magnetic_moments(moments[parents])
        found.append((atoms, float(slab.shift), polar))
    kept = [one for one in found if settings.polar or not one[2]]
    if not kept:
        raise ConfigError(
            f"surface {settings.miller} of {bulk.formula}: each of its {len(found)} "
            "terminations has a dipole; ask for them (polar=yes), or for another plane."
        )
    return kept


def _row(
    slab: Subject, per_atom: float, settings: SurfaceSettings
) -> tuple[dict[str, float], Atoms]:
    """Return energies of a slab, and the slab as it is in the end."""
    row = {
        "atoms": len(slab.atoms),
        "area": _area(slab.atoms),
        "unrelaxed": _surface_energy(slab.calculated(), per_atom),
    }
    if not settings.relax:
        return {**row, "energy": row["unrelaxed"]}, slab.atoms
    how = replace(settings.relaxation, what="atoms", max_force=settings.max_force)
    after, converged, left = relaxed_atoms(slab, how)
    if not converged:
        raise ConfigError(
            f"surface {settings.miller} of {slab.formula}: the slab is not relaxed in "
            f"{settings.max_steps} steps ({left:.3f} eV/Å is left); allow more "
            "(max_steps), or a larger force (max_force)."
        )
    return {**row, "energy": _surface_energy(after, per_atom)}, slab.labelled(after)


def _area(slab: Atoms) -> float:
    return float(np.linalg.norm(np.cross(*slab.cell.array[:2])))


def _surface_energy(slab: Atoms, per_atom: float) -> float:
    """Return the energy of both faces of a slab, J/m², bulk in eV an atom."""
    excess = float(slab.get_potential_energy()) - len(slab) * per_atom
    return float(excess / (2.0 * _area(slab)) / (J / m**2))


def _charges(cell: Subject) -> Any:  # noqa: ANN401 - ndarray
    """Return the charge of each ion, e: of its state, or of its element alone."""
    return np.array(
        [
            _charge_of(symbol) if state is None else state.charge or 0
            for symbol, state in zip(
                cell.atoms.get_chemical_symbols(), cell.site_states, strict=True
            )
        ]
    )


def _charge_of(symbol: str, box: Sequence[float] = (_FAR, _FAR, _FAR)) -> float:
    charge = charge_of_known_ions([symbol], np.diag(box), np.zeros((1, 3)))
    return charge if np.isfinite(charge) else 0.0
