# SPDX-License-Identifier: LGPL-3.0-or-later
"""Limits: no moments, the cutoff, the tables, single precision, padding."""

import numpy as np
import pytest
import torch


def test_zero_moments_are_stock_dpa1(make_model, frames):
    """Without moments the real rows are those of deepmd-kit's attention-free DPA-1.

    Independent code: the stock descriptor, strip mode, with our weights put into it.
    Its net for the types has a hidden layer more general than ours, so ours is
    brought into it with one hidden layer of the same width.
    """
    from deepmd.pt.model.descriptor.dpa1 import DescrptDPA1
    from deepmd.pt.utils.nlist import extend_input_and_build_neighbor_list

    from spin_dp.descriptors import edge_vectors

    built = make_model(neuron=[6, 12], pair_neuron=[6])
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
    dressing, _ = core.pair(tebd, i.reshape(1, 25), j.reshape(1, 25, 1), zero)
    table = dressing.detach()[0, :, 0]

    frame = frames[0]
    n = len(frame.types)
    coord, atype, _, nlist = extend_input_and_build_neighbor_list(
        torch.tensor(frame.positions).view(1, n, 3),
        torch.tensor(frame.types).view(1, n),
        5.0,
        [100],
        mixed_types=True,
        box=torch.tensor(frame.cell).reshape(1, 9),
    )
    n_max = int((nlist >= 0).sum(-1).max())
    moments = torch.zeros_like(coord)
    ours = built.atomic_model.descriptor(
        edge_vectors(coord, nlist, 5.0), nlist, atype, moments
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


def _pair_energy(model, distance, moment):
    n = 2
    return model(
        torch.tensor([[[0.0, 0.0, 0.0], [distance, 0.0, 0.0]]], dtype=torch.float64),
        torch.tensor([[1, 3]]),
        torch.full((1, n, 3), moment, dtype=torch.float64),
        None,
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_smooth_at_the_cutoff(make_model, compressed):
    """Energy, force and magnetic force reach their limits like the switch does.

    The switch vanishes with the third power of the distance to the cutoff.
    """
    built = make_model()
    if compressed:
        built.enable_compression(5, 0.01, 0.1, -1)
    far = _pair_energy(built, 5.5, 1.3)
    steps = np.array([1e-1, 1e-2, 1e-3])
    gap, force, magnetic = [], [], []
    for step in steps:
        near = _pair_energy(built, 5.0 - step, 1.3)
        gap.append(abs((near["energy"] - far["energy"]).item()))
        force.append(near["force"].abs().max().item())
        magnetic.append((near["force_mag"] - far["force_mag"]).abs().max().item())
    assert gap[0] > 0.0
    assert gap[1] < 5e-3 * gap[0]
    assert force[1] < 5e-2 * force[0]
    assert force[2] < 5e-2 * force[1]
    assert magnetic[1] < 5e-3 * magnetic[0]
    beyond = _pair_energy(built, 5.0 + 1e-9, 1.3)
    assert (beyond["energy"] - far["energy"]).abs().item() == 0.0
    assert beyond["force"].abs().max().item() == 0.0


def test_tables_reproduce_the_nets(make_model, frames, evaluate):
    """Below the 1e-5 eV/Å that compression may cost, by orders."""
    plain, tabulated = make_model(), make_model()
    tabulated.enable_compression(5, 0.01, 0.1, -1)
    for frame in frames:
        a, b = evaluate(plain, frame), evaluate(tabulated, frame)
        assert abs(a.energy - b.energy) < 1e-6
        np.testing.assert_allclose(b.force, a.force, atol=1e-6)
        np.testing.assert_allclose(b.force_mag, a.force_mag, atol=1e-6)
        assert np.abs(b.force - a.force).max() > 0.0


def test_single_precision_nets(make_model, frames, evaluate):
    """Nets in float32 keep six digits of the energy and forces good to 1e-4 eV/Å."""
    double, single = make_model(), make_model(precision="float32")
    with torch.no_grad():
        state = double.atomic_model.descriptor.core.state_dict()
        single.atomic_model.descriptor.core.load_state_dict(state)
    for frame in frames[:5]:
        a, b = evaluate(double, frame), evaluate(single, frame)
        assert abs(a.energy - b.energy) < 1e-5 * abs(a.energy)
        np.testing.assert_allclose(b.force, a.force, atol=1e-4)


def test_scripted_is_eager(model, frames, evaluate):
    scripted = torch.jit.script(model)
    for frame in frames[:5]:
        a, b = evaluate(model, frame), evaluate(scripted, frame)
        np.testing.assert_allclose(b.energy, a.energy, rtol=1e-13)
        np.testing.assert_allclose(b.force, a.force, atol=1e-12)
        np.testing.assert_allclose(b.force_mag, a.force_mag, atol=1e-12)


def test_order_padding_and_skin_of_the_list_do_not_matter(model, frames):
    """LAMMPS lists are unsorted, padded and hold the skin."""
    from deepmd.pt.utils.nlist import extend_input_and_build_neighbor_list

    frame = frames[1]
    n = len(frame.types)
    arguments = (
        torch.tensor(frame.positions).view(1, n, 3),
        torch.tensor(frame.types).view(1, n),
    )
    box = torch.tensor(frame.cell).reshape(1, 9)
    coord, atype, mapping, wide = extend_input_and_build_neighbor_list(
        *arguments, 7.0, [1], mixed_types=True, box=box, cap_neighbors=False
    )
    index = mapping.unsqueeze(-1).expand(-1, -1, 3)
    spin = torch.gather(torch.tensor(frame.moments).view(1, n, 3), 1, index)
    shuffled = wide[:, :, torch.randperm(wide.shape[2])]
    padded = torch.nn.functional.pad(shuffled, [3, 5], value=-1)
    lower = model.forward_lower(coord, atype, spin, padded)
    whole = model(*arguments, torch.tensor(frame.moments).view(1, n, 3), box)
    torch.testing.assert_close(lower["energy"], whole["energy"], rtol=1e-13, atol=0.0)
    torch.testing.assert_close(lower["virial"], whole["virial"], rtol=1e-10, atol=1e-11)
    folded = torch.zeros(1, n, 3, dtype=torch.float64).scatter_add(
        1, index, lower["extended_force"]
    )
    torch.testing.assert_close(folded, whole["force"], rtol=1e-10, atol=1e-11)


def test_atoms_that_are_none_count_nothing(model, frames):
    """Type -1 fills frames of different sizes in one batch."""
    frame = frames[2]
    n = len(frame.types)
    coord = torch.tensor(frame.positions).view(1, n, 3)
    types = torch.tensor(frame.types).view(1, n)
    spin = torch.tensor(frame.moments).view(1, n, 3)
    box = torch.tensor(frame.cell).reshape(1, 9)
    alone = model(coord, types, spin, box)
    filled = model(
        torch.cat([coord, coord[:, :2] + 0.7], 1),
        torch.nn.functional.pad(types, [0, 2], value=-1),
        torch.nn.functional.pad(spin, [0, 0, 0, 2], value=1.0),
        box,
    )
    torch.testing.assert_close(filled["energy"], alone["energy"], rtol=1e-13, atol=0.0)
    torch.testing.assert_close(
        filled["force"][:, :n], alone["force"], rtol=1e-10, atol=1e-11
    )
    assert torch.all(filled["force"][:, n:] == 0.0)
    assert filled["mask"].sum().item() == n


def test_no_atom_in_reach(model):
    """An isolated atom has a finite energy that depends on its moment's size only."""

    def energy(moment):
        out = model(
            torch.zeros(1, 1, 3, dtype=torch.float64),
            torch.tensor([[1]]),
            torch.tensor([[moment]], dtype=torch.float64),
            None,
        )
        assert torch.isfinite(out["energy"]).all()
        assert torch.all(out["force"] == 0.0)
        return out["energy"].item()

    assert abs(energy([3.0, 0.0, 0.0]) - energy([0.0, -3.0, 0.0])) < 1e-12
    assert abs(energy([3.0, 0.0, 0.0]) - energy([0.0, 0.0, 1.0])) > 1e-4
