# SPDX-License-Identifier: LGPL-3.0-or-later
"""What single changes of a spin state cost, against evaluating the whole structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from spin_dp import SpinDP
from spin_dp.errors import ConfigError
from spin_dp.search import site_excitations
from tests.conftest import STATES_INFO, build_model

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms


@pytest.fixture(scope="module")
def model(label_model: Path) -> SpinDP:
    return SpinDP(label_model)


@pytest.fixture
def oxide() -> Atoms:
    """Return displaced rocksalt with two Mn among eight metals."""
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True).repeat((2, 1, 1))
    atoms.symbols[[0, 8]] = "Mn"
    atoms.rattle(0.05, seed=1)
    return atoms


def test_energies_are_those_of_the_whole_structure(model, oxide) -> None:
    start = "Mn=3+HS Ni=3+LS"
    table = site_excitations(oxide, model, start)
    assert set(table["kind"]) == {"flip", "spin", "transfer"}
    before = model.evaluate(oxide, start).energy
    for row in table.to_dict("records"):
        sites = (
            [row["site"]] if row["kind"] != "transfer" else [row["site"], row["other"]]
        )
        states = row["after"].split()
        words = [
            f"{site}={state.replace(oxide.symbols[site], '')}"
            for site, state in zip(sites, states, strict=True)
        ]
        after = model.evaluate(oxide, " ".join([start, *words])).energy
        assert row["energy"] == pytest.approx(1e3 * float(after - before), abs=1e-6)
    # Displaced: nothing is equal. A flip of each site, and Mn3+HS to LS up or down.
    assert (table["equal"] == 1).all()
    kinds = table["kind"].value_counts()
    assert kinds["flip"] == 8
    assert kinds["spin"] == 4
    # An electron leaves Mn3+ (to 4+) and comes to Ni3+ (to 2+); up and down each.
    transfers = table[table["kind"] == "transfer"]
    assert (transfers["distance"] < 3.5).all()
    assert set(transfers["before"]) == {"Mn3+HS Ni3+LS"}
    for kind, group in table.groupby("kind"):
        assert group["energy"].is_monotonic_increasing, kind


def test_changes_that_symmetry_makes_equal_are_one(model) -> None:
    atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    table = site_excitations(atoms, model, "Ni=3+LS", kinds=["flip"])
    assert table["equal"].tolist() == [4]
    # In an antiferromagnet up and down are equal by reversal.
    table = site_excitations(atoms, model, "Ni=3+LS", order="AFM-001", kinds=["flip"])
    assert table["equal"].tolist() == [4]
    two = atoms.copy()
    two.symbols[0] = "Mn"
    table = site_excitations(two, model, "Ni=3+LS Mn=4+", kinds=["flip"])
    assert sorted(table["equal"]) == [1, 3]


def test_an_ensemble_gives_a_spread(
    label_model, predicting_model, oxide, tmp_path
) -> None:
    with pytest.raises(ConfigError, match="has no energy of states"):
        site_excitations(oxide, SpinDP(predicting_model), "Mn=3+HS Ni=3+LS")
    table = site_excitations(oxide, SpinDP(label_model), "Mn=3+HS Ni=3+LS")
    assert table["energy_spread"].isna().all()
    other = build_model(
        {
            "spin": {"use_spin": ["Mn", "Co", "Ni", "O"]},
            "info": STATES_INFO | {"label_share": 0.5},
        },
        seed=9,
    )
    script: Any = torch.jit.script
    torch.jit.save(script(other), tmp_path / "other.pth")
    both = SpinDP([label_model, tmp_path / "other.pth"])
    table = site_excitations(oxide, both, "Mn=3+HS Ni=3+LS", kinds=["flip"])
    assert (table["energy_spread"] > 0.0).all()


def test_what_cannot_be_asked_is_refused(model, oxide) -> None:
    with pytest.raises(ConfigError, match="expected flip, spin, transfer, got 'hop'"):
        site_excitations(oxide, model, "Mn=3+HS Ni=3+LS", kinds=["hop"])
    with pytest.raises(ConfigError, match="names of spin"):
        site_excitations(oxide, model, "Mn=3.7 Ni=3+LS")
    with pytest.raises(ConfigError, match="nothing can change"):
        site_excitations(oxide, model, "Mn=3+HS Ni=3+LS", kinds=["transfer"], reach=1.0)


def test_progress_reaches_its_end(model, oxide) -> None:
    seen: list[tuple[int, int]] = []
    table = site_excitations(
        oxide, model, "Mn=3+HS Ni=3+LS", progress=lambda *a: seen.append(a)
    )
    assert seen[-1] == (len(table), len(table))
    assert np.all(np.diff([done for done, _ in seen]) > 0)
