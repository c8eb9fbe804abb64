# SPDX-License-Identifier: LGPL-3.0-or-later
"""Minimum-energy paths: relaxed ends, and a band of images with one that climbs.

ASE's nudged elastic band with improved tangents (G. Henkelman and H. Jónsson, J. Chem.
Phys. 113, 9978 (2000)) and a climbing image (G. Henkelman, B. P. Uberuaga and H.
Jónsson, J. Chem. Phys. 113, 9901 (2000)), all images computed in one call of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import find_mic
from ase.mep.neb import NEB, idpp_interpolate
from ase.optimize import FIRE, LBFGS

from spin_dp.errors import ConfigError, DataError
from spin_dp.properties.migration.surface import ROUNDING, Band

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.properties.migration.surface import Surface

    Floats = NDArray[np.float64]

_ROUGH = 5.0  # the image climbs from this many times the final force on
_STRETCHED, _FAR_EV = 1.5, 0.5  # of a band that a climbing image has torn away
_RATTLE = 0.01  # Å
_NEAR_ANGSTROM = 4.5  # atoms that may be in the way, from the middle of it
_CLOSE_ANGSTROM = 0.05  # ends that are nearer to each other are one


@dataclass(frozen=True)
class BandSettings:
    """How a path is searched.

    Attributes
    ----------
    images
        Between the ends.
    max_force
        Where the band is converged, eV/Å; ends are relaxed to a third of it.
    max_steps
        Where it stops at the latest; the same for each end.
    spring
        Between images, eV/Å².
    climb
        Whether the highest image goes to the saddle point.
    rounding
        Coupling that rounds kinks where states cross, eV.
    check_top
        Whether the vibrations around the ion at the top are looked at, and a path that
        is on a saddle point of higher order is led off it; some forty evaluations.
    """

    images: int = 7
    max_force: float = 0.03
    max_steps: int = 600
    spring: float = 0.5
    climb: bool = True
    rounding: float = ROUNDING
    check_top: bool = True

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ConfigError(f"images: expected at least 1, got {self.images}.")
        if not self.max_force > 0.0 or self.max_steps < 1 or not self.spring > 0.0:
            raise ConfigError(
                "band: expected positive forces and springs and at least one step, got "
                f"{self.max_force} eV/Å, {self.spring} eV/Å² and {self.max_steps}."
            )
        if not 0.0 <= self.rounding < 1.0:
            raise ConfigError(
                f"rounding: expected 0 eV or a little more, got {self.rounding}."
            )


@dataclass(frozen=True, eq=False)
class Path:
    """A band after its search.

    Attributes
    ----------
    positions
        Of all images, ends included, (k, n, 3), Å.
    energies, forces
        In each state, (k, s), eV, and (k, s, n, 3), eV/Å.
    lengths
        Way from the first image along the band, all atoms together, (k,), Å.
    max_force
        Largest force on an atom that the band's springs and tangents leave, eV/Å.
    converged
        Whether that is small enough.
    climbed
        Whether the highest image has gone to the saddle point.
    steps
        That it took.
    """

    positions: Floats
    energies: Floats
    forces: Floats
    lengths: Floats
    max_force: float
    converged: bool
    climbed: bool
    steps: int

    @property
    def lowest(self) -> Floats:
        """Energy of the lowest state of each image, (k,), eV."""
        lowest: Floats = self.energies.min(axis=1)
        return lowest

    @property
    def top(self) -> int:
        """Number of the highest image; an end where the path has no barrier."""
        return int(self.lowest.argmax())


def relax_end(
    surface: Surface, atoms: Atoms, settings: BandSettings
) -> tuple[Atoms, bool]:
    """Return atoms at rest in the lowest state of a surface; whether they are."""
    end = atoms.copy()
    # Of a symmetric crystal forces vanish where it is unstable, too.
    random = np.random.default_rng(2)
    end.positions += random.normal(scale=_RATTLE, size=end.positions.shape)
    Band(surface, [end], settings.rounding)
    limit = settings.max_force / 3.0
    optimizer = LBFGS(end, logfile=None, maxstep=0.1)
    optimizer.run(fmax=limit, steps=settings.max_steps)
    force = float(np.linalg.norm(end.get_forces(), axis=1).max())
    return end, force <= limit


def refuse_no_way(initial: Atoms, final: Atoms) -> None:
    """Refuse two ends that are one.

    Raises
    ------
    ConfigError
        If no atom is elsewhere: where an end was no minimum it fell into the other.
    """
    way = final.positions - initial.positions
    _, lengths = find_mic(way, initial.cell, initial.pbc)
    if lengths.max(initial=0.0) < _CLOSE_ANGSTROM:
        raise ConfigError(
            f"{initial.get_chemical_formula()}: both ends relax to the same structure "
            f"(largest difference {lengths.max():.3f} Å); between them there is no "
            "barrier in this spin state."
        )


def find_path(
    surface: Surface,
    initial: Atoms,
    final: Atoms,
    settings: BandSettings,
    *,
    passes: Sequence[tuple[int, Floats]] = (),
    guess: Floats | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Path:
    """Search the minimum-energy path between two relaxed structures.

    Parameters
    ----------
    surface
        Energies of the states that images may be in.
    initial, final
        Ends with the same atoms in the same order, in one cell; no atom is led across
        the cell.
    settings
        How.
    passes
        Atoms and where they are half-way, Å; else where the image-dependent pair
        potential leads them (S. Smidstrup, A. Pedersen, K. Stokbro and H. Jónsson, J.
        Chem. Phys. 140, 214106 (2014)).
    guess
        Positions of all images to begin with, (k, n, 3), Å; None: a way is made up.
    progress
        Called as ``progress(steps, force)`` after each step, eV/Å.
    """
    images = _first_guess(initial, final, settings.images, passes, guess)
    search = _Search(surface, images, settings, progress)
    if not settings.climb:
        search.run(settings.max_force)
        return search.path(climbed=False)
    # From a rough band, or, where the image gets lost, from a converged one.
    for limit in (_ROUGH * settings.max_force, settings.max_force):
        search.run(limit)
        if search.climb():
            return search.path(climbed=True)
    return search.path(climbed=False)


class _Search:
    """A band under way."""

    def __init__(
        self,
        surface: Surface,
        images: Sequence[Atoms],
        settings: BandSettings,
        progress: Callable[[int, float], None] | None,
    ) -> None:
        self._band = Band(surface, images, settings.rounding)
        self._neb = _RememberingNEB(images, k=settings.spring, method="improvedtangent")
        self._settings, self._progress = settings, progress
        self._steps = 0

    def run(self, limit: float, keep_to: Path | None = None) -> bool:
        """Relax to a force; return False where the band has left another path."""
        optimizer = FIRE(self._neb, logfile=None)
        left = self._settings.max_steps - self._steps
        for _ in optimizer.irun(fmax=limit, steps=max(left, 1)):
            if self._progress is not None:
                self._progress(self._steps + optimizer.nsteps, self._force())
            if keep_to is not None and self._is_lost(keep_to):
                break
        self._steps += optimizer.nsteps
        return keep_to is None or not self._is_lost(keep_to)

    def climb(self) -> bool:
        """Let the highest image climb; where it gets lost, go back and return False."""
        before = self.path(climbed=False)
        self._neb.climb = True
        try:
            kept = self.run(self._settings.max_force, keep_to=before)
        except DataError:  # atoms that overlap, far from any path
            kept = False
        if not kept:
            self._neb.climb = False
            self._neb.set_positions(before.positions[1:-1].reshape(-1, 3))
        return kept

    def path(self, *, climbed: bool) -> Path:
        """Return the band as it is."""
        self._band.update()
        positions = np.stack([image.positions for image in self._band.images])
        ways = np.linalg.norm(np.diff(positions, axis=0), axis=(1, 2))
        left = self._force()
        return Path(
            positions,
            self._band.energies.copy(),
            self._band.forces.copy(),
            np.concatenate([[0.0], np.cumsum(ways)]),
            left,
            left <= self._settings.max_force,
            climbed,
            self._steps,
        )

    def _force(self) -> float:
        return float(np.linalg.norm(self._neb.get_forces(), axis=1).max())

    def _is_lost(self, before: Path) -> bool:
        """Return whether an image that climbs has torn the band away."""
        lowest = self._band.energies.min(axis=1)
        ways = np.diff([image.positions for image in self._band.images], axis=0)
        length = float(np.linalg.norm(ways, axis=(1, 2)).sum())
        return bool(
            length > _STRETCHED * before.lengths[-1]
            or lowest.max() > before.lowest.max() + _FAR_EV
            or lowest.min() < before.lowest.min() - _FAR_EV
        )


class _RememberingNEB(NEB):  # type: ignore[misc]
    """ASE's band, whose forces an optimizer asks for several times a step."""

    _last: tuple[Floats, bool, Floats] | None = None

    def get_forces(self) -> Floats:
        """Return the forces on all images between the ends, (k n, 3), eV/Å."""
        positions = self.get_positions()
        last = self._last
        is_same = last is not None and last[1] == self.climb
        if last is None or not is_same or (last[0] != positions).any():
            last = (positions, self.climb, super().get_forces())
            self._last = last
        return last[2].copy()


