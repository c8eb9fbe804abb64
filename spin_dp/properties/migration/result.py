# SPDX-License-Identifier: LGPL-3.0-or-later
"""The barrier of a hop: energies along the path, surroundings, labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from spin_dp.drawing import COLOURS, GREY, plain
from spin_dp.files import replacing
from spin_dp.properties.result import Result, value
from spin_dp.structures import moment_vectors

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

STATE_ENERGY = "energy of "
"""Column of the energies of a state along the path, by its number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Barrier(Result):
    """A hop of an ion.

    Attributes
    ----------
    electron
        ``staying``, ``following`` or ``lowest``.
    way
        What the ion passes.
    ion
        The atom that hops.
    top
        Number of the highest image.
    converged
        Whether the band did, and both ends.
    unstable_modes
        Of the ion and the anions around it at the top: one at a saddle point; 0 where
        the path has no top between its ends.
    climbed
        Whether the highest image has gone to the saddle point; else the barrier is
        that of the highest image, and a lower bound.
    max_force
        What is left on the band, eV/Å.
    states
        Keys of the spin states that images may be in.
    final_spin_state
        Key of the state at the end.
    crossing
        Where the state changes: way from the start over the length of the path; nan
        where it does not.
    crossing_energy
        There, above the initial structure, eV.
    path
        A row for each image: ``coordinate`` (Å along the path, all atoms), ``energy``
        (eV above the initial structure), ``slope`` (of it, eV/Å), ``state`` (number in
        ``states``), ``is_crossing`` (whether it is where two states are equal),
        ``nearest_anion`` (Å), ``coordination``, ``polyhedron`` (Å³), ``nearest_metal``
        (Å), and ``energy of N`` of each state.
    images
        Labelled structures with energies, forces and moments.
    """

    name: ClassVar[str] = "barrier"
    overlay: ClassVar[bool] = True

    barrier: float = value("eV", "barrier")
    back: float = value("eV", "barrier back")
    reaction_energy: float = value("eV", "energy of the end over the start")
    nearest_anion: float = value("Å", "shortest Li-O distance on the path")
    initial_coordination: float = value("", "anions around the ion, start", digits=0)
    top_coordination: float = value("", "anions around the ion, top", digits=0)
    initial_polyhedron: float = value("Å³", "their polyhedron, start", digits=2)
    top_polyhedron: float = value("Å³", "their polyhedron, top", digits=2)
    nearest_metal: float = value("Å", "metal nearest to the ion at the top")
    distance: float = value("Å", "length of the hop")
    crossing: float
    crossing_energy: float
    electron: str
    way: str
    ion: int
    top: int
    unstable_modes: int
    climbed: bool
    converged: bool
    max_force: float
    states: tuple[str, ...]
    final_spin_state: str
    path: pd.DataFrame
    images: tuple[Atoms, ...]

    def draw(self, axes: Axes) -> None:
        """Draw energies along the path, and those of the states beside each other."""
        rows = self.path
        x = rows["coordinate"].to_numpy()
        colour = COLOURS[len(axes.get_lines()) % len(COLOURS)]
        for number in range(len(self.states) if len(self.states) > 1 else 0):
            axes.plot(
                x, rows[f"{STATE_ENERGY}{number}"], "--", color=GREY, linewidth=0.8
            )
        fine, curve = smooth_curve(
            x,
            rows["energy"].to_numpy(),
            rows["slope"].to_numpy(),
            rows["is_crossing"].to_numpy(dtype=bool),
        )
        axes.plot(fine, curve, color=colour, label=f"{self.label}, {self.electron}")
        axes.plot(x, rows["energy"], "o", color=colour)
        axes.set_xlabel("path, Å")
        axes.set_ylabel("energy, eV")
        axes.legend(fontsize=8)
        plain(axes)

    def frames(self) -> list[Atoms]:
        """Return the images."""
        return list(self.images)

    def remarks(self) -> list[str]:
        """Return whether the path ends on a saddle point, and where states change."""
        said = []
        if not self.converged:
            said.append(
                f"{self.label}: not converged, {self.max_force:.3f} eV/Å are left; "
                "allow more steps (max_steps)"
            )
        if not self.climbed:
            said.append(
                f"{self.label}: the highest image could not climb to a saddle point; "
                "the barrier is a lower bound (try more images)"
            )
        if self.top in (0, len(self.images) - 1):
            said.append(f"{self.label}: an end is the highest point of the path")
        elif self.unstable_modes > 1:
            said.append(
                f"{self.label}: the top has {self.unstable_modes} unstable modes, so "
                "that there is a lower way beside it"
            )
        if np.isfinite(self.crossing):
            said.append(
                f"{self.label}: the state changes at {self.crossing:.0%} of the path, "
                f"{self.crossing_energy:.3f} eV high"
            )
        elif self.electron == "following" and len(self.states) == 1:
            said.append(f"{self.label}: the hole is best where it is at both ends")
        return said

    def write_path(self, file: pathlib.Path) -> None:
        """Write the images as extxyz, with labels, energies, forces and moments."""
        from ase.io.extxyz import write_extxyz

        with replacing(file) as part, part.open("w", encoding="utf-8") as out:
            write_extxyz(out, list(self.images))

    def single_points(
        self, make: Callable[[], Calculator], images: Sequence[int] | None = None
    ) -> pd.DataFrame:
        """Return energies of another calculator at the same images.

        Parameters
        ----------
        make
            Returns a new calculator, such as GPAW's; it starts from the moments of each
            image.
        images
            Which ones; None: start, top and end.

        Returns
        -------
        pandas.DataFrame
            ``image``, ``coordinate`` (Å), ``energy`` (eV above the first of them, of
            this path) and ``other`` (of the calculator), ``difference``, ``moments``
            (whether its moments are still nearest to those of the image).
        """
        chosen = images or sorted({0, self.top, len(self.images) - 1})
        rows = []
        for number in chosen:
            given = self.images[number]
            atoms = given.copy()
            moments = given.calc.results.get("magmoms") if given.calc else None
            if moments is not None:
                atoms.set_initial_magnetic_moments(moments)
            atoms.calc = make()
            other = float(atoms.get_potential_energy(force_consistent=True))
            found = atoms.calc.results.get("magmoms")
            rows.append(
                {
                    "image": number,
                    "coordinate": self.path["coordinate"].iloc[number],
                    "energy": self.path["energy"].iloc[number],
                    "other": other,
                    "moments": _are_kept(moments, found),
                }
            )
        table = pd.DataFrame(rows)
        for name in ("energy", "other"):
            table[name] -= table[name].iloc[0]
        table.insert(4, "difference", table["energy"] - table["other"])
        return table


