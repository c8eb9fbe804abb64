# SPDX-License-Identifier: LGPL-3.0-or-later
"""Each derivative against central differences of the energy."""

import numpy as np
import pytest

STEP = 1e-3
# Error of a central difference is O(h²): here (1e-3)² times a third derivative of
# up to some 10 eV/Å³, halved twice by the fourth-order stencil below.
ABSOLUTE = 2e-8


@pytest.fixture(scope="module", params=["plain", "tabulated"])
def any_model(request, make_model):
    built = make_model()
    if request.param == "tabulated":
        built.enable_compression(5, 0.01, 0.1, -1)
    return built


def slope(energy, step=STEP):
    """Fourth-order central difference of a function of one number at zero."""
    return (
        8 * (energy(step) - energy(-step)) - (energy(2 * step) - energy(-2 * step))
    ) / (12 * step)


def test_forces(any_model, frames, evaluate, change):
    for frame in frames[:3]:
        result = evaluate(any_model, frame)
        for atom, axis in [(0, 0), (2, 1), (5, 2), (7, 0)]:

            def energy(h, frame=frame, atom=atom, axis=axis):
                moved = frame.positions.copy()
                moved[atom, axis] += h
                return evaluate(any_model, change(frame, positions=moved)).energy

            assert abs(result.force[atom, axis] + slope(energy)) < ABSOLUTE


def test_magnetic_forces(any_model, frames, evaluate, change):
    for frame in frames[:3]:
        result = evaluate(any_model, frame)
        assert np.abs(result.force_mag).max() > 1e-3
        for atom in range(len(frame.types)):
            for axis in range(3):

                def energy(h, frame=frame, atom=atom, axis=axis):
                    turned = frame.moments.copy()
                    turned[atom, axis] += h
                    return evaluate(any_model, change(frame, moments=turned)).energy

                assert abs(result.force_mag[atom, axis] + slope(energy)) < ABSOLUTE


def test_magnetic_forces_at_zero_moment(any_model, frames, evaluate, change):
    """Even in the moments: no force at zero, and a finite one beside it."""
    frame = change(frames[0], moments=0 * frames[0].moments)
    assert np.all(evaluate(any_model, frame).force_mag == 0.0)


def test_virial_is_the_strain_derivative(any_model, frames, evaluate, change):
    for frame in frames[:3]:
        result = evaluate(any_model, frame)
        for a in range(3):
            for b in range(3):

                def energy(h, frame=frame, a=a, b=b):
                    strain = np.eye(3)
                    strain[a, b] += h
                    return evaluate(
                        any_model,
                        change(
                            frame,
                            positions=frame.positions @ strain.T,
                            cell=frame.cell @ strain.T,
                        ),
                    ).energy

                # dE/dε_ab = Σ g_a r_b = -W_ab
                assert abs(result.virial[a, b] + slope(energy, 3e-4)) < 2e-6


def test_sums_over_atoms(any_model, frames, evaluate):
    for frame in frames:
        result = evaluate(any_model, frame)
        np.testing.assert_allclose(result.atom_energy.sum(), result.energy, rtol=1e-12)
        np.testing.assert_allclose(result.force.sum(0), 0.0, atol=1e-11)
        np.testing.assert_allclose(
            result.atom_virial.sum(0), result.virial, rtol=1e-10, atol=1e-11
        )
        np.testing.assert_allclose(result.virial, result.virial.T, atol=1e-10)


def test_no_torque_on_the_moments_as_a_whole(any_model, frames, evaluate):
    """Invariance under rotation of the moments means Σ m x F_m = 0."""
    magnetic = np.array([False, True, True, True, False])
    for frame in frames:
        result = evaluate(any_model, frame)
        kept = np.where(magnetic[frame.types][:, None], frame.moments, 0.0)
        np.testing.assert_allclose(
            np.cross(kept, result.force_mag).sum(0), 0.0, atol=1e-11
        )


def test_atomic_virials_are_those_of_the_host(model, frames):
    """Same share per atom as deepmd-kit's own construction from atomic energies."""
    import torch
    from deepmd.pt.model.model.transform_output import atomic_virial_corr
    from deepmd.pt.utils.nlist import extend_input_and_build_neighbor_list

    from spin_dp.descriptors import edge_vectors

    frame = frames[0]
    n = len(frame.types)
    coord, atype, mapping, nlist = extend_input_and_build_neighbor_list(
        torch.tensor(frame.positions).view(1, n, 3),
        torch.tensor(frame.types).view(1, n),
        model.get_rcut(),
        [60],
        mixed_types=True,
        box=torch.tensor(frame.cell).reshape(1, 9),
        cap_neighbors=False,
    )
    coord = coord.clone().requires_grad_(True)
    index = mapping.unsqueeze(-1).expand(-1, -1, 3)
    spin = torch.gather(torch.tensor(frame.moments).view(1, n, 3), 1, index)
    edges = edge_vectors(coord, nlist, model.get_rcut())
    atom_energy = model.atomic_model(edges, nlist, atype, spin)["energy"]
    (slope_,) = torch.autograd.grad(atom_energy.sum(), coord, retain_graph=True)
    # The host: force ⊗ position, plus the share of the other atoms.
    expected = torch.einsum("fik,fij->fikj", -slope_, coord) + atomic_virial_corr(
        coord, atom_energy
    )
    got = model.forward_lower(
        coord.detach(), atype, spin, nlist, None, None, None, True
    )
    torch.testing.assert_close(
        got["extended_virial"].view(expected.shape), expected, rtol=1e-9, atol=1e-10
    )
