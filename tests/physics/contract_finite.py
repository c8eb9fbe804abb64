# SPDX-License-Identifier: LGPL-3.0-or-later
"""Nothing is undefined where lengths vanish, neither results nor slopes of a loss;
what is no number is not hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.physics.contract_subject import (
    TYPE_MAP,
    Frames,
    assert_same,
    not_compressed,
    only_for,
    requires,
    tensors,
    with_neighbours,
)

if TYPE_CHECKING:
    from tests.physics.contract_subject import Result, Subject


class FiniteContract:
    """No NaN and no infinity, whatever vanishes."""

    @only_for(not_compressed)
    def test_slopes_with_moments(self, subject: Subject) -> None:
        """The loss below has slopes in all nets (else the next two say little)."""
        moved = _finite_slopes(subject, subject.frames[:5])
        parts = {name.split(".")[1] for name in moved}
        assert parts == {"descriptor", "fitting_net"}

    @only_for(not_compressed)
    def test_no_magnetic_atom(self, subject: Subject) -> None:
        frames = subject.frames[:5]
        blind = int(np.argmin(subject.reads_moment))
        assert not subject.reads_moment[blind]
        frames = replace(frames, types=np.full_like(frames.types, blind))
        _assert_finite(subject.evaluate(frames))
        assert _finite_slopes(subject, frames)

    @only_for(not_compressed)
    def test_all_moments_zero(self, subject: Subject) -> None:
        frames = subject.frames[:5]
        frames = replace(frames, moments=0 * frames.moments)
        _assert_finite(subject.evaluate(frames))
        assert _finite_slopes(subject, frames)

    @only_for(not_compressed)
    def test_some_moments_zero(self, subject: Subject) -> None:
        frames = subject.frames[:5]
        moments = frames.moments.copy()
        moments[:, ::2] = 0.0
        frames = replace(frames, moments=moments)
        _assert_finite(subject.evaluate(frames))
        assert _finite_slopes(subject, frames)

    def test_isolated_atom(self, subject: Subject) -> None:
        """Finite and without force, with and without moment."""
        moments = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        frames = _isolated(moments)
        result = subject.evaluate(frames)
        _assert_finite(result)
        np.testing.assert_array_equal(result.force, 0.0)
        np.testing.assert_array_equal(result.virial, 0.0)
        assert abs(result.energy[1] - result.energy[2]) > 1e-4
        if not subject.variant.compressed:
            assert _finite_slopes(subject, frames)

    @requires("spin_rotation")
    def test_isolated_atom_has_no_axis(self, subject: Subject) -> None:
        moments = np.array([[3.0, 0.0, 0.0], [0.0, -3.0, 0.0], [1.0, 2.0, -2.0]])
        energy = subject.evaluate(_isolated(moments)).energy
        expected = np.repeat(energy[:1], 3)
        assert_same(energy, expected, subject.relative, "energy")

    def test_two_atoms_very_close(self, subject: Subject) -> None:
        """As while a structure of random positions is relaxed."""
        distances = np.array([0.5, 0.1, 1e-2, 1e-4])
        positions = np.zeros((len(distances), 2, 3))
        positions[:, 1] = distances[:, None] * np.array([0.48, 0.6, 0.64])
        types = [TYPE_MAP.index(name) for name in ("Mn", "Ni")]
        moments = np.tile([[0.4, 1.0, 3.0], [-1.0, 0.2, 0.3]], (len(distances), 1))
        frames = Frames(
            positions,
            None,
            np.tile(types, (len(distances), 1)),
            moments.reshape(positions.shape),
        )
        _assert_finite(subject.evaluate(frames))
        if not subject.variant.compressed:
            assert _finite_slopes(subject, frames)

    @requires("neighbour_lists")
    def test_position_that_is_no_number(self, subject: Subject) -> None:
        """It shows in the energy of its frame, and in that of no other."""
        frames = subject.frames[:3]
        broken = with_neighbours(frames, subject.cutoff)
        positions = frames.positions.copy()
        positions[1, -1, 2] = np.nan
        clusters = replace(frames, cell=None, positions=positions)
        coord, *_, mapping = broken
        moved = replace(frames, positions=positions)
        coord[1][mapping[1] == positions.shape[1] - 1, 2] = np.nan
        for out in (
            subject.model(*tensors(moved)),
            subject.model(*tensors(clusters)),
            subject.model.forward_lower(*broken[:4]),
        ):
            energy = out["energy"].detach().numpy().ravel()
            assert np.isnan(energy).tolist() == [False, True, False]


def _isolated(moments: Any) -> Frames:
    nf = len(moments)
    types = np.full((nf, 1), TYPE_MAP.index("Mn"))
    return Frames(np.zeros((nf, 1, 3)), None, types, moments[:, None])


def _assert_finite(result: Result) -> None:
    for name, values in vars(result).items():
        assert np.isfinite(values).all(), name


def _finite_slopes(subject: Subject, frames: Frames) -> list[str]:
    """Return parameters with a slope of a loss on E, F and F_m; all are finite."""
    import torch

    model = subject.model
    model.train()
    out = model(*tensors(frames))
    loss = sum(
        (out[name] - 0.1).square().mean() for name in ("energy", "force", "force_mag")
    )
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(
        loss, parameters, allow_unused=True, materialize_grads=True
    )
    model.eval()
    moved = []
    for name, slope in zip(names, found, strict=True):
        assert torch.isfinite(slope).all(), name
        if (slope != 0.0).any():
            moved.append(name)
    return moved
