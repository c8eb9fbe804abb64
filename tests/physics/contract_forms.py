# SPDX-License-Identifier: LGPL-3.0-or-later
"""One model, many forms: scripted, tabulated, rounded, stored, batched, in LAMMPS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.physics.contract_subject import (
    Frames,
    Result,
    assert_results,
    evaluate,
    not_compressed,
    only_for,
    requires,
    tensors,
    with_neighbours,
)

if TYPE_CHECKING:
    from tests.physics.contract_subject import Subject

TABULATED = 1e-8  # eV, eV/Å, eV/μB; compression may cost 1e-5 eV/Å
ROUNDED_ENERGY = 1e-5  # of the energy: a digit less than float32 has
ROUNDED_FORCE = 1e-4  # eV/Å and eV/μB, of forces of some eV/Å
SKIN = 2.0  # Å


class FormContract:
    """Whatever form the model takes, it says the same."""

    @requires("scriptable")
    def test_scripted_is_eager(self, subject: Subject) -> None:
        """Thrice: TorchScript specialises its code after the first call."""
        import torch

        script: Any = torch.jit.script
        scripted = script(subject.model)
        some = subject.frames[:5]
        for _ in range(3):
            assert_results(
                evaluate(scripted, some), _first(subject.result, 5), subject.relative
            )
        lower = with_neighbours(some, subject.cutoff)
        expected = subject.model.forward_lower(*lower)
        for name, value in scripted.forward_lower(*lower).items():
            torch.testing.assert_close(
                value.detach(),
                expected[name].detach(),
                rtol=subject.relative,
                atol=subject.relative,
            )

    @requires("compressible")
    @only_for(lambda v: v.compressed and v.precision == "float64")
    def test_compressed_is_plain(self, subject: Subject) -> None:
        plain, result = (
            evaluate(subject.twin(compressed=False), subject.frames),
            subject.result,
        )
        for name in ("energy", "force", "force_mag"):
            np.testing.assert_allclose(
                getattr(result, name), getattr(plain, name), rtol=0, atol=TABULATED
            )
        assert np.abs(result.force - plain.force).max() > 0.0

    @requires("single_precision")
    @only_for(lambda variant: variant.precision == "float32")
    def test_single_precision(self, subject: Subject) -> None:
        double = evaluate(subject.twin(precision="float64"), subject.frames)
        result = subject.result
        np.testing.assert_allclose(result.energy, double.energy, rtol=ROUNDED_ENERGY)
        for name in ("force", "force_mag"):
            np.testing.assert_allclose(
                getattr(result, name), getattr(double, name), rtol=0, atol=ROUNDED_FORCE
            )
        assert np.abs(result.force - double.force).max() > 0.0

    @requires("serializable")
    @only_for(not_compressed)
    def test_serialized_is_the_model(self, subject: Subject) -> None:
        from deepmd.pt.model.model.model import BaseModel

        again = BaseModel.deserialize(subject.model.serialize())
        again.eval()
        assert type(again) is type(subject.model)
        assert again.get_use_spin() == list(subject.reads_moment)
        assert_results(evaluate(again, subject.frames), subject.result, 1e-14)

    def test_batch_is_frames_one_by_one(self, subject: Subject) -> None:
        for number in range(5):
            alone = subject.evaluate(subject.frames[[number]])
            assert_results(
                alone,
                Result(**{k: v[[number]] for k, v in vars(subject.result).items()}),
                subject.relative,
            )

    @requires("neighbour_lists")
    def test_order_padding_and_skin_of_the_list_do_not_matter(
        self, subject: Subject
    ) -> None:
        """LAMMPS lists are unsorted, padded and hold the skin."""
        import torch

        some, result = subject.frames[:5], _first(subject.result, 5)
        coord, atype, spin, nlist, mapping = with_neighbours(
            some, subject.cutoff + SKIN
        )
        assert (_distances(coord, nlist) > subject.cutoff + 0.5 * SKIN).any()
        noise = torch.rand(nlist.shape, generator=torch.Generator().manual_seed(7))
        shuffled = torch.gather(nlist, 2, noise.argsort(-1))
        padded = torch.nn.functional.pad(shuffled, [3, 5], value=-1)
        lower = subject.model.forward_lower(
            coord, atype, spin, padded, do_atomic_virial=True
        )
        assert_results(_folded(lower, mapping, some), result, subject.relative)

    def test_atomic_virials_are_those_of_the_host(self, subject: Subject) -> None:
        """Same share per atom as deepmd-kit's construction from atomic energies."""
        import torch
        from deepmd.pt.model.model.transform_output import atomic_virial_corr

        from spin_dp.descriptors import edge_vectors

        coord, atype, spin, nlist, _ = with_neighbours(
            subject.frames[:1], subject.cutoff
        )
        leaf = coord.clone().requires_grad_(True)
        edges = edge_vectors(leaf, nlist, subject.cutoff)
        energy = subject.model.atomic_model(edges, nlist, atype, spin)["energy"]
        (slope,) = torch.autograd.grad(energy.sum(), leaf, retain_graph=True)
        # The host: force ⊗ position, plus the share of the other atoms.
        expected = torch.einsum("fik,fij->fikj", -slope, leaf)
        expected = (expected + atomic_virial_corr(leaf, energy)).detach()
        got = subject.model.forward_lower(
            coord, atype, spin, nlist, do_atomic_virial=True
        )["extended_virial"]
        torch.testing.assert_close(
            got.view(expected.shape),
            expected,
            rtol=0,
            atol=10 * subject.relative * float(expected.abs().max()),
        )

    def test_atoms_that_are_none_count_nothing(self, subject: Subject) -> None:
        """Type -1 fills frames of different sizes in one batch."""
        import torch

        frames, result = subject.frames, subject.result
        n = frames.types.shape[1]
        filled = Frames(
            np.concatenate([frames.positions, frames.positions[:, :2] + 0.7], 1),
            frames.cell,
            np.pad(frames.types, [(0, 0), (0, 2)], constant_values=-1),
            np.pad(frames.moments, [(0, 0), (0, 2), (0, 0)], constant_values=1.0),
        )
        with_none = subject.evaluate(filled)
        for name in ("atom_energy", "force", "force_mag", "atom_virial"):
            np.testing.assert_array_equal(getattr(with_none, name)[:, n:], 0.0)
        cut = {
            name: value if name in ("energy", "virial") else value[:, :n]
            for name, value in vars(with_none).items()
        }
        assert_results(Result(**cut), result, subject.relative)
        mask = subject.model(*tensors(filled))["mask"]
        assert torch.all(mask.sum(1) == n)


