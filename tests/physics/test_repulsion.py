# SPDX-License-Identifier: LGPL-3.0-or-later
"""The short-range repulsion: against LAMMPS's ZBL, and against sums over pairs."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

from spin_dp.deployment.lower import LowerModel
from spin_dp.errors import ConfigError
from spin_dp.lammps_interface import lammps_command
from spin_dp.model.energy import SpinEnergyModel
from spin_dp.model.repulsion import Repulsion, radii_up_to_data
from spin_dp.threads import process_environment
from tests.conftest import model_params
from tests.physics.contract_subject import (
    TYPE_MAP,
    Frames,
    evaluate,
    random_frames,
    tensors,
    with_neighbours,
)

WIDE: dict[str, Any] = {"inner": 0.8, "outer": 1.25}
SHORTEST = {"Ni-O": 1.59, "Co-O": 1.63, "Mn-O": 1.66, "Li-O": 1.75, "O-O": 1.45}
"""Å, in DFT data of oxides; O-O is that of peroxides."""
SHORTEST |= {"Ni-Ni": 2.5, "Li-Ni": 2.5, "Mn-Mn": 2.5}


def of_pair(term, pair, distances):
    """Return V and V' of a pair of elements, from both halves."""
    first, second = (torch.tensor(TYPE_MAP.index(name)) for name in pair.split("-"))
    distances = torch.as_tensor(distances, dtype=torch.float64)
    direction = torch.tensor([0.48, 0.6, 0.64], dtype=torch.float64)
    edges = distances.view(-1, 1, 1) * direction
    n = len(distances)
    energy, slope = term(edges, first.expand(n), second.expand(n, 1))
    along = (slope[:, 0] * direction).sum(-1)
    return 2.0 * energy[:, 0].numpy(), 2.0 * along.numpy()


def reference(atoms, term):
    """Return the energy of each atom, its half of all pairs, one pair at a time."""
    energies = np.zeros(len(atoms))
    for i, j, r in zip(*neighbor_list("ijd", atoms, float(term.reach())), strict=True):
        names = atoms.symbols[i], atoms.symbols[j]
        z, other = (atomic_numbers[name] for name in names)
        row = TYPE_MAP.index(names[0]) * len(TYPE_MAP) + TYPE_MAP.index(names[1])
        inner, outer = term.table[row, 2:].tolist()
        u = np.clip((r - inner) / (outer - inner), 0.0, 1.0)
        x = r * (z**0.23 + other**0.23) / 0.46850
        phi = 0.18175 * np.exp(-3.1998 * x) + 0.50986 * np.exp(-0.94229 * x)
        phi += 0.28022 * np.exp(-0.4029 * x) + 0.02817 * np.exp(-0.20162 * x)
        switch = 1.0 - 10.0 * u**3 + 15.0 * u**4 - 6.0 * u**5
        energies[i] += 0.5 * 14.399645 * z * other / r * phi * switch
    return energies


