# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy differences from the atoms that feel a change, against those of all atoms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from spin_dp import SpinDP
from spin_dp.errors import ConfigError, DataError
from spin_dp.inference.local_energies import Change, LocalEnergies

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms


@pytest.fixture(scope="module")
def model(predicting_model: Path) -> SpinDP:
    return SpinDP(predicting_model)


def oxide(repeats: tuple[int, int, int]) -> Atoms:
    """Return displaced rocksalt with Mn on a quarter of the metal sites."""
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True).repeat(repeats)
    atoms.symbols[::8] = "Mn"
    atoms.rattle(0.08, seed=2)
    return atoms


def random_moments(atoms: Atoms, rng: np.random.Generator) -> np.ndarray:
    moments = rng.uniform(-1.0, 1.0, size=(len(atoms), 3))
    moments[[symbol == "O" for symbol in atoms.symbols]] *= 0.2
    return moments


def other_moments(
    atoms: Atoms, sites: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    return random_moments(atoms, rng)[list(sites)]


def energies_of(model: SpinDP, atoms: Atoms, moments: np.ndarray) -> LocalEnergies:
    symbols = atoms.get_chemical_symbols()
    return LocalEnergies(model.potential, symbols, model.geometry(atoms), moments)


# In the first cell atoms see their own images, in the last many see nothing.
@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 1, 1), (3, 3, 3)])
def test_differences_are_those_of_the_whole_cell(model, repeats) -> None:
    atoms, rng = oxide(repeats), np.random.default_rng(3)
    moments = random_moments(atoms, rng)
    local = energies_of(model, atoms, moments)
    whole = model.predict(atoms, moments[None]).energy[0]
    assert local.energy == pytest.approx(whole, abs=1e-10)
    changes = []
    for count in (1, 2, 3, 2, 1):
        sites = tuple(rng.choice(len(atoms), count, replace=False).tolist())
        changes.append(Change(sites, other_moments(atoms, sites, rng)))
    together = local.differences(changes)
    for change, parts in zip(changes, together, strict=True):
        changed = moments.copy()
        changed[list(change.sites)] = change.moments
        expected = model.predict(atoms, changed[None]).energy[0] - whole
        assert abs(expected) > 1e-6
        assert parts.sum() == pytest.approx(expected, abs=1e-8)
        alone = local.differences([change])[0]
        np.testing.assert_allclose(alone, parts, atol=1e-12)
    if repeats == (3, 3, 3):
        assert max(len(parts) for parts in together) < len(atoms)


def test_accepted_changes_add_up(model) -> None:
    atoms, rng = oxide((2, 2, 1)), np.random.default_rng(4)
    moments = random_moments(atoms, rng)
    local = energies_of(model, atoms, moments)
    for _ in range(20):
        sites = tuple(rng.choice(len(atoms), 2, replace=False).tolist())
        change = Change(sites, other_moments(atoms, sites, rng))
        local.accept(change, local.differences([change])[0])
        moments[list(sites)] = change.moments
    np.testing.assert_array_equal(local.moments, moments)
    found = model.predict(atoms, moments[None])
    assert found.atomic_energies is not None
    np.testing.assert_allclose(local.energies, found.atomic_energies[0], atol=1e-10)


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 1, 1), (3, 3, 3)])
def test_atoms_elsewhere_have_the_energy_of_the_whole_cell(model, repeats) -> None:
    """Nearby, across the border of the cell, two that swap places, with moments."""
    atoms, rng = oxide(repeats), np.random.default_rng(7)
    moments = random_moments(atoms, rng)
    local = energies_of(model, atoms, moments)
    whole = model.predict(atoms, moments[None]).energy[0]
    places = atoms.positions
    nickel, manganese = atoms.symbols.search("Ni")[-1], atoms.symbols.search("Mn")[0]
    changes = [
        Change((3,), moments[[3]], places[[3]] + [0.3, -0.2, 0.1]),
        Change((5,), moments[[5]], places[[5]] + [0.1, 0.1, 0.2] - atoms.cell[1]),
        Change(
            (nickel, manganese),
            moments[[nickel, manganese]] * 0.5,
            places[[manganese, nickel]] + rng.normal(0.0, 0.05, (2, 3)),
        ),
    ]
    for change, parts in zip(changes, local.differences(changes), strict=True):
        changed, moved = moments.copy(), atoms.copy()
        changed[list(change.sites)] = change.moments
        moved.positions[list(change.sites)] = change.positions
        expected = model.predict(moved, changed[None]).energy[0] - whole
        assert abs(expected) > 1e-4
        assert parts.sum() == pytest.approx(expected, abs=1e-8)
        if repeats == (3, 3, 3):
            assert len(parts) < len(atoms)


