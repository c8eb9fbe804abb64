# SPDX-License-Identifier: LGPL-3.0-or-later
"""What it costs an ion to hop, in the spin states that carry it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ase.calculators.singlepoint import SinglePointCalculator

from spin_dp.properties.migration.band import (
    BandSettings,
    Path,
    find_path,
    refuse_no_way,
    relax_end,
)
from spin_dp.properties.migration.crossing import find_crossings, with_crossings
from spin_dp.properties.migration.descriptors import surroundings
from spin_dp.properties.migration.modes import Modes, atoms_around, modes_of
from spin_dp.properties.migration.result import STATE_ENERGY, Barrier
from spin_dp.properties.migration.surface import Surface, rounded_lowest
from spin_dp.structures import shortest_moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.properties.migration.crossing import Crossing
    from spin_dp.properties.migration.ends import HopEnds
    from spin_dp.properties.settings import Progress

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_PREDICTED_MUB = 1e-3
_STILL_ANGSTROM = 1e-6
_NAN = float("nan")
_PUSHES, _PUSH_ANGSTROM = 2, 0.15  # off a saddle point of higher order


def migration_barrier(
    ends: HopEnds,
    settings: BandSettings | None = None,
    *,
    electron: str = "staying",
    progress: Progress | None = None,
) -> Barrier:
    """Return the barrier of a hop.

    Both ends relax in their spin states, and a band between them. Of an ensemble the
    first model does it, and all others tell the spread at the images it found.

    Parameters
    ----------
    ends
        Of :func:`hop_ends` or :func:`given_ends`.
    settings
        None: the defaults.
    electron
        What it is called in tables; what it does is in the ends.
    progress
        Called as ``progress(what, done, total)``.

    Raises
    ------
    ConfigError
        If both ends relax to one structure.
    DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    chosen = settings or BandSettings()
    labelled = ends.labelled
    surface = held_alike(Surface.of(labelled.states), ends)

    def tell(what: str, done: float, total: float) -> None:
        if progress is not None:
            progress(what, done, total)

    tell("relaxing the ends", 0, 2)
    initial, first = relax_end(
        surface.part(labelled.initial), ends.initial.atoms, chosen
    )
    tell("relaxing the ends", 1, 2)
    final, last = relax_end(
        surface.part(labelled.final), _begun_alike(ends, initial), chosen
    )
    refuse_no_way(initial, final)

    def search(**start: Any) -> Path:  # noqa: ANN401 - of find_path
        return find_path(
            surface,
            initial,
            final,
            chosen,
            progress=lambda steps, force: tell(
                f"band, {force:.3f} eV/Å", steps, chosen.max_steps
            ),
            **start,
        )

    path = search(passes=[] if ends.passes is None else [(ends.ion, ends.passes)])
    modes = _modes_at_top(ends, surface, path, chosen)
    for _ in range(_PUSHES):
        if modes is None or modes.unstable < 2:
            break
        other = search(guess=_pushed(surface, path, modes, chosen))
        if other.lowest.max() >= path.lowest.max() or not other.climbed:
            break
        path, modes = other, _modes_at_top(ends, surface, other, chosen)
    crossings = find_crossings(surface, path, chosen)
    whole = with_crossings(path, crossings)
    if whole.top != path.top:
        modes = _modes_at_top(ends, surface, whole, chosen)
    tell("band", chosen.max_steps, chosen.max_steps)
    unstable = 0 if modes is None else modes.unstable
    return _result(
        ends, surface, whole, electron, unstable, crossings, at_rest=first and last
    )


def _begun_alike(ends: HopEnds, initial: Atoms) -> Atoms:
    """Return the final structure to relax, with what the initial one has relaxed to.

    A crystal that distorts may do so in several ways, and both ends shall in one. Where
    other atoms than the ion are elsewhere they were given so.
    """
    way = ends.final.positions - ends.initial.atoms.positions
    others = np.delete(way, ends.ion, axis=0)
    if np.abs(others).max(initial=0.0) > _STILL_ANGSTROM:
        return ends.final
    final = ends.final.copy()
    final.positions = initial.positions
    final.positions[ends.ion] = ends.final.positions[ends.ion]
    return final


def _modes_at_top(
    ends: HopEnds, surface: Surface, path: Path, settings: BandSettings
) -> Modes | None:
    """Return the vibrations around the ion at the top; None where that is an end."""
    is_end = path.top in (0, len(path.lengths) - 1)
    if is_end or not path.climbed or not settings.check_top:
        return None
    atoms = ends.initial.atoms.copy()
    atoms.positions = path.positions[path.top]
    moving = atoms_around(atoms, ends.ion)
    return modes_of(surface, atoms, moving, rounding=settings.rounding)


def _pushed(
    surface: Surface, path: Path, modes: Modes, settings: BandSettings
) -> Floats:
    """Return images that leave a saddle point of higher order, where it is lower."""
    top = path.top
    along = path.positions[top + 1] - path.positions[top - 1]
    along /= np.linalg.norm(along)
    ways = modes.displacements[: modes.unstable]
    shares = np.abs((ways * along).sum(axis=(1, 2))) / np.linalg.norm(ways, axis=(1, 2))
    push = _PUSH_ANGSTROM * ways[shares.argmin()]
    both = path.positions[top] + np.array([push, -push])
    energies, _ = rounded_lowest(*surface.evaluate(both), settings.rounding)
    sign = 1.0 if energies[0] <= energies[1] else -1.0
    # Most at the top, nothing at the ends.
    x = np.interp(path.lengths, path.lengths[[0, top, -1]], [0.0, 1.0, 0.0])
    pushed: Floats = path.positions + sign * x[:, None, None] * push
    return pushed


