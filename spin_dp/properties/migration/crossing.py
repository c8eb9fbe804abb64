# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where an electron hops on a path: the lowest structure in which two states are equal.

Between two images in different states the lowest energy has a kink that no image need
come near. The structure of least energy in which both states are equal is found by the
projected gradient of M. J. Bearpark, M. A. Robb and H. B. Schlegel, Chem. Phys. Lett.
223, 269 (1994).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator
from ase.optimize import FIRE

from spin_dp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.properties.migration.band import BandSettings, Path
    from spin_dp.properties.migration.surface import Surface

    Floats = NDArray[np.float64]

_SCAN = 9  # points between two images
_HIGHER = 0.002  # eV; above both images, or it is no top
_EQUAL = 0.005  # eV; of the two states
_FAR = 1.5  # times the way between the two images


@dataclass(frozen=True, eq=False)
class Crossing:
    """A change of state between two images.

    Attributes
    ----------
    after
        Number of the image before it.
    share
        Of the way to the next image.
    positions
        (n, 3), Å.
    energies, forces
        In all states, (s,), eV, and (s, n, 3), eV/Å.
    height
        Of the two states that cross, eV.
    is_top
        Whether it is higher than both images.
    is_lowest
        Whether it is the lowest crossing around; else one on the way between the two
        images, and its height an upper bound.
    """

    after: int
    share: float
    positions: Floats
    energies: Floats
    forces: Floats
    height: float
    is_top: bool
    is_lowest: bool


def find_crossings(
    surface: Surface, path: Path, settings: BandSettings
) -> list[Crossing]:
    """Return where the lowest state of a path changes, in order.

    Parameters
    ----------
    surface
        Energies of the states.
    path
        Of a band between them.
    settings
        Force and steps of the search.

    Raises
    ------
    DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    states = path.energies.argmin(axis=1)
    return [
        _between(surface, path, int(k), (int(states[k]), int(states[k + 1])), settings)
        for k in np.flatnonzero(np.diff(states))
    ]


def with_crossings(path: Path, crossings: Sequence[Crossing]) -> Path:
    """Return a path with the crossings that are tops among its images."""
    tops = [one for one in crossings if one.is_top]
    if not tops:
        return path
    places = [one.after + 1 for one in tops]
    positions = np.insert(path.positions, places, [one.positions for one in tops], 0)
    ways = np.linalg.norm(np.diff(positions, axis=0), axis=(1, 2))
    return replace(
        path,
        positions=positions,
        energies=np.insert(path.energies, places, [one.energies for one in tops], 0),
        forces=np.insert(path.forces, places, [one.forces for one in tops], 0),
        lengths=np.concatenate([[0.0], np.cumsum(ways)]),
    )


def _between(
    surface: Surface,
    path: Path,
    k: int,
    pair: tuple[int, int],
    settings: BandSettings,
) -> Crossing:
    """Return the crossing of two states between image k and the next one."""
    two = surface.part(pair)
    shares = np.linspace(0.0, 1.0, _SCAN + 2)
    way = path.positions[k + 1] - path.positions[k]
    energies, _ = two.evaluate(path.positions[k] + shares[:, None, None] * way)
    gap = energies[:, 0] - energies[:, 1]
    # The first state is lower at the start, the second one at the end.
    last = min(int(np.flatnonzero(gap <= 0.0).max(initial=0)), _SCAN)
    step = float(np.clip(gap[last] / (gap[last] - gap[last + 1]), 0.0, 1.0))
    share = float(shares[last] + step * (shares[1] - shares[0]))
    start = path.positions[k] + share * way
    height = float((1.0 - step) * energies[last, 0] + step * energies[last + 1, 0])
    found, is_lowest = start, False
    beside = float(path.lowest[[k, k + 1]].max())
    if height > beside + _HIGHER:
        found, is_lowest = _lowest_crossing(two, start, way, settings)
        height = float(two.evaluate(found[None])[0].mean())
    all_energies, all_forces = surface.evaluate(found[None])
    return Crossing(
        k,
        share,
        found,
        all_energies[0],
        all_forces[0],
        height,
        height > beside + _HIGHER,
        is_lowest,
    )


def _lowest_crossing(
    two: Surface, start: Floats, way: Floats, settings: BandSettings
) -> tuple[Floats, bool]:
    """Return the structure of least energy with equal states; whether it is found."""
    atoms = two.subject.atoms.copy()
    atoms.positions = start
    seam = _Seam(two)
    atoms.calc = seam
    reach = _FAR * float(np.linalg.norm(way))
    try:
        for _ in FIRE(atoms, logfile=None, maxstep=0.05).irun(
            fmax=settings.max_force, steps=settings.max_steps
        ):
            if np.linalg.norm(atoms.positions - start) > reach:
                return start, False
    except DataError:  # atoms that overlap
        return start, False
    force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    if force > settings.max_force or abs(seam.gap) > _EQUAL:
        return start, False
    return atoms.positions.copy(), True


class _Seam(Calculator):  # type: ignore[misc]
    """ASE calculator whose forces lead to where two states are equal, and down there.

    Attributes
    ----------
    gap
        First energy less the second one, eV.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def __init__(self, two: Surface) -> None:
        super().__init__()
        self._two, self.gap = two, np.inf
        self._last: tuple[Floats, dict[str, Any]] | None = None

    def get_property(
        self,
        name: str,
        atoms: Atoms | None = None,
        allow_calculation: bool = True,  # noqa: ARG002 - it is always allowed
    ) -> Any:  # noqa: ANN401
        """Return the mean energy, or the projected force."""
        assert atoms is not None
        if self._last is None or (self._last[0] != atoms.positions).any():
            self._last = (atoms.positions.copy(), self._calculated(atoms.positions))
        return self._last[1][name]

    def _calculated(self, positions: Floats) -> dict[str, Any]:
        energies, forces = (one[0] for one in self._two.evaluate(positions[None]))
        self.gap = float(energies[0] - energies[1])
        across = forces[1] - forces[0]
        across /= max(float(np.linalg.norm(across)), 1e-12)
        mean = forces.mean(axis=0)
        along = mean - (mean * across).sum() * across
        energy = float(energies.mean())
        return {
            "energy": energy,
            "free_energy": energy,
            "forces": along - 2.0 * self.gap * across,
        }
