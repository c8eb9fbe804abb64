# SPDX-License-Identifier: LGPL-3.0-or-later
"""Phonons in a spin state: bands, density of states, thermal properties.

Harmonic; without the splitting of longitudinal and transverse optical modes at Γ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from spin_dp.properties.force_constants import (
    MEV_OF_KJ,
    PhononSettings,
    band_structure,
    gamma_frequencies,
    phonopy_of,
    thermal_properties,
)
from spin_dp.properties.host import quiet
from spin_dp.properties.members import over_members
from spin_dp.properties.relaxation import relaxed
from spin_dp.properties.result import Result, value
from spin_dp.search.ranking import formula_units

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.axes import Axes

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

_ROOM = 300.0
_CM_OF_THZ = 33.35641


@dataclass(frozen=True, kw_only=True, eq=False)
class Phonons(Result):
    """Frequencies, density of states and thermal properties in the harmonic crystal.

    Frequencies of imaginary modes are negative. Thermal properties leave these out.

    Attributes
    ----------
    stable
        Whether no mode is imaginary beyond the limit.
    supercell_atoms
        Atoms of the supercell.
    displacements
        Number of displaced supercells.
    gamma
        ``frequency`` (THz) and ``wavenumber`` (1/cm) of the modes at Γ.
    bands
        ``distance`` along the path (1/Å), ``segment``, fractional ``q1``, ``q2``,
        ``q3``, and a column for each branch, ``1`` ..., THz.
    corners
        ``distance`` and ``point`` of the special points of the path.
    dos
        ``frequency`` (THz) and ``dos`` (states per THz and cell).
    thermal
        ``temperature`` (K), ``free_energy`` (meV/f.u.), ``entropy`` and
        ``heat_capacity`` at constant volume (J/K per mole of formula units).
    structure
        Relaxed cell, with labels.
    """

    name: ClassVar[str] = "phonons"

    lowest_frequency: float = value("THz", "lowest frequency", digits=3)
    highest_frequency: float = value("THz", "highest frequency", digits=3)
    imaginary_share: float = value("%", "modes that are imaginary", digits=2)
    acoustic_error: float = value(
        "THz", "largest acoustic |ν| at Γ, as found", digits=4
    )
    zero_point_energy: float = value("meV/f.u.", "zero-point energy", digits=1)
    free_energy: float = value("meV/f.u.", "free energy, 300 K", digits=1)
    entropy: float = value("J/K/mol", "entropy, 300 K", digits=2)
    heat_capacity: float = value("J/K/mol", "heat capacity Cv, 300 K", digits=2)
    stable: bool
    supercell_atoms: int
    displacements: int
    gamma: pd.DataFrame
    bands: pd.DataFrame
    corners: pd.DataFrame
    dos: pd.DataFrame
    thermal: pd.DataFrame
    structure: Atoms

    def remarks(self) -> list[str]:
        """Return whether modes are imaginary."""
        if self.stable:
            return []
        return [
            f"{self.imaginary_share:.2f} % of the modes are imaginary, down to "
            f"{self.lowest_frequency:.2f} THz: not a minimum, and thermal properties "
            "leave them out (relax with rattle=0.05, in a larger cell)"
        ]

    def draw(self, axes: Axes) -> None:
        """Draw the bands, and the density of states beside them."""
        branches = [name for name in self.bands if str(name).isdecimal()]
        for _, part in self.bands.groupby("segment"):
            axes.plot(part["distance"], part[branches], color="#0072B2", linewidth=0.9)
        last = float(self.bands["distance"].max())
        width = 0.25 * last
        scale = width / max(float(self.dos["dos"].max()), 1e-12)
        axes.fill_betweenx(
            self.dos["frequency"],
            1.03 * last,
            1.03 * last + scale * self.dos["dos"],
            color="#0072B2",
            alpha=0.35,
            linewidth=0.0,
        )
        for place in self.corners["distance"]:
            axes.axvline(place, color="#cccccc", linewidth=0.6, zorder=0)
        axes.axhline(0.0, color="#888888", linewidth=0.8)
        merged = self.corners.groupby("distance", sort=True)["point"].agg("|".join)
        axes.set_xticks(
            [*merged.index, 1.03 * last + 0.5 * width], [*merged.tolist(), "DOS"]
        )
        axes.tick_params(axis="x", labelsize=8)
        axes.set_xlim(0.0, 1.03 * last + width)
        lowest, highest = min(self.lowest_frequency, 0.0), self.highest_frequency
        axes.set_ylim(1.1 * lowest - 0.01 * highest, 1.03 * highest)
        axes.set_ylabel("frequency, THz")
        axes.set_title(self.label, fontsize=9)


def phonons(
    subject: Subject,
    settings: PhononSettings | None = None,
    progress: Progress | None = None,
) -> Phonons:
    """Calculate phonons of a structure in its spin state.

    Parameters
    ----------
    subject, settings, progress
        As for :func:`spin_dp.properties.relax`.

    Returns
    -------
    Phonons
        Of the first model.

    Raises
    ------
    ConfigError
        If matcalc or phonopy are not installed, or the structure does not relax.
    DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    chosen = settings or PhononSettings()

    def one(member: Subject, tell: Progress) -> Phonons:
        tell("relaxing", 0, 1)
        start = member
        if chosen.relax != "no":
            start = relaxed(member, chosen.relaxation)
        phonon = phonopy_of(start, chosen, tell)
        atoms = start.calculated()
        atoms.get_potential_energy()
        whose = {**member.identity, "becomes": start.becomes(atoms)}
        return _described(phonon, start, chosen, whose)

    return over_members(subject, one, progress)


def _described(
    phonon: Any,  # noqa: ANN401 - phonopy has no types
    subject: Subject,
    settings: PhononSettings,
    whose: dict[str, Any],
) -> Phonons:
    atoms = subject.atoms
    units = formula_units(atoms)
    with quiet():
        as_found = gamma_frequencies(phonon)
        phonon.symmetrize_force_constants()
        thermal = thermal_properties(phonon, units, settings)
        mesh = phonon.mesh
        phonon.run_total_dos()
        dos = phonon.total_dos
        gamma = gamma_frequencies(phonon)
        bands, corners = band_structure(phonon, atoms)
    shares = np.repeat(mesh.weights, mesh.frequencies.shape[1])
    branches = [name for name in bands if str(name).isdecimal()]
    along = bands[branches].to_numpy().ravel()
    seen = np.concatenate([mesh.frequencies.ravel(), along])
    room: dict[str, Any] = {
        name: float(np.interp(_ROOM, thermal["temperature"], thermal[name]))
        for name in ("free_energy", "entropy", "heat_capacity")
    }
    is_imaginary = mesh.frequencies.ravel() < -settings.imaginary
    return Phonons(
        **whose,
        lowest_frequency=float(seen.min()),
        highest_frequency=float(seen.max()),
        imaginary_share=100.0 * float(shares[is_imaginary].sum() / shares.sum()),
        acoustic_error=float(np.sort(np.abs(as_found))[:3].max()),
        zero_point_energy=MEV_OF_KJ
        * float(phonon.thermal_properties.zero_point_energy)
        / units,
        **room,
        stable=bool(seen.min() >= -settings.imaginary),
        supercell_atoms=len(phonon.supercell),
        displacements=len(phonon.supercells_with_displacements),
        gamma=pd.DataFrame({"frequency": gamma, "wavenumber": _CM_OF_THZ * gamma}),
        bands=bands,
        corners=corners,
        dos=pd.DataFrame({"frequency": dos.frequency_points, "dos": dos.dos}),
        thermal=thermal,
        structure=subject.labelled(atoms),
    )
