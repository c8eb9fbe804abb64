# SPDX-License-Identifier: LGPL-3.0-or-later
"""Limits: at the cutoff, through zero moments, and the plain model at zero moments."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.physics.contract_subject import (
    TYPE_MAP,
    Frames,
    evaluate,
    in_double,
    not_compressed,
    only_for,
    requires,
    tensors,
)

if TYPE_CHECKING:
    from tests.physics.contract_subject import Array, Result, Subject

SPIN_STEP = 0.2
"""Moments, μB, from which those of :class:`MomentContract` are halved twice."""


class CutoffContract:
    """An atom that comes into reach is felt smoothly, and not at all before."""

    @only_for(in_double)
    @requires("smooth_cutoff")
    def test_smooth_at_the_cutoff(self, subject: Subject) -> None:
        """Energy, force and magnetic force reach their limits like the switch does.

        The switch vanishes with the third power of the distance to the cutoff: a
        tenth of the distance leaves 1e-3 of the energy and 1e-2 of the force.
        """
        cutoff = subject.cutoff
        steps = np.array([1e-1, 1e-2, 1e-3])
        gap = _gap(subject.evaluate(approach(cutoff - steps)), _far(subject))
        energy, force, magnetic = gap
        assert energy[0] > 0.0
        assert force[0] > 0.0
        assert magnetic[0] > 0.0
        assert energy[1] < 5e-3 * energy[0]
        assert magnetic[1] < 5e-3 * magnetic[0]
        assert force[1] < 5e-2 * force[0]
        assert force[2] < 5e-2 * force[1]

    def test_nothing_beyond_the_cutoff(self, subject: Subject) -> None:
        """Neither where the far atom is nor what moment it has matters."""
        far = _far(subject)
        for distance in subject.cutoff + np.array([1e-9, 1e-2, 0.7]):
            beyond = approach(distance[None])
            result = subject.evaluate(beyond)
            for gap in _gap(result, far):
                np.testing.assert_array_equal(gap, 0.0)
            np.testing.assert_array_equal(result.force[:, 2], 0.0)
            moments = beyond.moments.copy()
            moments[:, 2] *= -1.7
            changed = subject.evaluate(replace(beyond, moments=moments))
            np.testing.assert_array_equal(
                changed.atom_energy[:, :2], result.atom_energy[:, :2]
            )
            np.testing.assert_array_equal(changed.force, result.force)
            assert np.all(changed.atom_energy[:, 2] != result.atom_energy[:, 2])


class MomentContract:
    """The energy is a smooth function of the moments, also where they vanish."""

    @only_for(in_double)
    @requires("smooth_moments")
    def test_smooth_where_all_moments_vanish(self, subject: Subject) -> None:
        """F_m is odd and analytic: F_m(h) / h = a + b h², with no term |h|."""
        frames = subject.frames
        size = np.linalg.norm(frames.moments, axis=-1, keepdims=True)

        def quotient(h: float) -> Array:
            small = replace(frames, moments=h * frames.moments / size)
            return subject.evaluate(small).force_mag / h

        _assert_quadratic(*(quotient(SPIN_STEP / k) for k in (1, 2, 4)))

    @only_for(in_double)
    @requires("smooth_moments")
    def test_no_moments_is_the_limit_of_small_ones(self, subject: Subject) -> None:
        """Energies and forces change with the square of small moments."""
        frames = subject.frames
        step = 1e-5
        none = subject.evaluate(replace(frames, moments=0.0 * frames.moments))
        few = subject.evaluate(replace(frames, moments=step * frames.moments))
        some = subject.evaluate(replace(frames, moments=0.1 * frames.moments))
        for name in ("energy", "force", "virial"):
            zero = getattr(none, name)
            assert np.abs(getattr(some, name) - zero).max() > 1e-6
            np.testing.assert_allclose(getattr(few, name), zero, rtol=0, atol=1e-8)

    @only_for(in_double)
    @requires("smooth_moments")
    def test_smooth_where_one_moment_vanishes(self, subject: Subject) -> None:
        """The same for one atom between others that keep their moments."""
        frames = subject.frames
        which = np.argmax(subject.reads_moment[frames.types], axis=1)
        row = np.arange(len(frames))
        axis = np.array([0.6, 0.0, 0.8])

        def quotients(h: float) -> list[Array]:
            ends = []
            for sign in (1, -1):
                moments = frames.moments.copy()
                moments[row, which] = sign * h * axis
                ends.append(subject.evaluate(replace(frames, moments=moments)))
            return [
                (getattr(ends[0], name) - getattr(ends[1], name)) / (2 * h)
                for name in ("energy", "force", "force_mag")
            ]

        steps = (quotients(SPIN_STEP / k) for k in (1, 2, 4))
        for of_one in zip(*steps, strict=True):
            _assert_quadratic(*of_one)


class PlainContract:
    """At zero moments no spin weight counts: what is left is the plain model."""

    @requires("zero_moments_plain")
    @only_for(not_compressed)
    def test_spin_weights_rest_at_zero_moments(self, subject: Subject) -> None:
        """Randomise them all: nothing changes; with moments, everything does.

        Spin weights are those that the contract names, and those found by asking
        the model: entries whose slope vanishes at zero moments. The first must be
        among the second.
        """
        import torch

        model = subject.twin()
        named = _named(model, subject.contract.spin_parameters)
        frames = subject.frames[:5]
        zero = replace(frames, moments=0 * frames.moments)
        rest = {name: slope == 0.0 for name, slope in slopes(model, zero).items()}
        felt = slopes(model, frames)
        for name in named:
            assert rest[name].all(), f"{name} counts at zero moments"
            assert (felt[name] != 0.0).any(), f"{name} never counts"
        before, before_zero = evaluate(model, frames), evaluate(model, zero)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                draw = torch.randn(
                    parameter.shape, generator=generator, dtype=parameter.dtype
                )
                parameter.copy_(torch.where(rest[name], draw, parameter))
        after, after_zero = evaluate(model, frames), evaluate(model, zero)
        for name in ("energy", "atom_energy", "force", "virial"):
            np.testing.assert_array_equal(
                getattr(after_zero, name), getattr(before_zero, name), err_msg=name
            )
        assert np.all(np.abs(after.energy - before.energy) > 1e-3)

    @requires("zero_moments_plain")
    def test_magnetic_elements_are_plain_at_zero_moments(
        self, subject: Subject
    ) -> None:
        """Which types carry moments does not matter either."""
        zero = replace(subject.frames, moments=0 * subject.frames.moments)
        other = evaluate(subject.twin(use_spin=("Ni",)), zero)
        result = subject.evaluate(zero)
        np.testing.assert_array_equal(other.energy, result.energy)
        np.testing.assert_array_equal(other.force, result.force)


def approach(distances: Array) -> Frames:
    """Return trimers O-Ni...Mn, the last pair at those distances, Å, O out of reach."""
    nf = len(distances)
    positions = np.zeros((nf, 3, 3))
    positions[:, 0] = [-1.1, 1.6, 0.4]
    positions[:, 2, 0] = distances
    types = [TYPE_MAP.index(name) for name in ("O", "Ni", "Mn")]
    moments = np.tile([[0.3, 0.1, -0.2], [1.3, 0.4, -0.8], [2.0, -3.0, 0.5]], (nf, 1))
    return Frames(positions, None, np.tile(types, (nf, 1)), moments.reshape(nf, 3, 3))


def _far(subject: Subject) -> Result:
    return subject.evaluate(approach(np.array([2.0 * subject.cutoff])))


def _gap(near: Result, far: Result) -> tuple[Array, Array, Array]:
    """Return differences of energy, force and magnetic force, one a frame."""
    return (
        np.abs(near.energy - far.energy),
        np.abs(near.force - far.force).max((1, 2)),
        np.abs(near.force_mag - far.force_mag).max((1, 2)),
    )


def _assert_quadratic(whole: Array, half: Array, quarter: Array) -> None:
    """Assert that values at h, h/2, h/4 approach their limit like h².

    Successive differences fall to 1/4 then. A kink of the energy leaves no limit,
    |m|³ (a jump in the third derivative) makes them fall to 1/2.
    """
    first, second = np.abs(whole - half).max(), np.abs(half - quarter).max()
    rounding = 1e-10 * np.abs(quarter).max()
    assert second <= 0.35 * first + rounding, (first, second)


def slopes(model: Any, frames: Frames) -> dict[str, Any]:
    """Return the slopes of a loss on all outputs in all parameters.

    The loss has random weights, so that no slope cancels by symmetry.
    """
    import torch

    model.train()
    generator = torch.Generator().manual_seed(5)
    out = model(*tensors(frames), do_atomic_virial=True)
    loss = torch.zeros((), dtype=torch.float64)
    for name in ("atom_energy", "force", "force_mag", "virial"):
        weight = torch.rand(out[name].shape, generator=generator, dtype=torch.float64)
        loss = loss + (weight * (out[name] - 1.0).square()).sum()
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(
        loss, parameters, allow_unused=True, materialize_grads=True
    )
    model.eval()
    return dict(zip(names, found, strict=True))


def _named(model: Any, patterns: tuple[str, ...]) -> list[str]:
    """Return the parameters that patterns of a contract name."""
    assert patterns, "the contract names no spin_parameters"
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        assert any(fnmatch(name, pattern) for name in names), f"no {pattern} in {names}"
    return [name for name in names if any(fnmatch(name, p) for p in patterns)]
