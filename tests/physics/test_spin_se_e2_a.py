# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin_se_e2_a`` keeps the contract; without moments it is stock DPA-1."""

from typing import ClassVar

import torch

from spin_dp.descriptors import SpinDescriptor, SpinDescriptorConfig, quadrupole
from tests.physics.contract import ModelContract
from tests.physics.contract_subject import Variant, random_frames, tensors


class TestSpinSeE2A(ModelContract):
    descriptor: ClassVar = {
        "type": "spin_se_e2_a",
        "rcut": 5.0,
        "rcut_smth": 1.0,
        "sel": 60,
        "neuron": [6, 12],
        "axis_neuron": 4,
        "spin_neuron": [4, 8],
        "spin_axis_neuron": 4,
        "quad_neuron": [4, 6],
        "quad_axis_neuron": 3,
        "pair_neuron": [10],
        "tebd_dim": 4,
    }
    variants: ClassVar = {
        "wide": Variant(
            {
                "neuron": [8, 16, 32],
                "axis_neuron": 8,
                "spin_neuron": [8, 16],
                "spin_axis_neuron": 8,
                "pair_neuron": [16],
                "tebd_dim": 8,
            }
        ),
        "deep": Variant({"pair_neuron": [10, 6]}),
        "no_quadrupoles": Variant({"quad_axis_neuron": 0}),
        "deep_compressed": Variant({"pair_neuron": [10, 6]}, compressed=True),
        "no_quadrupoles_compressed": Variant({"quad_axis_neuron": 0}, compressed=True),
    }
    spin_parameters = (
        "*.core.spin_radial.*",
        "*.core.on_site",
        "*.core.pair.heads.1.*",
    )


def test_quadrupoles_are_the_second_legendre_polynomial():
    """Independent: P2 of the cosine between two directions."""
    vectors = torch.randn(2, 50, 3, dtype=torch.float64)
    a, b = torch.nn.functional.normalize(vectors, dim=-1)
    cosine = (a * b).sum(-1)
    torch.testing.assert_close(
        (quadrupole(a) * quadrupole(b)).sum(-1), 1.5 * cosine**2 - 0.5
    )


def test_scaled_moments_are_bounded():
    """At μ root mean squares μ/√(1 + μ²/2); nothing where a type has no spin."""
    net = SpinDescriptor(SpinDescriptorConfig(seed=1), [False, True, True])
    net.set_statistics(
        radial=1.0, angular=1.0, n_neighbours=1.0, moments=[2.0, 4.0, 0.0]
    )
    # 1e-6, 1, 2 and 1e6 times 4 μB; then a type without moments in the data: 1 μB.
    lengths = torch.tensor([5.0, 4e-6, 4.0, 8.0, 4e6, 2.0], dtype=torch.float64)
    types = torch.tensor([0, 1, 1, 1, 1, 2])
    axis = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3.0
    scaled = net.scaled_moments(lengths[:, None] * axis, types)
    expected = torch.tensor(
        [0.0, 1e-6, (2 / 3) ** 0.5, (4 / 3) ** 0.5, 2**0.5, (4 / 3) ** 0.5],
        dtype=torch.float64,
    )
    torch.testing.assert_close(scaled, expected[:, None] * axis, rtol=1e-11, atol=0.0)


def test_zero_moments_are_stock_dpa1(make_model):
    """Without moments the real rows are those of deepmd-kit's attention-free DPA-1.

    Independent code: the stock descriptor, strip mode, with our weights put into it.
    Its net for the types has a hidden layer more general than ours, so ours is
    brought into it with one hidden layer of the same width.
    """
    from deepmd.pt.model.descriptor.dpa1 import DescrptDPA1
    from deepmd.pt.utils.nlist import extend_input_and_build_neighbor_list

    from spin_dp.descriptors import edge_vectors

    built = make_model(neuron=[6, 12], pair_neuron=[6], quad_axis_neuron=0)
    core = built.atomic_model.descriptor.core
    stock = DescrptDPA1(
        rcut=5.0,
        rcut_smth=1.0,
        sel=60,
        ntypes=5,
        neuron=[6, 12],
        axis_neuron=4,
        tebd_dim=4,
        tebd_input_mode="strip",
        attn_layer=0,
        smooth_type_embedding=False,
        set_davg_zero=True,
        concat_output_tebd=False,
        precision="float64",
    )
    with torch.no_grad():
        block = stock.se_atten
        block.mean[...] = 0.0
        block.stddev[...] = 1.0 / core.row_scale
        layers = block.filter_layers.networks[0].layers
        for ours, theirs in zip(core.radial.layers, layers, strict=True):
            theirs.matrix[...] = ours.weight.t()
            theirs.bias[...] = ours.bias
    # The type part g(e_i, e_j, 0) as a table of all pairs, put in for the strip net.
    tebd = core.tebd.detach()
    zero = torch.zeros(1, 25, 1, 3, dtype=torch.float64)
    i, j = torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij")
    dressing, *_ = core.pair(tebd, i.reshape(1, 25), j.reshape(1, 25, 1), zero)
    table = dressing.detach()[0, :, 0]

    positions, types, _, box = tensors(random_frames(1))
    n = types.shape[1]
    coord, atype, _, nlist = extend_input_and_build_neighbor_list(
        positions, types, 5.0, [100], mixed_types=True, box=box
    )
    n_max = int((nlist >= 0).sum(-1).max())
    moments = torch.zeros_like(coord)
    (ours, _), *_ = built.atomic_model.descriptor(
        edge_vectors(coord, nlist, 5.0), nlist, atype, [moments]
    )
    expected = _stock_rows(stock, coord, atype, nlist, table)
    n_real = 12 * 4
    scale = core.n_neighbours.item() ** 2
    torch.testing.assert_close(
        ours[..., :n_real] * scale, expected.view(1, n, n_real), rtol=1e-10, atol=1e-12
    )
    spin_part = ours[..., n_real : n_real + 8 * 4 + 1]
    assert torch.all(spin_part == 0.0)
    assert n_max > 20


def _stock_rows(stock, coord, atype, nlist, table):
    """The stock block's environment matrix and radial net, contracted by hand."""
    from deepmd.pt.model.descriptor.env_mat import prod_env_mat

    block = stock.se_atten
    nloc, nnei = nlist.shape[1:]
    mean = torch.zeros(5, nnei, 4, dtype=torch.float64)
    std = block.stddev[:, :1].expand(-1, nnei, -1)
    rows, _, _ = prod_env_mat(
        coord, nlist, atype[:, :nloc], mean, std, block.rcut, block.rcut_smth
    )
    radial = block.filter_layers.networks[0](rows.view(nloc, nnei, 4)[:, :, :1])
    type_j = atype.view(-1)[nlist.clamp(min=0)]
    pair = atype[:, :nloc, None] * 5 + type_j
    dressed = radial * (1.0 + table[pair].view(nloc, nnei, -1))
    summed = dressed.transpose(1, 2) @ rows.view(nloc, nnei, 4)
    return summed @ summed[:, :4].transpose(1, 2)
