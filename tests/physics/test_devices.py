# SPDX-License-Identifier: LGPL-3.0-or-later
"""On a device that keeps its tensors apart, as a GPU does: same results, few copies."""

import pytest
import torch
from deepmd.pt.utils.nlist import extend_input_and_build_neighbor_list

from spin_dp.deployment.lower import LowerEnergies, LowerModel, LowerMoments
from tests.physics.contract_subject import random_frames, tensors
from tests.physics.pretend_device import DEVICE, PretendDevice, move, numbers_of


def build(make_model, form):
    model = make_model({"moment_net": {"neuron": [8], "seed": 3}})
    if form == "compressed":
        model.enable_compression()
    return model


def lower_arguments(cutoff):
    coord, atype, spin, box = tensors(random_frames()[:2])
    coord, atype, mapping, nlist = extend_input_and_build_neighbor_list(
        coord, atype, cutoff + 1.0, [150], mixed_types=True, box=box
    )
    spin = torch.gather(spin, 1, mapping.unsqueeze(-1).expand(-1, -1, 3))
    return [x.detach() for x in (coord, atype, spin, nlist, mapping)]


def on_device(model, arguments, run):
    """Return the results there, and the device with what it counted meanwhile."""
    with PretendDevice() as device:
        move(model)
        there = [x.to(DEVICE) for x in arguments]
        device.copies.clear()
        device.reads = 0
        return run(*there), device


def assert_same(got, expected):
    assert set(got) == set(expected)
    for name, value in got.items():
        assert value.device.type == DEVICE.type, name
        torch.testing.assert_close(
            numbers_of(value), expected[name].detach(), rtol=1e-9, atol=1e-11
        )


@pytest.mark.parametrize("form", ["plain", "compressed"])
def test_md_step(make_model, form):
    """What LAMMPS asks for: nothing is copied, two numbers are waited for."""
    model = build(make_model, form)
    arguments = lower_arguments(model.get_rcut())
    expected = model.forward_lower(*arguments)
    got, device = on_device(model, arguments, model.forward_lower)
    assert device.copies == []
    assert device.reads <= 2
    assert_same(got, expected)


@pytest.mark.parametrize("function", [LowerModel, LowerEnergies, LowerMoments])
def test_compiled_function(make_model, function):
    """What is compiled where there is a GPU."""
    model = build(make_model, "compressed")
    arguments = list(lower_arguments(model.get_rcut()))
    if function is LowerEnergies:
        spin = arguments[2]
        arguments[2] = torch.stack([spin, -0.5 * spin], dim=1)
    lower = function(model, fused=False)

    def run(*arguments):
        return lower(*arguments[: 5 if function is LowerModel else 4])

    expected = run(*arguments)
    got, device = on_device(lower, arguments, run)
    assert device.copies == []
    assert device.reads <= 1
    assert_same(got, expected)


def test_training_step(make_model):
    """Whole cells, derivatives of derivatives."""
    model = build(make_model, "plain").train()
    arguments = [x.detach() for x in tensors(random_frames()[:2])]

    def gradients(*moved):
        said = model(*moved)
        weights = [p for p in model.parameters() if p.requires_grad]
        loss = sum(said[n].square().sum() for n in ("energy", "force", "force_mag"))
        slopes = torch.autograd.grad(loss, weights, materialize_grads=True)
        return {str(n): x for n, x in enumerate(slopes)}

    expected = gradients(*arguments)
    got, device = on_device(model, arguments, gradients)
    assert device.copies == []
    assert_same(got, expected)


def test_mixtures_are_noticed():
    with PretendDevice() as device:
        there, here = torch.ones(3, device=DEVICE), torch.ones(3)
        with pytest.raises(RuntimeError, match="two devices"):
            there + here
        assert float((2.0 * there).sum()) == 6.0
        assert device.reads == 1
        assert torch.equal(there.cpu(), here)
        there[torch.tensor([0])] = 2.0
        assert len(device.copies) == 2