def smooth_curve(
    x: Floats, y: Floats, slopes: Floats, kinks: NDArray[np.bool_], number: int = 20
) -> tuple[Floats, Floats]:
    """Return a curve through points with their slopes.

    Parameters
    ----------
    x, y, slopes
        Points, and derivatives there, (k,).
    kinks
        Points whose derivative is another one on each side, and does not count.
    number
        Of points of the curve between two of them.

    Returns
    -------
    tuple
        Places and values; cubic between points, quadratic beside a kink.
    """
    t = np.linspace(0.0, 1.0, number, endpoint=False)
    fine, curve = [], []
    for k in range(len(x) - 1):
        h, rise = x[k + 1] - x[k], y[k + 1] - y[k]
        first, last = h * slopes[k], h * slopes[k + 1]
        # Without a slope at one end the curvature is the same all along.
        first = 2.0 * rise - last if kinks[k] and not kinks[k + 1] else first
        last = 2.0 * rise - first if kinks[k + 1] and not kinks[k] else last
        if kinks[k] and kinks[k + 1]:
            first = last = rise
        part = first * t + (3.0 * rise - 2.0 * first - last) * t**2
        fine.append(x[k] + h * t)
        curve.append(y[k] + part + (first + last - 2.0 * rise) * t**3)
    return np.append(np.concatenate(fine), x[-1]), np.append(
        np.concatenate(curve), y[-1]
    )


def _are_kept(before: ArrayLike | None, after: ArrayLike | None) -> bool:
    """Return whether moments are within 0.5 μB of those of before, or all turned."""
    if before is None or after is None:
        return False
    old, new = (moment_vectors(one, len(np.asarray(one))) for one in (before, after))
    return bool(min(np.abs(new - old).max(), np.abs(new + old).max()) < 0.5)