def _first(result: Result, number: int) -> Result:
    return Result(**{k: v[:number] for k, v in vars(result).items()})


def _distances(coord: Any, nlist: Any) -> Any:
    """Return distances of all pairs in the lists, 0 where empty."""
    row = np.arange(len(nlist))[:, None, None]
    found = coord[row, nlist.clamp(min=0)] - coord[:, : nlist.shape[1], None]
    return found.norm(dim=-1) * (nlist >= 0)


def _folded(lower: dict[str, Any], mapping: Any, frames: Frames) -> Result:
    """Return the result with what stands at images added to their atoms."""
    nf, n = frames.types.shape

    def fold(name: str, *shape: int) -> Any:
        value = lower[name].detach().numpy().reshape(nf, -1, *shape)
        total = np.zeros((nf, n, *shape))
        np.add.at(total, (np.arange(nf)[:, None], mapping.numpy()), value)
        return total

    return Result(
        energy=lower["energy"].detach().numpy().reshape(nf),
        atom_energy=lower["atom_energy"].detach().numpy().reshape(nf, n),
        force=fold("extended_force", 3),
        force_mag=fold("extended_force_mag", 3),
        virial=lower["virial"].detach().numpy().reshape(nf, 3, 3),
        atom_virial=fold("extended_virial", 3, 3),
    )
