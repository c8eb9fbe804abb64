# SPDX-License-Identifier: LGPL-3.0-or-later
"""The contract itself: a sound toy model passes it, each broken one fails it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
import torch

from tests.physics.contract import ModelContract
from tests.physics.contract_derivatives import DerivativeContract
from tests.physics.contract_limits import CutoffContract, MomentContract
from tests.physics.contract_subject import Subject, random_frames
from tests.physics.contract_symmetries import SymmetryContract
from tests.physics.toy_model import Atoms, Term, ToyModel, polar

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = (SymmetryContract, DerivativeContract, CutoffContract, MomentContract)
UP = torch.tensor([0.36, 0.48, 0.8], dtype=torch.float64)


def checks() -> dict[str, Callable[[Subject], None]]:
    """Return all checks that need no more than the model's forward."""
    return {
        name.removeprefix("test_"): check
        for part in PARTS
        for name, check in inspect.getmembers(part(), inspect.ismethod)
        if name.startswith("test_")
    }


def failing(model: ToyModel) -> set[str]:
    """Return the checks that a model fails."""
    subject = Subject(model, random_frames(3))
    failed = set()
    for name, check in checks().items():
        try:
            check(subject)
        except AssertionError:
            failed.add(name)
    return failed


# ---- terms of the atomic energies that break a law ------------------------------


def in_crystals(term: Term) -> Term:
    return lambda a: torch.zeros(a.types.shape) if a.cell is None else term(a)


def in_clusters(term: Term) -> Term:
    return lambda a: torch.zeros(a.types.shape) if a.cell is not None else term(a)


def cell(a: Atoms) -> torch.Tensor:
    assert a.cell is not None
    return a.cell


def density(a: Atoms) -> torch.Tensor:
    return a.weight.sum((2, 3))


def square(vectors: torch.Tensor) -> torch.Tensor:
    return vectors.square().sum(-1)


def norm(vectors: torch.Tensor) -> torch.Tensor:
    return (square(vectors) + 1e-30).sqrt()


def spin_chirality(a: Atoms) -> torch.Tensor:
    near, far = a.weight.sum(-1) @ a.moments, a.weight.square().sum(-1) @ a.moments
    return 0.01 * (a.moments * near.cross(far, dim=-1)).sum(-1)


def spin_orbit(a: Atoms) -> torch.Tensor:
    along = torch.einsum("fic,fijkc->fijk", a.moments, a.edges)
    return 0.05 * (a.weight * along.square()).sum((2, 3))


def chirality(a: Atoms) -> torch.Tensor:
    return (polar(a, 1) * polar(a, 2).cross(polar(a, 3), dim=-1)).sum(-1)


def linear_at_cutoff(a: Atoms) -> torch.Tensor:
    inside = a.weight > 0
    return (torch.where(inside, a.weight, 1.0).pow(1 / 3) * inside).sum((2, 3))