@pytest.mark.lammps
def test_below_the_inner_radius_it_is_that_of_lammps(tmp_path):
    """Energies and forces of dimers far apart; `pair_style zbl` is other code."""
    elements, distances = ["Li", "Ni", "O"], [0.2, 0.5, 1.0, 1.5, 2.0]
    lines, number = [], 0
    pairs = [(a, b) for a in range(3) for b in range(a, 3)]
    expected = np.zeros((len(pairs), len(distances), 2))
    term = Repulsion(
        TYPE_MAP, radii={f"{elements[a]}-{elements[b]}": [3.0, 4.0] for a, b in pairs}
    )
    for row, (a, b) in enumerate(pairs):
        expected[row] = np.transpose(
            of_pair(term, f"{elements[a]}-{elements[b]}", distances)
        )
        for column, distance in enumerate(distances):
            for kind, x in ((a, 0.0), (b, distance)):
                number += 1
                place = f"{25 * column + x} {25 * row} 0"
                lines.append(f"{number} {kind + 1} {place}")
    (tmp_path / "data").write_text(
        f"pairs\n\n{number} atoms\n3 atom types\n\n-9 200 xlo xhi\n-9 200 ylo yhi\n"
        "-15 15 zlo zhi\n\nMasses\n\n1 1\n2 1\n3 1\n\nAtoms\n\n"
        + "\n".join(lines)
        + "\n"
    )
    charges = [atomic_numbers[name] for name in elements]
    coefficients = "\n".join(
        f"pair_coeff {a + 1} {b + 1} {charges[a]} {charges[b]}" for a, b in pairs
    )
    (tmp_path / "in.lammps").write_text(
        "units metal\natom_style atomic\nread_data data\npair_style zbl 9.9 10.0\n"
        f"{coefficients}\ncompute e all pe/atom\nrun 0\n"
        "write_dump all custom out id c_e fx modify sort id format float %.12g\n"
    )
    subprocess.run(
        [*lammps_command(), "-in", "in.lammps"],
        cwd=tmp_path,
        env=process_environment(threads=1),
        check=True,
        capture_output=True,
    )
    found = np.loadtxt(tmp_path / "out", skiprows=9).reshape(*expected.shape[:2], 2, 3)
    energy = found[..., 1].sum(-1)  # shifted by its value at 10 Å
    np.testing.assert_allclose(energy, expected[..., 0], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(found[:, :, 0, 2], expected[..., 1], rtol=1e-6)


@pytest.mark.parametrize("pair", ["Ni-O", "O-O", "Li-Mn"])
def test_smooth_at_both_radii(pair):
    """Energy, force and slope of the force have the same limit from both sides."""
    term = Repulsion(TYPE_MAP)
    elements = [TYPE_MAP.index(name) for name in pair.split("-")]
    row = elements[0] * len(TYPE_MAP) + elements[1]
    for radius in term.table[row, 2:].tolist():
        jumps = []
        for step in (1e-3, 1e-4):
            energy, slope = of_pair(term, pair, radius + step * np.arange(-3, 4))
            bends = (
                (slope[2] - slope[0]) / (2 * step),
                (slope[6] - slope[4]) / (2 * step),
            )
            jumps.append(
                [energy[4] - energy[2], slope[4] - slope[2], bends[1] - bends[0]]
            )
        first, second = np.abs(jumps)
        assert np.all(second < 0.2 * first)
    r = np.linspace(0.2, 3.0, 57)
    energy, slope = of_pair(term, pair, r)
    ends = [of_pair(term, pair, r + h)[0] for h in (1e-5, -1e-5)]
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, slope, rtol=1e-7, atol=1e-7)
    outside = r >= term.table[row, 3].item()
    assert np.all(energy[outside] == 0.0)
    assert np.all(slope[outside] == 0.0)
    assert np.all(np.diff(energy[~outside]) < 0.0)


def test_it_reaches_up_to_the_data_and_not_into_them():
    """Covalent radii of ASE: O 0.66, Ni 1.24, Li 1.28 Å."""
    shortest = {"O-O": 1.773, "Ni-Ni": 2.4, "Ni-O": 1.85, "Li-Ni": 3.6}
    radii = radii_up_to_data(shortest)
    assert radii == {"O-O": [0.98, 1.77], "Li-Ni": [1.96, 3.52]}
    assert 0.0 <= 1.4 * (1.28 + 1.24) - radii["Li-Ni"][1] < 0.01
    assert radii_up_to_data({"O-O": 1.45}) == {}  # peroxides
    term, bare = Repulsion(TYPE_MAP, radii=radii), Repulsion(TYPE_MAP)
    assert not np.any(of_pair(term, "O-O", np.linspace(1.773, 5.0, 50)))
    within = np.linspace(0.9, 1.75, 20)
    energy, slope = of_pair(term, "O-O", within)
    assert np.all(energy > of_pair(bare, "O-O", within)[0])
    assert np.all(slope < 0.0)
    for pair in ("Ni-Ni", "Ni-O"):
        expected = of_pair(bare, pair, within)
        np.testing.assert_array_equal(of_pair(term, pair, within), expected)


def test_it_pushes_back_before_contacts_and_leaves_bonds_alone():
    term = Repulsion(TYPE_MAP)
    for pair, distance in SHORTEST.items():
        assert of_pair(term, pair, [distance])[0] < 0.7
        assert of_pair(term, pair, [1.15 * distance])[0] == 0.0
    for pair, distance in (("O-O", 0.9), ("Ni-O", 1.2), ("Li-O", 1.1), ("Li-Ni", 1.6)):
        assert of_pair(term, pair, [distance])[0] > 2.5


@pytest.fixture(scope="module", params=["plain", "compressed", "float32"])
def models(request, make_model):
    """One form of a model with and without the term."""
    found = []
    for section in ({"repulsion": WIDE}, {}):
        made = make_model(section)
        if request.param == "float32":
            params = model_params(precision="float32") | section
            single = SpinEnergyModel.get_model(params).eval()
            single.load_state_dict(made.state_dict())
            single.min_nbor_dist = made.min_nbor_dist
            made = single
        if request.param != "plain":
            made.enable_compression()
        found.append(made)
    return found


def squeezed_frames():
    """Return cells with contacts, one of them with two places without an atom."""
    frames = random_frames(4)
    positions, types = frames.positions.copy(), frames.types.copy()
    positions[1, 1] = positions[1, 4] + [0.3, 0.2, 0.1]
    positions[2, 4] = positions[2, 5] + [0.4, -0.5, 0.4]
    types[3, -2:] = -1
    return Frames(positions, frames.cell, types, frames.moments)


