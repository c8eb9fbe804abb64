# SPDX-License-Identifier: LGPL-3.0-or-later
"""The descriptor in C++, compiled into a model, against automatic differentiation."""

import json
import logging
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from ase.build import bulk
from deepmd.pt.utils.nlist import extend_input_and_build_neighbor_list

from spin_dp.deployment import compile_model
from spin_dp.inference.kernels import load_kernel
from spin_dp.lammps_interface import step_times
from spin_dp.model_file import ENERGIES, METADATA
from tests.physics.contract_subject import random_frames, tensors

SKIN = 0.8  # Å
NAMES = {
    "energy": "atom_energy",
    "energy_redu": "energy",
    "energy_derv_r": "extended_force",
    "energy_derv_r_mag": "extended_force_mag",
    "energy_derv_c": "extended_virial",
    "energy_derv_c_redu": "virial",
}


def lower_arguments(cutoff):
    """Cells with ghosts, a skin, places without an atom, atoms too close for the table,
    and one frame without moments."""
    frames = random_frames()[:4]
    coord, atype, spin, box = tensors(frames)
    atype[1, -2:] = -1
    spin[2] = 0.0
    spin[3, :3] = 0.0
    with torch.no_grad():
        coord[3, 1] = coord[3, 0] + torch.tensor([0.15, 0.1, 0.05])
    coord, atype, mapping, nlist = extend_input_and_build_neighbor_list(
        coord, atype, cutoff + SKIN, [150], mixed_types=True, box=box
    )
    spin = torch.gather(spin, 1, mapping.unsqueeze(-1).expand(-1, -1, 3))
    return [x.detach().contiguous() for x in (coord, atype, spin, nlist, mapping)]


def as_of_before(compiled, folder):
    """A model compiled when there was no function of energies alone."""
    path = folder / "before.pt2"
    with ZipFile(compiled) as now, ZipFile(path, "w") as before:
        for item in now.infolist():
            content = now.read(item)
            if item.filename == METADATA:
                metadata = json.loads(content)
                assert metadata.pop("has_energies_of_states")
                content = json.dumps(metadata).encode()
            if f"/{ENERGIES}/" not in item.filename:
                before.writestr(item, content)
    return path


def several_states(spin):
    """Moments as they are, of two lengths along z, and of other directions."""
    generator = torch.Generator().manual_seed(2)
    signs = torch.randint(0, 2, spin.shape[:2], generator=generator, dtype=spin.dtype)
    collinear = torch.zeros_like(spin)
    collinear[..., 2] = (2.0 * signs - 1.0) * torch.where(signs > 0.0, 1.2, 3.1)
    turned = torch.randn(spin.shape, generator=generator, dtype=spin.dtype)
    return torch.stack([spin, collinear, -0.5 * collinear, turned], dim=1)


MOMENT_NET = {
    "moment_net": {"neuron": [8], "seed": 3},
    "repulsion": {"inner": 0.8, "outer": 1.25},
    "atom_exclude_types": [0],
    "spin": {"use_spin": ["Mn", "Co", "Ni", "O"]},
}


WIDTHS = {
    "neuron": [4, 9, 18],
    "axis_neuron": 5,
    "spin_neuron": [4, 7],
    "pair_neuron": [17, 5],
    "quad_axis_neuron": 0,
}
"""None that vectors of a processor divide by; models elsewhere have quadrupoles."""


@pytest.mark.slow
def test_compiled_is_forward_lower(make_model, tmp_path):
    """To rounding: the tables are those of the compressed model."""
    model = make_model({"pair_exclude_types": [[1, 4]], **MOMENT_NET}, **WIDTHS)
    path = tmp_path / "model.pth"
    torch.jit.save(torch.jit.script(model), path)
    logger = logging.getLogger("torch.utils.cpp_extension")
    before = logger.level
    compiled = compile_model(path, precision="float64")
    assert logger.level == before
    model.enable_compression()
    coord, atype, spin, nlist, mapping = lower_arguments(model.get_rcut())
    expected = model.forward_lower(
        coord, atype, spin, nlist, mapping, do_atomic_virial=True
    )
    run = torch._inductor.aoti_load_package(str(compiled))
    got = run(coord, atype, spin, nlist, mapping, None, None, None)
    assert set(got) == set(NAMES)
    for name, value in got.items():
        reference = expected[NAMES[name]].detach()
        assert reference.abs().max() > 1e-3
        np.testing.assert_allclose(
            value.view(reference.shape).numpy(),
            reference.numpy(),
            rtol=1e-9,
            atol=1e-9 * float(reference.abs().max()),
            err_msg=name,
        )
    loaded = load_kernel(compiled, "cpu")
    assert loaded is not None
    assert loaded.info.predicts_moments
    energies = loaded.energy(coord, atype, spin, nlist, mapping)
    assert torch.equal(energies["energy"], got["energy_redu"])
    states = several_states(spin)
    each = [
        run(coord, atype, one.contiguous(), nlist, mapping, None, None, None)
        for one in states.unbind(1)
    ]
    expected = torch.stack([one["energy"].squeeze(-1) for one in each], dim=1)
    assert (expected[:, 1:] - expected[:, :1]).abs().amax((0, 2)).min() > 1e-4
    for one in (loaded, load_kernel(as_of_before(compiled, tmp_path), "cpu")):
        assert one is not None
        alone = one.energies(coord, atype, states, nlist, mapping)
        torch.testing.assert_close(alone, expected, rtol=1e-12, atol=1e-12)
    moments = loaded.moments(coord, atype, spin, nlist, mapping)
    reference = model.moments_lower(coord, atype, spin, nlist).detach()
    assert (moments - spin[:, : moments.shape[1]]).abs().max() > 0.1
    torch.testing.assert_close(moments, reference, rtol=1e-9, atol=1e-9)
    # LAMMPS finds its function among the three.
    cell = bulk("NiO", "rocksalt", a=4.2, cubic=True)
    some = np.ones((len(cell), 3))
    assert step_times(cell, some, compiled, tmp_path / "lammps", steps=1)[0] > 0.0
    before_threads = torch.get_num_threads()
    torch.set_num_threads(3)  # each but the first adds up forces by itself
    try:
        shared = run(coord, atype, spin, nlist, mapping, None, None, None)
    finally:
        torch.set_num_threads(before_threads)
    for name, value in shared.items():
        torch.testing.assert_close(value, got[name], rtol=1e-10, atol=1e-10)
    coord[0, 0, 1] = float("nan")
    got = run(coord, atype, spin, nlist, mapping, None, None, None)
    assert torch.isnan(got["energy_redu"]).flatten().tolist() == [True] + 3 * [False]
    alone = loaded.energies(coord, atype, states, nlist, mapping).sum(2)
    assert torch.isnan(alone).any(1).tolist() == [True] + 3 * [False]
    assert torch.isnan(alone).all(1).tolist() == [True] + 3 * [False]