def test_accepted_atoms_stay_where_they_are(model) -> None:
    """Other positions and other moments, one after the other, add up."""
    atoms, rng = oxide((2, 1, 1)), np.random.default_rng(8)
    moments = random_moments(atoms, rng)
    local = energies_of(model, atoms, moments)
    for step in range(12):
        sites = tuple(rng.choice(len(atoms), 2, replace=False).tolist())
        to = atoms.positions[list(sites)] + rng.normal(0.0, 0.1, (2, 3))
        change = Change(sites, other_moments(atoms, sites, rng), to)
        if step % 3 == 2:
            change = replace(change, positions=None)
        else:
            atoms.positions[list(sites)] = to
        local.accept(change, local.differences([change])[0])
        moments[list(sites)] = change.moments
    np.testing.assert_array_equal(local.positions, atoms.positions)
    found = model.predict(atoms, moments[None])
    assert found.atomic_energies is not None
    np.testing.assert_allclose(local.energies, found.atomic_energies[0], atol=1e-10)


def test_how_near_an_atom_would_come(model) -> None:
    atoms = oxide((2, 1, 1))
    local = energies_of(model, atoms, np.zeros((len(atoms), 3)))
    to = atoms.positions[[3]] + [0.4, -0.3, 0.1] + atoms.cell[0]
    moved = atoms.copy()
    moved.positions[3] = to
    distances = np.delete(moved.get_distances(3, range(len(atoms)), mic=True), 3)
    assert local.nearest((3,), to) == pytest.approx(distances.min())


def test_changes_out_of_sight_do_not_hang_on_each_other(model) -> None:
    atoms, rng = oxide((6, 1, 1)), np.random.default_rng(5)
    local = energies_of(model, atoms, random_moments(atoms, rng))
    first = Change((0,), other_moments(atoms, (0,), rng))
    far = next(i for i in range(len(atoms)) if i not in local.seen((0,)))
    second = Change((far,), other_moments(atoms, (far,), rng))
    near = Change((4,), other_moments(atoms, (4,), rng))
    assert 4 in local.seen((0,))
    before = [parts.sum() for parts in local.differences([second, near])]
    local.accept(first, local.differences([first])[0])
    after = [parts.sum() for parts in local.differences([second, near])]
    assert after[0] == pytest.approx(before[0], abs=1e-12)
    assert abs(after[1] - before[1]) > 1e-9


def test_the_compiled_form_agrees(compiled_model, model) -> None:
    atoms, rng = oxide((2, 2, 2)), np.random.default_rng(6)
    moments = random_moments(atoms, rng)
    fast = energies_of(SpinDP(compiled_model[0]), atoms, moments)
    exact = energies_of(model, atoms, moments)
    change = Change((0, 12), other_moments(atoms, (0, 12), rng))
    for_fast, for_exact = (one.differences([change])[0] for one in (fast, exact))
    np.testing.assert_allclose(for_fast, for_exact, atol=2e-5)


def test_moments_that_no_model_answers_for_are_refused(model) -> None:
    atoms = oxide((1, 1, 1))
    with pytest.raises(DataError, match="finite"):
        energies_of(model, atoms, np.full((len(atoms), 3), np.nan))


def test_a_model_without_atomic_energies_is_refused(model, monkeypatch) -> None:
    atoms = oxide((1, 1, 1))
    moments = np.zeros((len(atoms), 3))
    found = model.potential.predict(
        atoms.get_chemical_symbols(), model.geometry(atoms), moments[None]
    )
    without = replace(found, atomic_energies=None)
    monkeypatch.setattr(model.potential, "predict", lambda *_: without)
    with pytest.raises(ConfigError, match="no energies of single atoms"):
        energies_of(model, atoms, moments)