def _first_guess(
    initial: Atoms,
    final: Atoms,
    number: int,
    passes: Sequence[tuple[int, Floats]],
    guess: Floats | None,
) -> list[Atoms]:
    images = [initial.copy() for _ in range(number + 1)] + [final.copy()]
    way = final.positions - initial.positions
    for share, image in zip(np.linspace(0.0, 1.0, number + 2), images, strict=True):
        image.calc = None
        image.positions = initial.positions + share * way
        for atom, middle in passes:
            nearer, leg = (initial, share) if share <= 0.5 else (final, 1.0 - share)
            start = nearer.positions[atom]
            image.positions[atom] = start + 2.0 * leg * (middle - start)
    if guess is not None:
        for image, positions in zip(images, guess, strict=True):
            image.positions = positions
    elif not passes:
        _lead_around(images)
    random = np.random.default_rng(1)
    # A path that begins in a mirror plane stays there, on a saddle of higher order.
    for image in images[1:-1]:
        image.positions += random.normal(scale=_RATTLE, size=image.positions.shape)
    return images


def _lead_around(images: Sequence[Atoms]) -> None:
    """Lead the atom that goes farthest round its neighbours, and these out of its way.

    By the image-dependent pair potential; of all atoms it would take longer than the
    search itself.
    """
    initial, final = images[0], images[-1]
    way = final.positions - initial.positions
    ion = int(np.linalg.norm(way, axis=1).argmax())
    middle = initial.positions + 0.5 * way
    distances = find_mic(middle - middle[ion], initial.cell, initial.pbc)[1]
    near = np.flatnonzero(distances < _NEAR_ANGSTROM)
    parts = [image[near] for image in images]
    band = NEB(parts, method="improvedtangent")
    idpp_interpolate(band, traj=None, log=None, mic=bool(initial.pbc.any()))
    for image, part in zip(images[1:-1], parts[1:-1], strict=True):
        image.positions[near] = part.positions
