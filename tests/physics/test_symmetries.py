# SPDX-License-Identifier: LGPL-3.0-or-later
"""Exact symmetries of collinear DFT without spin-orbit coupling, to 1e-10 relative.

Random weights, float64, displaced frames, noncollinear moments on all atoms.
"""

import numpy as np
import pytest

RELATIVE = 1e-10


@pytest.fixture(scope="module", params=["plain", "tabulated"])
def any_model(request, make_model):
    built = make_model()
    if request.param == "tabulated":
        built.enable_compression(5, 0.01, 0.1, -1)
    return built


def assert_same(got, expected):
    scale = np.abs(expected).max()
    assert np.abs(np.asarray(got) - expected).max() <= RELATIVE * scale


def test_moments_matter(any_model, frames, evaluate, change):
    """The symmetries below would hold for a model that ignores moments, too."""
    for frame in frames:
        plain = evaluate(any_model, change(frame, moments=0 * frame.moments))
        assert abs(evaluate(any_model, frame).energy - plain.energy) > 1e-3


def test_reversal_of_all_moments(any_model, frames, evaluate, change):
    for frame in frames:
        a = evaluate(any_model, frame)
        b = evaluate(any_model, change(frame, moments=-frame.moments))
        assert_same(b.energy, a.energy)
        assert_same(b.force, a.force)
        assert_same(b.force_mag, -a.force_mag)
        assert_same(b.virial, a.virial)


def test_rotation_of_the_moments_alone(any_model, frames, evaluate, change, rotation):
    for seed, frame in enumerate(frames):
        turn = rotation(seed)
        a = evaluate(any_model, frame)
        b = evaluate(any_model, change(frame, moments=frame.moments @ turn.T))
        assert_same(b.energy, a.energy)
        assert_same(b.force, a.force)
        assert_same(b.force_mag, a.force_mag @ turn.T)


def test_rotation_of_space_alone(any_model, frames, evaluate, change, rotation):
    for seed, frame in enumerate(frames):
        turn = rotation(seed)
        a = evaluate(any_model, frame)
        b = evaluate(
            any_model,
            change(frame, positions=frame.positions @ turn.T, cell=frame.cell @ turn.T),
        )
        assert_same(b.energy, a.energy)
        assert_same(b.force, a.force @ turn.T)
        assert_same(b.force_mag, a.force_mag)
        assert_same(b.virial, turn @ a.virial @ turn.T)


def test_inversion_of_space_alone(any_model, frames, evaluate, change):
    for frame in frames:
        a = evaluate(any_model, frame)
        b = evaluate(
            any_model, change(frame, positions=-frame.positions, cell=-frame.cell)
        )
        assert_same(b.energy, a.energy)
        assert_same(b.force, -a.force)
        assert_same(b.force_mag, a.force_mag)


def test_translation(any_model, frames, evaluate, change):
    for seed, frame in enumerate(frames):
        shift = np.random.default_rng(seed).normal(0, 3, 3)
        a = evaluate(any_model, frame)
        b = evaluate(any_model, change(frame, positions=frame.positions + shift))
        assert_same(b.energy, a.energy)
        assert_same(b.force, a.force)
        assert_same(b.force_mag, a.force_mag)


def test_shift_of_one_atom_by_a_lattice_vector(any_model, frames, evaluate, change):
    for frame in frames:
        moved = frame.positions.copy()
        moved[1] += frame.cell[0] - 2 * frame.cell[2]
        a, b = (
            evaluate(any_model, frame),
            evaluate(any_model, change(frame, positions=moved)),
        )
        assert_same(b.energy, a.energy)
        assert_same(b.force, a.force)


def test_permutation(any_model, frames, evaluate, change):
    for seed, frame in enumerate(frames):
        order = np.random.default_rng(seed).permutation(len(frame.types))
        a = evaluate(any_model, frame)
        b = evaluate(
            any_model,
            change(
                frame,
                positions=frame.positions[order],
                types=frame.types[order],
                moments=frame.moments[order],
            ),
        )
        assert_same(b.energy, a.energy)
        assert_same(b.atom_energy, a.atom_energy[order])
        assert_same(b.force, a.force[order])
        assert_same(b.force_mag, a.force_mag[order])


def test_extensive(any_model, frames, evaluate, change):
    """A doubled cell has twice the energy and the same atoms."""
    for axis, frame in enumerate(frames[:6]):
        cell = frame.cell.copy()
        cell[axis % 3] *= 2
        double = change(
            frame,
            positions=np.concatenate(
                [frame.positions, frame.positions + frame.cell[axis % 3]]
            ),
            cell=cell,
            types=np.concatenate([frame.types, frame.types]),
            moments=np.concatenate([frame.moments, frame.moments]),
        )
        a, b = evaluate(any_model, frame), evaluate(any_model, double)
        assert_same(b.energy, 2 * a.energy)
        assert_same(b.force, np.concatenate([a.force, a.force]))
        assert_same(b.virial, 2 * a.virial)


def test_types_without_spin_are_not_read(any_model, frames, evaluate, change):
    magnetic = np.array([False, True, True, True, False])
    for frame in frames:
        kept = np.where(magnetic[frame.types][:, None], frame.moments, 0.0)
        a = evaluate(any_model, frame)
        b = evaluate(any_model, change(frame, moments=kept))
        assert b.energy == a.energy
        assert np.all(a.force_mag[~magnetic[frame.types]] == 0.0)
