# SPDX-License-Identifier: LGPL-3.0-or-later
"""Predicted moments turn with the guess and with nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from deepmd.pt.model.model import get_model

from tests.physics.contract_subject import (
    TYPE_MAP,
    random_frames,
    random_rotations,
    with_neighbours,
)
from tests.physics.contract_subject import tensors as arrays_of
from tests.physics.test_spin_se_e2_a import TestSpinSeE2A as Contract

READ = np.array([name in ("Mn", "Co", "Ni", "O") for name in TYPE_MAP])


def section(**changes):
    return {
        "type": "spin_dp",
        "type_map": list(TYPE_MAP),
        "descriptor": {**Contract.descriptor, "seed": 1},
        "fitting_net": {"neuron": [16, 16], "seed": 2},
        "moment_net": {"neuron": [12], "seed": 3},
        "spin": {"use_spin": ["Mn", "Co", "Ni", "O"]},
        **changes,
    }


@pytest.fixture(scope="module")
def model():
    built = get_model(section())
    Contract._draw(built)
    return built.eval()


@pytest.fixture(scope="module")
def frames():
    return random_frames(8)


def predict(model, frames):
    coord, atype, spin, box = arrays_of(frames)
    return model.predict_moments(coord, atype, spin, box).detach().numpy()


def test_they_turn_with_the_guess(model, frames):
    before = predict(model, frames)
    assert np.abs(before).max() > 0.1
    for turn in (*random_rotations(2), -np.eye(3)):
        turned = replace(frames, moments=frames.moments @ turn.T)
        np.testing.assert_allclose(predict(model, turned), before @ turn.T, atol=1e-11)


def test_they_do_not_turn_with_space(model, frames):
    (turn,) = random_rotations(1)
    moved = replace(
        frames, positions=frames.positions @ turn.T, cell=frames.cell @ turn.T
    )
    before = predict(model, frames)
    np.testing.assert_allclose(predict(model, moved), before, atol=1e-11)


def test_no_guess_no_moment(model, frames):
    assert not predict(model, replace(frames, moments=0 * frames.moments)).any()


def test_only_types_with_spin_have_moments(model, frames):
    moments = predict(model, frames)
    assert not moments[~READ[frames.types]].any()
    # A site without a guess takes what its neighbours induce.
    oxygen = frames.types == TYPE_MAP.index("O")
    bare = np.where(oxygen[..., None], 0.0, frames.moments)
    induced = predict(model, replace(frames, moments=bare))[oxygen]
    assert np.abs(induced).max() > 1e-3


def test_collinear_stays_collinear(model, frames):
    along_z = frames.moments * [0.0, 0.0, 1.0]
    moments = predict(model, replace(frames, moments=along_z))
    assert not moments[..., :2].any()
    assert moments[..., 2].any()


def test_other_forms_say_the_same(model, frames):
    before = predict(model, frames)
    scripted = torch.jit.script(model)
    assert scripted.predicts_moments()
    np.testing.assert_allclose(predict(scripted, frames), before, atol=1e-12)
    rebuilt = type(model).deserialize(model.serialize())
    np.testing.assert_array_equal(predict(rebuilt, frames), before)
    tabulated = type(model).deserialize(model.serialize())
    tabulated.min_nbor_dist = tabulated.min_nbor_dist.new_tensor(1.5)
    tabulated.enable_compression(5, 0.01, 0.1, -1)
    np.testing.assert_allclose(predict(tabulated, frames), before, atol=1e-8)


def test_the_same_with_a_list_of_neighbours(model, frames):
    """Of frozen and compressed models; ghosts, a skin, neighbours beyond the cutoff."""
    coord, atype, spin, nlist, _ = with_neighbours(frames, model.get_rcut() + 1.0)
    assert coord.shape[1] > frames.types.shape[1]
    expected = predict(model, frames)
    tabulated = type(model).deserialize(model.serialize())
    tabulated.min_nbor_dist = tabulated.min_nbor_dist.new_tensor(1.5)
    tabulated.enable_compression(5, 0.01, 0.1, -1)
    for form, tolerance in ((model, 1e-12), (tabulated, 1e-8)):
        script = torch.jit.script(form)
        found = script.moments_lower(coord, atype, spin, nlist).detach().numpy()
        np.testing.assert_allclose(found, expected, atol=tolerance)


def test_energies_do_not_depend_on_it(model, frames):
    coord, atype, spin, box = arrays_of(frames)
    bare = get_model({k: v for k, v in section().items() if k != "moment_net"})
    assert not bare.predicts_moments()
    state = {k: v for k, v in model.state_dict().items() if "moment_net" not in k}
    bare.load_state_dict(state)
    bare.eval()
    energies = [m(coord, atype, spin, box)["energy"] for m in (bare, model)]
    assert torch.equal(*energies)
    with pytest.raises(RuntimeError, match="no moment net"):
        bare.predict_moments(coord, atype, spin, box)


def test_gradients_reach_the_moment_net_only(model, frames):
    coord, atype, spin, box = arrays_of(frames)
    model.zero_grad()
    model.predict_moments(coord, atype, spin, box).square().sum().backward()
    touched = {n for n, p in model.named_parameters() if p.grad is not None}
    assert touched == {n for n, _ in model.named_parameters() if "moment_net" in n}


@pytest.mark.parametrize("excluded", [[], [[4, 1], [4, 2], [4, 3]]])
def test_training_predicts_them_in_passing(frames, excluded):
    """The same moments, energies and gradients as one after the other.

    Places without an atom do not disturb: the last atoms are none.
    """
    built = get_model(section(pair_exclude_types=excluded))
    Contract._draw(built)
    built.train()
    coord, atype, spin, box = arrays_of(frames)
    atype[:, -2:] = -1
    guess = spin.flip(1) * (atype >= 0).unsqueeze(-1)

    def gradients(passing: bool) -> list[torch.Tensor]:
        built.zero_grad()
        together = built(coord, atype, spin, box, guess=guess if passing else None)
        if passing:
            moments = together["moments"]
        else:
            moments = built.predict_moments(coord, atype, guess, box)
        loss = together["force"].square().sum() + moments.square().sum()
        (loss + together["energy"].sum()).backward()
        found = [p.grad for p in built.parameters() if p.grad is not None]
        return [moments.detach(), together["energy"].detach(), *found]

    for one, other in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_excluded_pairs_induce_no_moment(frames):
    """Where no metal is seen from oxygen, a guess on metals gives it none."""
    oxygen = TYPE_MAP.index("O")
    metals = [TYPE_MAP.index(name) for name in ("Mn", "Co", "Ni")]
    pairs = [[oxygen, metal] for metal in metals]
    built = get_model(section(pair_exclude_types=pairs)).eval()
    is_oxygen = (frames.types == oxygen)[..., None]
    bare = replace(frames, moments=np.where(is_oxygen, 0.0, frames.moments))
    assert predict(get_model(section()).eval(), bare)[is_oxygen[..., 0]].any()
    assert not predict(built, bare)[is_oxygen[..., 0]].any()
