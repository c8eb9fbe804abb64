# SPDX-License-Identifier: LGPL-3.0-or-later
"""Moments relaxed to zero magnetic force, each within the valley of its state.

For models that do not say what moments a state has, such as those that were trained on
magnetic forces, DeepSPIN's too. DFT without constraints ends where the energy no longer
falls along any moment; here lengths change and directions do not, so that a state stays
itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from spin_dp.inference.engines import Geometries
    from spin_dp.inference.potential import Potential
    from spin_dp.spin_states.catalogue import Catalogue, SpinState

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

TOLERANCE = 0.01
"""Magnetic force where a relaxation ends, eV/μB."""

MAX_EVALUATIONS = 60
"""Evaluations of the model where it ends at the latest."""

# Of a valley at most: data show outliers beyond, and other states begin there.
_RADIUS_MUB = 0.5
_EDGE_MUB = 1e-6
_PARALLEL = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Valleys:
    """How long the moment of each atom may be.

    Attributes
    ----------
    lowest, highest
        (n,), μB; equal where a moment cannot change. Below zero, a moment may point the
        other way: that of atoms whose state has no direction of its own.
    """

    lowest: Floats
    highest: Floats

    @classmethod
    def of(
        cls,
        symbols: Sequence[str],
        moments: Floats,
        catalogue: Catalogue,
        *,
        states: Sequence[SpinState | None] | None = None,
        read_elements: Sequence[str],
    ) -> Valleys:
        """Return the valleys of states: the lengths that their sites have in the data.

        At most 0.5 μB to both sides of the mean; of the start, where the model knows
        nothing of the state.

        Parameters
        ----------
        symbols, moments
            Elements, (n,), and moments to start from, (n, 3), μB; these always lie
            within.
        catalogue
            What the model knows.
        states
            Of each site, where they are known; else the nearest one.
        read_elements
            Elements whose moments the model reads; others keep theirs.
        """
        lengths = np.linalg.norm(moments, axis=-1)
        lowest, highest = lengths.copy(), lengths.copy()
        for atom, (symbol, length) in enumerate(zip(symbols, lengths, strict=True)):
            if symbol not in read_elements:
                continue
            known = None if states is None else states[atom]
            state = known or catalogue.nearest(symbol, float(length))
            centre = state.moment if state is not None and state.sites else length
            low, high = centre - _RADIUS_MUB, centre + _RADIUS_MUB
            if state is not None and state.sites:
                low, high = max(low, state.range[0]), min(high, state.range[1])
            has_direction = bool(state.moment) if state else length > _RADIUS_MUB
            low = max(0.0, low) if has_direction else -high
            lowest[atom], highest[atom] = min(low, length), max(high, length)
        return cls(lowest, highest)


@dataclass(frozen=True, slots=True, eq=False)
class RelaxedMoments:
    """Where relaxations ended, of nf frames with n atoms.

    Attributes
    ----------
    moments
        (nf, n, 3), μB.
    energies, changes
        (nf,), eV: there, and less what they were at the start.
    residuals
        (nf,), eV/μB: largest magnetic force along a moment that could still change.
    at_edge
        (nf, n): moments that would leave their valley. Such a state does not hold in
        this geometry, as the model sees it.
    evaluations
        Of the model.
    """

    moments: Floats
    energies: Floats
    changes: Floats
    residuals: Floats
    at_edge: Bools
    evaluations: int


def relax_moments(
    potential: Potential,
    symbols: Sequence[str],
    geometries: Geometries,
    moments: Floats,
    valleys: Valleys,
    *,
    tolerance: float = TOLERANCE,
    max_evaluations: int = MAX_EVALUATIONS,
) -> RelaxedMoments:
    """Minimise energies along the lengths of moments.

    All frames are one problem of L-BFGS-B (R. H. Byrd, P. Lu, J. Nocedal and C. Zhu,
    SIAM J. Sci. Comput. 16, 1190 (1995)). Moments keep their directions; atoms without
    one take that of the others where these are collinear, else they stay without.

    Parameters
    ----------
    potential, symbols, geometries
        As for :meth:`spin_dp.inference.potential.Potential.predict`.
    moments
        To start from, (nf, n, 3), μB.
    valleys
        Within which they stay.
    tolerance
        Of magnetic forces, eV/μB.
    max_evaluations
        Of the model; at the end the residual says how far it came.

    Returns
    -------
    RelaxedMoments
        Never higher in energy than the start.

    Raises
    ------
    ConfigError, ShapeError, DataError, BackendError
        As :meth:`spin_dp.inference.potential.Potential.predict`.
    """
    directions = np.array([_directions(one) for one in moments])
    start = np.einsum("fnx,fnx->fn", moments, directions)
    low = np.broadcast_to(valleys.lowest, start.shape)
    high = np.broadcast_to(valleys.highest, start.shape)
    can_turn = np.linalg.norm(directions, axis=-1) > 0.0
    is_free = can_turn & (high > low)
    bounds = np.column_stack([low[is_free], high[is_free]])
    count = 0

    def evaluate(lengths: Floats) -> tuple[Floats, Floats]:
        nonlocal count
        count += 1
        vectors = np.where(is_free[..., None], lengths[..., None] * directions, moments)
        found = potential.predict(symbols, geometries, vectors)
        assert found.magnetic_forces is not None  # it reads moments
        along = np.einsum("fnx,fnx->fn", found.magnetic_forces, directions)
        return found.energies, along

    def all_lengths(free: Floats) -> Floats:
        lengths: Floats = start.copy()
        lengths[is_free] = free
        return lengths

    first, along = evaluate(start)
    reference = float(first.sum())

    def objective(free: Floats) -> tuple[float, Floats]:
        energies, forces = evaluate(all_lengths(free))
        return float(energies.sum()) - reference, -forces[is_free]

    lengths, energies = start, first
    if (
        np.abs(_open_forces(along, start, low, high))[is_free].max(initial=0)
        > tolerance
    ):
        found = minimize(
            objective,
            start[is_free],
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"gtol": tolerance, "ftol": 0.0, "maxfun": max_evaluations},
        )
        relaxed = all_lengths(np.clip(found.x, *bounds.T))
        new_energies, new_along = evaluate(relaxed)
        # Frames are one problem: its sum falls, and one frame's energy may not.
        is_lower = new_energies <= first
        lengths = np.where(is_lower[:, None], relaxed, start)
        energies = np.where(is_lower, new_energies, first)
        along = np.where(is_lower[:, None], new_along, along)
    open_forces = np.where(is_free, _open_forces(along, lengths, low, high), 0.0)
    at_edge = is_free & (open_forces == 0.0) & (np.abs(along) > tolerance)
    return RelaxedMoments(
        moments=np.where(is_free[..., None], lengths[..., None] * directions, moments),
        energies=energies,
        changes=energies - first,
        residuals=np.abs(open_forces).max(axis=1, initial=0.0),
        at_edge=at_edge,
        evaluations=count,
    )


def _directions(moments: Floats) -> Floats:
    """Return unit vectors, (n, 3); zero of atoms that have none and get none."""
    lengths = np.linalg.norm(moments, axis=-1, keepdims=True)
    has_moment = lengths[:, 0] > _PARALLEL
    units = np.divide(moments, lengths, out=np.zeros_like(moments), where=lengths > 0.0)
    if not has_moment.any():
        axis = np.array([0.0, 0.0, 1.0])
    else:
        axis = units[lengths.argmax()]
        crossed = np.linalg.norm(np.cross(units[has_moment], axis), axis=-1)
        if crossed.max() > _PARALLEL:
            return np.where(has_moment[:, None], units, 0.0)
    return np.where(has_moment[:, None], units, axis)


def _open_forces(along: Floats, lengths: Floats, low: Floats, high: Floats) -> Floats:
    """Return forces along moments, (nf, n), without those that push over an edge."""
    pushes_out = ((lengths >= high - _EDGE_MUB) & (along > 0.0)) | (
        (lengths <= low + _EDGE_MUB) & (along < 0.0)
    )
    return np.where(pushes_out, 0.0, along)