def test_energy_is_that_of_the_nets_and_a_sum_over_pairs(models):
    frames = squeezed_frames()
    got, plain = (evaluate(model, frames) for model in models)
    term = models[0].atomic_model.repulsion
    for number in range(len(frames)):
        present = frames.types[number] >= 0
        atoms = Atoms(
            [TYPE_MAP[t] for t in frames.types[number][present]],
            frames.positions[number][present],
            cell=frames.box[number],
            pbc=True,
        )
        added = (got.atom_energy - plain.atom_energy)[number]
        # Without the term, the same numbers are added up in single precision, too.
        np.testing.assert_allclose(
            added[present], reference(atoms, term), rtol=1e-10, atol=1e-8
        )
        assert np.all(added[~present] == 0.0)
    np.testing.assert_array_equal(got.force_mag, plain.force_mag)
    np.testing.assert_allclose((got.force - plain.force).sum(1), 0.0, atol=1e-7)
    assert (got.force - plain.force)[1].max() > 100.0


def test_list_of_neighbours_and_compiled_function(models):
    frames = squeezed_frames()
    expected = evaluate(models[0], frames)
    arguments = with_neighbours(frames, models[0].get_rcut() + 0.7)
    lower = models[0].forward_lower(*arguments, do_atomic_virial=True)
    energy = lower["energy"].detach().numpy().ravel()
    np.testing.assert_allclose(energy, expected.energy, rtol=1e-6)
    if not models[0].atomic_model.descriptor.compressed:
        return
    got = LowerModel(models[0], fused=False)(*arguments)
    for name, other in (
        ("energy_redu", "energy"),
        ("energy_derv_r", "extended_force"),
        ("energy_derv_c", "extended_virial"),
        ("energy_derv_c_redu", "virial"),
    ):
        wanted = lower[other].detach()
        scale = float(wanted.abs().max())
        torch.testing.assert_close(
            got[name].detach().view(wanted.shape), wanted, rtol=1e-6, atol=1e-6 * scale
        )


@pytest.mark.parametrize("pair", ["Ni-O", "O-O", "Li-O"])
def test_two_atoms_repel_at_last_however_the_nets_are(models, pair):
    """A net is bounded, the repulsion is not."""
    distances = np.array([0.4, 0.2, 0.1, 0.02, 1e-3])
    n = len(distances)
    positions = np.zeros((n, 2, 3))
    positions[:, 1, 0] = distances
    types = np.tile([TYPE_MAP.index(name) for name in pair.split("-")], (n, 1))
    moments = np.zeros((n, 2, 3))
    moments[:, 0, 2] = 1.7
    result = evaluate(models[0], Frames(positions, None, types, moments))
    assert np.all(np.diff(result.energy) > 0.0)
    assert np.all(result.force[1:, 1, 0] > 0.0)


def test_excluded_pairs_and_atoms(make_model):
    frames = squeezed_frames()
    manganese, oxygen = TYPE_MAP.index("Mn"), TYPE_MAP.index("O")
    term = Repulsion(TYPE_MAP, **WIDE)

    def added(**left_out):
        both = [
            make_model({**section, **left_out}) for section in ({"repulsion": WIDE}, {})
        ]
        for compressed in (False, True):
            if compressed:
                for model in both:
                    model.enable_compression()
            got, plain = (evaluate(model, frames) for model in both)
            yield got.atom_energy - plain.atom_energy

    atoms = Atoms(
        [TYPE_MAP[t] for t in frames.types[1]],
        frames.positions[1],
        cell=frames.box[1],
        pbc=True,
    )
    everything = reference(atoms, term)
    no_pair = Repulsion(TYPE_MAP, **WIDE)
    for i, j in ((manganese, oxygen), (oxygen, manganese)):
        no_pair.table[i * len(TYPE_MAP) + j, 3] = 1e-9
        no_pair.table[i * len(TYPE_MAP) + j, 2] = 0.0
    for found in added(pair_exclude_types=[[manganese, oxygen]]):
        np.testing.assert_allclose(found[1], reference(atoms, no_pair), atol=1e-8)
        assert np.abs(found[1] - everything).max() > 1.0
    for found in added(atom_exclude_types=[manganese]):
        kept = np.where(frames.types[1] == manganese, 0.0, everything)
        np.testing.assert_allclose(found[1], kept, atol=1e-8)