def held_alike(surface: Surface, ends: HopEnds) -> Surface:
    """Return a surface whose held moments are those in the middle of both ends.

    Moments that were predicted at the start would make the way back another one.
    Moments by number stay.
    """
    if ends.initial.label_mode != "held":
        return surface
    carried = []
    for state, one in zip(ends.labelled.states, surface.carried, strict=True):
        energies = state.energies
        labels = energies.labels(state.atoms, None)
        here, there = (
            energies.carried(atoms, labels) for atoms in (state.atoms, ends.final)
        )
        is_predicted = np.allclose(here, one, atol=_PREDICTED_MUB)
        carried.append(0.5 * (here + there) if is_predicted else one)
    return Surface(surface.subject, np.stack(carried))


def _result(
    ends: HopEnds,
    surface: Surface,
    path: Path,
    electron: str,
    unstable: int,
    crossings: Sequence[Crossing],
    *,
    at_rest: bool,
) -> Barrier:
    zero = path.lowest[0]
    states = path.energies.argmin(axis=1)
    slopes = _slopes(path)
    images = _images(ends, surface, path, states)
    around = [surroundings(atoms, ends.ion) for atoms in images]
    rows = {
        "coordinate": path.lengths,
        "energy": path.lowest - zero,
        "slope": slopes[np.arange(len(states)), states],
        "state": states,
        "is_crossing": _are_among(path, [one for one in crossings if one.is_top]),
        "nearest_anion": [one.nearest_anion for one in around],
        "coordination": [one.coordination for one in around],
        "polyhedron": [one.volume for one in around],
        "nearest_metal": [one.nearest_metal for one in around],
        **{
            f"{STATE_ENERGY}{number}": path.energies[:, number] - zero
            for number in range(len(surface))
        },
    }
    highest = max(crossings, key=lambda one: one.height, default=None)
    top = path.top
    keys = tuple(one.spin_state for one in ends.labelled.states)
    subject = ends.labelled.states[states[0]]
    found = Barrier(
        **{**subject.identity, "spin_state": keys[states[0]]},
        barrier=float(path.lowest[top] - zero),
        back=float(path.lowest[top] - path.lowest[-1]),
        reaction_energy=float(path.lowest[-1] - zero),
        nearest_anion=min(one.nearest_anion for one in around),
        initial_coordination=around[0].coordination,
        top_coordination=around[top].coordination,
        initial_polyhedron=around[0].volume,
        top_polyhedron=around[top].volume,
        nearest_metal=around[top].nearest_metal,
        distance=ends.distance,
        crossing=_NAN if highest is None else _share(path, highest),
        crossing_energy=_NAN if highest is None else highest.height - zero,
        electron=electron,
        way=ends.way,
        ion=ends.ion,
        top=top,
        unstable_modes=unstable,
        climbed=path.climbed,
        converged=path.converged and at_rest,
        max_force=path.max_force,
        states=keys,
        final_spin_state=keys[states[-1]],
        path=pd.DataFrame(rows),
        images=images,
    )
    return replace(found, spread=_spread(ends, surface, path, states, top))


def _spread(
    ends: HopEnds, surface: Surface, path: Path, states: Ints, top: int
) -> dict[str, float] | None:
    """Return the standard deviations of barriers over an ensemble, at these images."""
    members = ends.initial.members
    if len(members) == 1:
        return None
    places = [0, top, len(states) - 1]
    found = []
    for member in members:
        energies, _ = Surface(member, surface.carried).evaluate(path.positions[places])
        start, high, end = energies[range(3), states[places]]
        found.append((high - start, high - end, end - start))
    names = ("barrier", "back", "reaction_energy")
    return dict(zip(names, np.std(found, axis=0, ddof=1).tolist(), strict=True))


def _images(
    ends: HopEnds, surface: Surface, path: Path, states: Ints
) -> tuple[Atoms, ...]:
    """Return images with the labels of their states and what was calculated."""
    images = []
    for number, state in enumerate(states.tolist()):
        subject = ends.labelled.states[state]
        atoms = subject.atoms.copy()
        atoms.positions = path.positions[number]
        atoms.set_initial_magnetic_moments(shortest_moments(surface.carried[state]))
        results: dict[str, Any] = {
            "energy": path.energies[number, state],
            "forces": path.forces[number, state],
        }
        calculator = subject.calculator()
        if subject.label_mode == "adiabatic":
            results["magmoms"] = calculator.get_property("magmoms", atoms)
        elif subject.label_mode == "held":
            results["magmoms"] = atoms.get_initial_magnetic_moments()
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info = {"image": number, "spin_state": subject.spin_state}
        images.append(atoms)
    return tuple(images)


def _slopes(path: Path) -> Floats:
    """Return the derivatives of each state's energy along the path, (k, s), eV/Å."""
    ways = np.gradient(path.positions, path.lengths, axis=0)
    ways /= np.linalg.norm(ways, axis=(1, 2), keepdims=True)
    slopes: Floats = -np.einsum("ksnx,knx->ks", path.forces, ways)
    return slopes


def _are_among(path: Path, crossings: Sequence[Crossing]) -> NDArray[np.bool_]:
    """Return which images are crossings, (k,)."""
    found = np.zeros(len(path.lengths), dtype=np.bool_)
    for one in crossings:
        found |= (path.positions == one.positions).all(axis=(1, 2))
    return found


def _share(path: Path, crossing: Crossing) -> float:
    """Return how far along a path a crossing is: between the images around it."""
    ways = np.linalg.norm(path.positions - crossing.positions, axis=(1, 2))
    k = int((ways[:-1] + ways[1:]).argmin())
    step = ways[k] / (ways[k] + ways[k + 1]) * (path.lengths[k + 1] - path.lengths[k])
    return float((path.lengths[k] + step) / path.lengths[-1])
