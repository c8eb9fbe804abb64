# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tables and slopes by hand, against automatic differentiation of what they replace."""

import dataclasses

import numpy as np
import pytest
import torch
from deepmd.pt.utils.nlist import extend_input_and_build_neighbor_list

from spin_dp.deployment.lower import LowerEnergies, LowerModel, LowerMoments
from spin_dp.descriptors import (
    CompressedSpinDescriptor,
    SpinDescriptor,
    SpinDescriptorConfig,
    quadrupole,
    radial_weight,
    smooth_switch,
)
from spin_dp.descriptors.angular import quadrupole_slope
from spin_dp.descriptors.radial import smooth_switch_slope
from spin_dp.descriptors.table import RadialTable
from spin_dp.errors import ConfigError
from tests.physics.contract_subject import evaluate, random_frames, tensors

INNER, SWITCH, CUTOFF = 0.8, 2.0, 5.0


def slope_of(function, x):
    x = x.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(function(x).sum(), x)
    return slope


def channels(weight):
    return torch.cat([torch.tanh(3.0 * weight), weight**2, torch.cos(weight)], dim=-1)


def make_table(stride, dtype=torch.float64):
    return RadialTable(channels, INNER, SWITCH, CUTOFF, stride, dtype)


def table_errors(stride, dtype=torch.float64):
    """Return the largest errors of values and slopes."""
    distance = torch.linspace(INNER, CUTOFF, 997, dtype=torch.float64)
    values, slopes = make_table(stride, dtype)(distance.to(dtype))

    def function(x):
        return channels(radial_weight(x.unsqueeze(-1), SWITCH, CUTOFF))

    expected = [slope_of(lambda x, n=n: function(x)[:, n], distance) for n in range(3)]
    return (
        float((values.double() - function(distance)).abs().max()),
        float((slopes.double() - torch.stack(expected, -1)).abs().max()),
    )


def test_table_is_of_sixth_order():
    coarse, fine = table_errors(0.1), table_errors(0.05)
    assert coarse[0] / fine[0] == pytest.approx(2.0**6, rel=0.3)
    assert coarse[1] / fine[1] == pytest.approx(2.0**5, rel=0.3)
    assert max(table_errors(0.02)) < 1e-8


def test_table_in_single_precision():
    """A slope loses no more digits than its value."""
    value, slope = table_errors(0.05, torch.float32)
    assert value < 1e-6
    assert slope < 3e-6


def test_table_slope_is_that_of_the_table():
    """So that forces conserve the energy however coarse the table is."""
    table = make_table(0.5)
    distance = torch.linspace(0.3, 4.99, 97, dtype=torch.float64)
    for number in range(3):
        slope = slope_of(lambda x, n=number: table(x)[0][:, n], distance)
        torch.testing.assert_close(table(distance)[1][:, number], slope)


def test_table_is_constant_beyond_the_cutoff():
    values, _ = make_table(0.05)(torch.tensor([CUTOFF, 7.0, 1e3], dtype=torch.float64))
    torch.testing.assert_close(values, values[:1].expand(3, -1), rtol=0, atol=0)
    assert values[0].tolist() == pytest.approx([0.0, 0.0, 1.0], abs=1e-12)


def test_slopes_of_switch_and_quadrupole():
    distance = torch.linspace(1.0, 6.0, 101, dtype=torch.float64)
    expected = slope_of(lambda x: smooth_switch(x, SWITCH, CUTOFF), distance)
    torch.testing.assert_close(smooth_switch_slope(distance, SWITCH, CUTOFF), expected)
    vectors = torch.randn(4, 3, 7, dtype=torch.float64)
    weights = torch.randn(4, 5, 7, dtype=torch.float64)
    expected = slope_of(lambda u: weights * quadrupole(u, dim=1), vectors)
    torch.testing.assert_close(quadrupole_slope(vectors, weights), expected)


