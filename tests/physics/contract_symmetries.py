# SPDX-License-Identifier: LGPL-3.0-or-later
"""Exact symmetries of DFT without spin-orbit coupling: all outputs, displaced frames.

Energies, atomic energies, forces, magnetic forces, virials and atomic virials are
compared each time, with noncollinear moments on all atoms.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tests.physics.contract_subject import random_rotations, requires

if TYPE_CHECKING:
    from tests.physics.contract_subject import Array, Subject


class SymmetryContract:
    """What changes of the input may and may not change."""

    def test_moments_matter(self, subject: Subject) -> None:
        """The symmetries below would hold for a model that ignores moments, too."""
        frames, result = subject.frames, subject.result
        plain = subject.evaluate(replace(frames, moments=0 * frames.moments))
        assert (np.abs(result.energy - plain.energy) > 1e-5).all()
        assert (np.abs(result.force - plain.force).max((1, 2)) > 1e-3).all()
        assert (np.abs(result.force_mag).max((1, 2)) > 1e-3).all()

    @requires("moment_reversal")
    def test_reversal_of_all_moments(self, subject: Subject) -> None:
        frames, result = subject.frames, subject.result
        subject.expect(
            replace(frames, moments=-frames.moments),
            replace(result, force_mag=-result.force_mag),
        )

    @requires("spin_rotation")
    def test_rotation_of_the_moments_alone(self, subject: Subject) -> None:
        turn = random_rotations(len(subject.frames), 1)
        subject.expect(
            replace(subject.frames, moments=_turned(subject.frames.moments, turn)),
            subject.result.moments_turned(turn),
        )

    @requires("spin_rotation")
    def test_rotation_of_space_alone(self, subject: Subject) -> None:
        frames = subject.frames
        turn = random_rotations(len(frames), 2)
        subject.expect(
            replace(
                frames,
                positions=_turned(frames.positions, turn),
                cell=_turned(frames.box, turn),
            ),
            subject.result.turned(turn),
        )

    def test_rotation_of_space_with_the_moments(self, subject: Subject) -> None:
        """What is left of the two above where spin-orbit coupling is described."""
        frames = subject.frames
        turn = random_rotations(len(frames), 3)
        subject.expect(
            replace(
                frames,
                positions=_turned(frames.positions, turn),
                cell=_turned(frames.box, turn),
                moments=_turned(frames.moments, turn),
            ),
            subject.result.turned(turn).moments_turned(turn),
        )

    def test_inversion_of_space_alone(self, subject: Subject) -> None:
        """Moments are axial vectors: inversion leaves them as they are."""
        frames = subject.frames
        subject.expect(
            replace(frames, positions=-frames.positions, cell=-frames.box),
            replace(subject.result, force=-subject.result.force),
        )

    def test_translation(self, subject: Subject) -> None:
        frames = subject.frames
        shift = np.random.default_rng(4).normal(0, 3, (len(frames), 1, 3))
        subject.expect(
            replace(frames, positions=frames.positions + shift), subject.result
        )

    def test_shift_of_atoms_by_lattice_vectors(self, subject: Subject) -> None:
        frames = subject.frames
        steps = np.random.default_rng(5).integers(-2, 3, frames.positions.shape)
        subject.expect(
            replace(frames, positions=frames.positions + steps @ frames.box),
            subject.result,
        )

    def test_permutation_of_atoms(self, subject: Subject) -> None:
        frames, result = subject.frames, subject.result
        nf, n = frames.types.shape
        row = np.arange(nf)[:, None]
        order = np.random.default_rng(6).permuted(
            np.tile(np.arange(n), (nf, 1)), axis=1
        )
        subject.expect(
            replace(
                frames,
                positions=frames.positions[row, order],
                types=frames.types[row, order],
                moments=frames.moments[row, order],
            ),
            replace(
                result,
                atom_energy=result.atom_energy[row, order],
                force=result.force[row, order],
                force_mag=result.force_mag[row, order],
                atom_virial=result.atom_virial[row, order],
            ),
        )

    def test_other_cell_vectors_of_the_lattice(self, subject: Subject) -> None:
        """Sums of cell vectors that span the same lattice."""
        rng = np.random.default_rng(7)
        nf = len(subject.frames)
        lower = np.eye(3) + np.tril(rng.integers(-1, 2, (nf, 3, 3)), -1)
        upper = np.eye(3) + np.triu(rng.integers(-1, 2, (nf, 3, 3)), 1)
        skewed = lower @ upper @ subject.frames.box
        subject.expect(replace(subject.frames, cell=skewed), subject.result)

    def test_left_handed_cell(self, subject: Subject) -> None:
        cell = subject.frames.box[:, [1, 0, 2]]
        subject.expect(replace(subject.frames, cell=cell), subject.result)

    def test_doubled_cell(self, subject: Subject) -> None:
        """Twice the energy and the virial; atom by atom the same."""
        result = subject.result
        for axis in range(3):
            frames = subject.frames[axis::3]
            cell = frames.box.copy()
            shift = cell[:, None, axis].copy()
            cell[:, axis] *= 2
            double = replace(
                frames,
                positions=_twice(frames.positions, shift),
                cell=cell,
                types=np.concatenate([frames.types, frames.types], axis=1),
                moments=_twice(frames.moments),
            )
            some = slice(axis, None, 3)
            expected = replace(
                result,
                energy=2 * result.energy[some],
                virial=2 * result.virial[some],
                atom_energy=_twice(result.atom_energy[some]),
                force=_twice(result.force[some]),
                force_mag=_twice(result.force_mag[some]),
                atom_virial=_twice(result.atom_virial[some]),
            )
            subject.expect(double, expected)

    def test_moments_of_types_without_spin_are_not_read(self, subject: Subject) -> None:
        """Neither their size nor their direction; and no force acts on them."""
        frames, result = subject.frames, subject.result
        read = subject.reads_moment[frames.types]
        assert not read.all(axis=1).any()
        for factor in (0.0, -1e3):
            moments = np.where(read[..., None], frames.moments, factor * frames.moments)
            other = subject.evaluate(replace(frames, moments=moments))
            np.testing.assert_array_equal(other.energy, result.energy)
            np.testing.assert_array_equal(other.force, result.force)
            np.testing.assert_array_equal(other.force_mag, result.force_mag)
        assert np.all(result.force_mag[~read] == 0.0)


def _turned(vectors: Array, turn: Array) -> Array:
    return np.asarray(np.einsum("fab,fib->fia", turn, vectors))


def _twice(values: Array, shift: Array | float = 0.0) -> Array:
    return np.concatenate([values, values + shift], axis=1)
