# SPDX-License-Identifier: LGPL-3.0-or-later
"""Each derivative against differences of the energy, and what derivatives add up to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tests.physics.contract_subject import assert_same, in_double, only_for, requires

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.physics.contract_subject import Array, Frames, Subject

N_FRAMES = 3

STEP = 1e-3
ABSOLUTE = 2e-8
"""Error allowed, eV/Å or eV/μB. The stencil is of fourth order: 1e-12 times a fifth
derivative; rounding of energies of some 50 eV divided by the step is 1e-11."""
STRAIN_STEP = 3e-4
STRAIN_ABSOLUTE = 2e-6  # eV; a strain moves atoms by several Å


class DerivativeContract:
    """Forces, magnetic forces and virial are derivatives of the energy."""

    @only_for(in_double)
    def test_forces(self, subject: Subject) -> None:
        frames = subject.frames[:N_FRAMES]
        many, unit = _unit_vectors(frames)
        slope = _slope(
            subject,
            lambda h: replace(many, positions=many.positions + h * unit),
            STEP,
        )
        got = subject.result.force[:N_FRAMES]
        np.testing.assert_allclose(got.ravel(), -slope, rtol=0, atol=ABSOLUTE)

    @only_for(in_double)
    def test_magnetic_forces(self, subject: Subject) -> None:
        frames = subject.frames[:N_FRAMES]
        many, unit = _unit_vectors(frames)
        slope = _slope(
            subject, lambda h: replace(many, moments=many.moments + h * unit), STEP
        )
        got = subject.result.force_mag[:N_FRAMES]
        np.testing.assert_allclose(got.ravel(), -slope, rtol=0, atol=ABSOLUTE)

    @only_for(in_double)
    def test_virial_is_the_strain_derivative(self, subject: Subject) -> None:
        """W_ab = -dE/dε_ab with positions and cell strained by 1 + ε."""
        many = subject.frames[:N_FRAMES].repeat(9)
        unit = np.tile(np.eye(9).reshape(9, 3, 3), (N_FRAMES, 1, 1))

        def strained(h: float) -> Frames:
            strain = (np.eye(3) + h * unit).transpose(0, 2, 1)
            return replace(
                many, positions=many.positions @ strain, cell=many.box @ strain
            )

        slope = _slope(subject, strained, STRAIN_STEP)
        got = subject.result.virial[:N_FRAMES]
        np.testing.assert_allclose(got.ravel(), -slope, rtol=0, atol=STRAIN_ABSOLUTE)

    def test_no_magnetic_force_at_zero_moments(self, subject: Subject) -> None:
        """Even in the moments: exactly zero."""
        frames = subject.frames
        zero = subject.evaluate(replace(frames, moments=0 * frames.moments))
        assert np.all(zero.force_mag == 0.0)

    def test_sums_over_atoms(self, subject: Subject) -> None:
        """Atomic energies and virials add up; no net force; symmetric virial."""
        result, relative = subject.result, subject.relative
        assert_same(result.atom_energy.sum(1), result.energy, relative, "energy")
        assert_same(result.atom_virial.sum(1), result.virial, relative, "virial")
        flipped = result.virial.transpose(0, 2, 1)
        assert_same(flipped, result.virial, relative, "virial, transposed,")
        _assert_cancels(result.force, relative)

    @requires("spin_rotation")
    def test_no_torque_on_the_moments_as_a_whole(self, subject: Subject) -> None:
        """Invariance under rotation of the moments means Σ m x F_m = 0."""
        frames = subject.frames
        read = subject.reads_moment[frames.types][..., None]
        moments = np.where(read, frames.moments, 0.0)
        torque = np.cross(moments, subject.result.force_mag)
        _assert_cancels(torque, subject.relative)


def _assert_cancels(vectors: Array, relative: float) -> None:
    """Assert that vectors (nf, n, 3) add up to zero, as far as rounding allows."""
    total = np.abs(vectors.sum(1)).max(1)
    assert np.all(total <= relative * np.abs(vectors).max((1, 2))), total


def _unit_vectors(frames: Frames) -> tuple[Frames, Array]:
    """Return each frame 3n times and the displacement of one component in each."""
    nf, n = frames.types.shape
    unit = np.eye(3 * n).reshape(3 * n, n, 3)
    return frames.repeat(3 * n), np.tile(unit, (nf, 1, 1))


def _slope(
    subject: Subject, displaced: Callable[[float], Frames], step: float
) -> Array:
    """Return fourth-order central differences of the energy, one a frame."""
    near = subject.evaluate(displaced(step)).energy
    near = near - subject.evaluate(displaced(-step)).energy
    far = subject.evaluate(displaced(2 * step)).energy
    far = far - subject.evaluate(displaced(-2 * step)).energy
    return np.asarray((8 * near - far) / (12 * step))