@pytest.mark.parametrize("quad_axis", [0, 3])
@pytest.mark.parametrize("pair_neuron", [(7,), (7, 5)])
def test_sums_and_slopes_by_hand(quad_axis, pair_neuron):
    """A nonlinear function of all features, differentiated both ways."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    config = SpinDescriptorConfig(
        rcut=CUTOFF,
        rcut_smth=SWITCH,
        quad_axis_neuron=quad_axis,
        pair_neuron=pair_neuron,
        seed=5,
    )
    plain = SpinDescriptor(config, [False, True, True])
    plain.set_statistics(
        radial=0.2, angular=0.1, n_neighbours=9.0, moments=[0.0, 3.0, 0.5]
    )
    compressed = CompressedSpinDescriptor(plain, inner=INNER, stride=0.01)
    n, k = 5, 9
    edges = torch.nn.functional.normalize(normal(n, k, 3), dim=-1)
    length = 1.0 + 4.5 * torch.rand(n, k, 1, dtype=torch.float64, generator=generator)
    edges = (edges * length).requires_grad_(True)
    moments_i, moments_ij = normal(n, 3), normal(n, k, 3)
    moments_i.requires_grad_(True)
    moments_ij.requires_grad_(True)
    types = torch.randint(3, (n, k + 1), generator=generator)
    type_i, type_ij = types[:, 0], types[:, 1:]
    arguments = (edges, type_i, type_ij, moments_i, moments_ij)
    features, vectors = plain(*(a.unsqueeze(0) for a in arguments))
    weights = normal(features.shape[-1])
    expected = torch.autograd.grad(
        (torch.sin(features) @ weights).sum(), [edges, moments_i, moments_ij]
    )

    with torch.no_grad():
        found = compressed.sum_neighbours(*arguments)
    sums = found.sums.requires_grad_(True)
    own = found.moments_i.requires_grad_(True)
    again, vectors_again = compressed.contract(sums, type_i, own)
    torch.testing.assert_close(again, features[0], rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(vectors_again, vectors[0], rtol=1e-8, atol=1e-10)
    by_sums, by_own = torch.autograd.grad(
        (torch.sin(again) @ weights).sum(), [sums, own]
    )
    edge_slope, own_slope, other_slope = compressed.slopes(found, by_sums)
    got = (edge_slope.transpose(1, 2), own_slope + by_own, other_slope.transpose(1, 2))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@pytest.fixture
def compressed(make_model):
    model = make_model()
    model.enable_compression()
    return model


def test_size_of_blocks_does_not_matter(compressed):
    frames = random_frames()[:5]
    types = frames.types.copy()
    types[1, -3:] = -1  # one frame is smaller
    frames = dataclasses.replace(frames, types=types)
    expected = evaluate(compressed, frames)
    core = compressed.atomic_model.descriptor.core
    for size in (1, 7, 10_000):
        core.block_on_cpu = size
        got = evaluate(compressed, frames)
        for field in dataclasses.fields(expected):
            np.testing.assert_allclose(
                getattr(got, field.name),
                getattr(expected, field.name),
                rtol=1e-11,
                atol=1e-11,
                err_msg=f"{field.name} in blocks of {size}",
            )


def test_compiled_functions_are_those_of_the_model(make_model):
    """What the compiler gets, on cells with ghosts, places without an atom, a skin."""
    net = {"neuron": [8], "seed": 3}
    model = make_model({"pair_exclude_types": [[1, 4]], "moment_net": net})
    model.enable_compression()
    frames = random_frames()[:3]
    coord, atype, spin, box = tensors(frames)
    atype[1, -2:] = -1
    coord, atype, mapping, nlist = extend_input_and_build_neighbor_list(
        coord, atype, 5.8, [150], mixed_types=True, box=box
    )
    spin = torch.gather(spin, 1, mapping.unsqueeze(-1).expand(-1, -1, 3))
    expected = model.forward_lower(
        coord, atype, spin, nlist, mapping, do_atomic_virial=True
    )
    got = LowerModel(model, fused=False)(coord, atype, spin, nlist, mapping)
    names = {
        "energy": "atom_energy",
        "energy_redu": "energy",
        "energy_derv_r": "extended_force",
        "energy_derv_r_mag": "extended_force_mag",
        "energy_derv_c": "extended_virial",
        "energy_derv_c_redu": "virial",
    }
    assert set(got) == set(names)
    for name, value in got.items():
        reference = expected[names[name]].detach()
        assert reference.abs().max() > 0.01
        torch.testing.assert_close(
            value.detach().view(reference.shape), reference, rtol=1e-9, atol=1e-11
        )
    states = torch.stack([spin, 0.5 * spin], dim=1)
    lower = LowerEnergies(model, fused=False)
    energies = lower(coord, atype, states, nlist)["energy"]
    halved = model.forward_lower(coord, atype, states[:, 1], nlist, mapping)
    for state, reference in enumerate((expected, halved)):
        torch.testing.assert_close(
            energies[:, state, :, None],
            reference["atom_energy"],
            rtol=1e-9,
            atol=1e-11,
        )
    (moments,) = LowerMoments(model, fused=False)(coord, atype, spin, nlist).values()
    predicted = model.moments_lower(coord, atype, spin, nlist)
    assert (predicted - spin[:, : predicted.shape[1]]).abs().max() > 0.1
    torch.testing.assert_close(moments, predicted, rtol=1e-9, atol=1e-11)


def test_parameters_of_frames_and_atoms(make_model):
    """What the fitting net reads besides the features goes with the right atoms."""
    net = {"type": "ener", "neuron": [16, 16], "numb_fparam": 2, "numb_aparam": 1}
    model = make_model({"fitting_net": {**net, "seed": 2}})
    frames = random_frames()[:3]
    nf, n = frames.types.shape
    coord, atype, spin, box = tensors(frames)
    generator = torch.Generator().manual_seed(1)
    fparam = torch.randn(nf, 2, dtype=torch.float64, generator=generator)
    aparam = torch.randn(nf, n, 1, dtype=torch.float64, generator=generator)
    expected = model(coord, atype, spin, box, fparam, aparam)
    model.enable_compression()
    model.atomic_model.descriptor.core.block_on_cpu = 5
    got = model(coord, atype, spin, box, fparam, aparam)
    other = model(coord, atype, spin, box, fparam + 0.1, aparam)
    for name in ("energy", "force", "force_mag", "virial"):
        torch.testing.assert_close(
            got[name], expected[name].detach(), rtol=1e-8, atol=1e-8
        )
        assert not torch.allclose(got[name], other[name], rtol=1e-6, atol=1e-6)


def test_compressed_once_only(compressed):
    with pytest.raises(ConfigError, match="compressed already"):
        compressed.enable_compression()