BROKEN: dict[str, tuple[Term, set[str]]] = {
    "spin chirality": (spin_chirality, {"reversal_of_all_moments"}),
    "spin-orbit coupling": (
        spin_orbit,
        {
            "rotation_of_the_moments_alone",
            "rotation_of_space_alone",
            "no_torque_on_the_moments_as_a_whole",
            "sums_over_atoms",
        },
    ),
    "easy axis": (
        lambda a: 0.1 * (a.moments @ UP).square(),
        {
            "rotation_of_the_moments_alone",
            "rotation_of_space_with_the_moments",
            "no_torque_on_the_moments_as_a_whole",
        },
    ),
    "field on the moments": (
        lambda a: 0.1 * a.moments @ UP,
        {
            "reversal_of_all_moments",
            "rotation_of_the_moments_alone",
            "rotation_of_space_with_the_moments",
            "no_torque_on_the_moments_as_a_whole",
            "no_magnetic_force_at_zero_moments",
            "no_moments_is_the_limit_of_small_ones",
            "smooth_where_all_moments_vanish",
        },
    ),
    "direction of space": (
        lambda a: (a.weight * (a.edges @ UP).square()).sum((2, 3)),
        {
            "rotation_of_space_alone",
            "rotation_of_space_with_the_moments",
            "sums_over_atoms",
        },
    ),
    "chirality": (chirality, {"inversion_of_space_alone"}),
    "place in the cell": (
        in_crystals(
            lambda a: (2 * torch.pi * a.positions @ cell(a).inverse()).cos().sum(-1)
        ),
        {
            "translation",
            "other_cell_vectors_of_the_lattice",
            "doubled_cell",
            "sums_over_atoms",
        },
    ),
    "image of an atom": (
        in_crystals(lambda a: square(a.positions - a.positions.mean(1, keepdim=True))),
        {"shift_of_atoms_by_lattice_vectors", "doubled_cell"},
    ),
    "order of the atoms": (
        lambda a: torch.arange(a.types.shape[1]) * density(a),
        {"permutation_of_atoms", "doubled_cell"},
    ),
    "lengths of cell vectors": (
        in_crystals(lambda a: norm(cell(a)).sum(1, keepdim=True) * density(a)),
        {"other_cell_vectors_of_the_lattice", "doubled_cell"},
    ),
    "hand of the cell": (
        in_crystals(lambda a: cell(a).det().detach().sign()[:, None] * density(a)),
        {"left_handed_cell", "inversion_of_space_alone"},
    ),
    "not extensive": (
        lambda a: density(a) * density(a).sum(1, keepdim=True),
        {"doubled_cell"},
    ),
    "moments not to be read": (
        lambda a: square(a.all_moments),
        {"moments_of_types_without_spin_are_not_read"},
    ),
    "force jumps at the cutoff": (linear_at_cutoff, {"smooth_at_the_cutoff"}),
    "reaches beyond the cutoff": (
        in_clusters(lambda a: torch.exp(-0.01 * square(a.edges)).sum((2, 3))),
        {"smooth_at_the_cutoff", "nothing_beyond_the_cutoff"},
    ),
    "|m|": (
        lambda a: norm(a.moments),
        {
            "no_moments_is_the_limit_of_small_ones",
            "smooth_where_all_moments_vanish",
            "smooth_where_one_moment_vanishes",
        },
    ),
    "|m|³": (
        lambda a: norm(a.moments) ** 3,
        {"smooth_where_all_moments_vanish", "smooth_where_one_moment_vanishes"},
    ),
}
WRONG: dict[str, set[str]] = {
    "energy": {
        "forces",
        "magnetic_forces",
        "virial_is_the_strain_derivative",
        "sums_over_atoms",
    },
    "force": {"forces"},
    "force_mag": {"magnetic_forces"},
    "virial": {"virial_is_the_strain_derivative", "sums_over_atoms"},
    "atom_energy": {"sums_over_atoms"},
    "atom_virial": {"sums_over_atoms"},
}


def test_a_sound_model_keeps_the_contract():
    assert failing(ToyModel()) == set()


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_law_is_caught(law):
    """By those checks that are about it, and by no other."""
    term, expected = BROKEN[law]
    assert failing(ToyModel(term)) == expected


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_result_is_caught(name):
    assert failing(ToyModel(gain={name: 1.00001})) == WRONG[name]


def test_a_model_that_ignores_moments_is_caught():
    assert "moments_matter" in failing(ToyModel(moments=0.0))


def test_each_check_can_fail():
    caught = set().union(*(names for _, names in BROKEN.values()), *WRONG.values())
    assert caught | {"moments_matter"} == set(checks())


class Coupled(ModelContract):
    spin_rotation = "spin-orbit coupling is described"


def test_a_capability_is_off_with_its_reason():
    rotation = Coupled.test_rotation_of_the_moments_alone
    assert Coupled.skip_reason(rotation) == (
        "Coupled: spin_rotation is off: spin-orbit coupling is described"
    )
    assert Coupled.skip_reason(Coupled.test_translation) is None
    assert ModelContract.skip_reason(rotation) is None


def test_a_capability_is_not_off_without_reason():
    with pytest.raises(TypeError, match="expected True or the reason why not"):
        type("Silent", (ModelContract,), {"spin_rotation": False})
    with pytest.raises(TypeError, match=r"no setting 'spin_rotaton'.*spin_rotation"):
        type("Misspelt", (ModelContract,), {"spin_rotaton": "a reason"})
