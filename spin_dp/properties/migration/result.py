# SPDX-License-Identifier: LGPL-3.0-or-later
"""The barrier of a hop: energies along the path, surroundings, labelled images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from spin_dp.drawing import COLOURS, plain
from spin_dp.files import replacing
from spin_dp.properties.members import over_members
from spin_dp.properties.result import Result, value
from spin_dp.properties.single_points import single_points

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence

    import pandas as pd
    from ase import Atoms
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

    Floats = NDArray[np.float64]

_ABOVE = 0.05  # eV; of a state that is drawn beside a path

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
        x, energy = rows["coordinate"].to_numpy(), rows["energy"].to_numpy()
        drawn = [
            line
            for line in axes.get_lines()
            if not str(line.get_label()).startswith("_")
        ]
        colour = COLOURS[len(drawn) % len(COLOURS)]
        visited = rows["state"].unique().tolist()
        has_all = f"{STATE_ENERGY}{visited[0]}" in rows
        for number in visited if len(visited) > 1 and has_all else ():
            own = rows[f"{STATE_ENERGY}{number}"].to_numpy()
            # A state that is far away would flatten the path.
            near = (own > energy) & (own < 1.3 * energy.max() + _ABOVE)
            axes.plot(x[near], own[near], "x", color=colour, markersize=5)
        fine, curve = smooth_curve(
            x,
            energy,
            rows["slope"].to_numpy(),
            rows["is_crossing"].to_numpy(dtype=bool),
        )
        name = f"{self.label}, {self.label_mode}, {self.electron}"
        axes.plot(fine, curve, color=colour, label=name)
        axes.plot(x, energy, "o", color=colour)
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

    def at_same_geometries(
        self,
        other: Subject,
        progress: Progress | None = None,
        *,
        images: Sequence[int] = (),
    ) -> Barrier:
        """Return energies of another one at images of this path.

        Parameters
        ----------
        other, progress
            As for :meth:`spin_dp.properties.Result.at_same_geometries`.
        images
            Which ones, besides the start, the top and the end.

        Returns
        -------
        Barrier
            With a row of ``path`` and a structure of each of these images. The top is
            that of this path, whatever the other one says.
        """
        last = len(self.images) - 1
        chosen = sorted({0, self.top, last, *images})

        def one(member: Subject, tell: Progress) -> Barrier:
            asked = [self.images[number] for number in chosen]
            found = single_points(member, asked, tell, "energies of images")
            energy = np.array([point.energy for point in found]) - found[0].energy
            top, back = float(energy[chosen.index(self.top)]), float(energy[-1])
            path = self.path.iloc[chosen].reset_index(drop=True)
            path = path.drop(
                columns=[f"{STATE_ENERGY}{k}" for k in range(len(self.states))]
            )
            path["energy"], path["slope"] = energy, np.nan
            path["is_crossing"] = True  # nothing is known of the slopes
            left = [point.becomes for point in found if point.becomes]
            return replace(
                self,
                **found[0].subject.identity,
                becomes=left[0] if left else "",
                spread=None,
                barrier=top,
                back=top - back,
                reaction_energy=back,
                crossing=float("nan"),
                crossing_energy=float("nan"),
                top=chosen.index(self.top),
                path=path,
                images=tuple(point.atoms for point in found),
                geometries=self.model,
            )

        return over_members(other, one, progress)


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