def test_bias_is_fitted_to_what_is_left_of_the_energies(make_model, tmp_path):
    """Energies of the term and of free atoms give the energies of free atoms back."""
    from deepmd.utils.path import DPPath

    frames = squeezed_frames()
    model = make_model({"repulsion": WIDE})
    counts = np.array([np.bincount(t[t >= 0], minlength=5) for t in frames.types])
    free = np.array([-1.0, -9.0, -7.0, -6.0, -4.0])
    without = make_model()
    added = evaluate(model, frames).energy - evaluate(without, frames).energy
    assert np.ptp(added) > 100.0
    coord, atype, spin, box = tensors(frames)
    sample = {
        "coord": coord,
        "atype": atype,
        "spin": spin,
        "box": box,
        "energy": torch.tensor(counts @ free + added).view(-1, 1),
        "find_energy": np.float32(1.0),
        "natoms": torch.tensor(np.c_[counts.sum(1), counts.sum(1), counts]),
    }
    atomic = model.atomic_model
    (tmp_path / "stat").mkdir()
    for _ in range(2):  # fitted, then read
        atomic.change_out_bias(
            lambda: [sample], DPPath(str(tmp_path / "stat"), "a"), "set-by-statistic"
        )
        bias = model.get_out_bias().detach().numpy().reshape(5)
        np.testing.assert_allclose(counts @ bias, counts @ free, atol=1e-5)
    names = {path.name for path in (tmp_path / "stat").iterdir()}
    assert names == {atomic.repulsion.fingerprint()}
    assert Repulsion(TYPE_MAP).fingerprint() not in names


def test_other_types_keep_their_radii(make_model):
    radii = {"Ni-O": [0.7, 1.6]}
    model = make_model({"repulsion": {**WIDE, "radii": radii}})
    base = model.atomic_model.repulsion
    frames = random_frames(2)
    before = evaluate(model, frames)
    model.change_type_map(["O", "Ni", "Co", "Mn", "Li", "Fe"])
    types = np.array([4, 3, 2, 1, 0])[frames.types]
    after = evaluate(
        model, Frames(frames.positions, frames.cell, types, frames.moments)
    )
    np.testing.assert_allclose(after.energy, before.energy, rtol=1e-12)
    term = model.atomic_model.repulsion
    assert term.table[1, 2:].tolist() == radii["Ni-O"]
    assert term.table[5, 2:] / Repulsion(["O", "Fe"]).table[1, 2:] == pytest.approx(
        torch.tensor([0.8 / 0.5, 1.25 / 0.9])
    )
    fresh = Repulsion(["O", "Fe"], radii={"Fe-O": [0.5, 1.5]})
    joined = Repulsion(["O"], 0.8, 1.25).for_types(["O", "Fe"], ["O"], fresh)
    assert joined.table[1].tolist() == fresh.table[1].tolist()
    assert joined.table[0].tolist() == base.table[24].tolist()


def test_weights_go_with_the_repulsion_they_were_trained_beside(make_model):
    with_it, without = make_model({"repulsion": WIDE}), make_model()
    with pytest.raises(
        ConfigError, match=r"trained without it, the input asks for one"
    ):
        with_it.load_state_dict(without.state_dict())
    with pytest.raises(ConfigError, match=r"trained with it, the input asks for none"):
        without.load_state_dict(with_it.state_dict())
    other = make_model({"repulsion": {"radii": {"Mn-O": [1.0, 1.7]}}})
    with pytest.raises(ConfigError, match=r"radii of Li-Li of 2.048..3.2 Å"):
        other.load_state_dict(with_it.state_dict())


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"inner": 0.9, "outer": 0.5}, "0 <= inner < outer; got 0.9 and 0.5"),
        ({"inner": -0.1}, "0 <= inner < outer; got -0.1"),
        ({"outer": 3.0}, "largest outer radius, 8.34 Å, must not be beyond the cutoff"),
        ({"radii": {"Ni-O": [1.7, 0.9]}}, "radii of Ni-O must be two numbers"),
        ({"radii": {"Ni-O": [1.7]}}, "expected two radii of a pair"),
        ({"radii": {"NiO": [0.9, 1.7]}}, "expected two radii of a pair"),
        ({"radii": {"Ni-Oo": [0.9, 1.7]}}, "unknown element in repulsion.radii 'Oo'"),
        ({"innner": 0.5}, "did you mean 'inner'"),
    ],
)
def test_settings_that_cannot_be_used(make_model, section, message):
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        make_model({"repulsion": section})


def test_types_without_a_nucleus():
    params = model_params() | {"repulsion": {}}
    params["type_map"] = ["Li", "Mn", "Co", "Ni", "O_w"]
    with pytest.raises(ConfigError, match="type 'O_w' of the type_map is no element"):
        SpinEnergyModel.get_model(params)
