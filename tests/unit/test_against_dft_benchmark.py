# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the benchmark against DFT says where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from ase.calculators.calculator import Calculator, all_changes

from benchmarks.against_dft.barriers import paths
from benchmarks.against_dft.gamma import vibrations
from benchmarks.against_dft.volumes import fits, points
from spin_dp import SpinDP
from spin_dp.deployment.cache import fast_models
from spin_dp.errors import BackendError
from spin_dp.properties.eos import birch_murnaghan, fit_birch_murnaghan

# How far models of an ensemble may differ is asked elsewhere.
pytestmark = pytest.mark.filterwarnings(
    "ignore:forces of the:spin_dp.errors.OutsideTrainingData"
)

STRAINS = (-0.02, -0.01, 0.0, 0.01, 0.02)


class OfVolume(Calculator):  # type: ignore[misc]
    """DFT that knows volumes only, with the initial moments for its own."""

    implemented_properties = ("energy", "free_energy", "magmoms")

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        units = self.atoms.get_chemical_symbols().count("O") / 2
        volume = self.atoms.get_volume() / units
        energy = units * float(birch_murnaghan([volume], -20.0, 120.0, 4.0, 34.0)[0])
        moments = self.atoms.get_initial_magnetic_moments()
        self.results = {"energy": energy, "free_energy": energy, "magmoms": moments}


class Fails(Calculator):  # type: ignore[misc]
    """DFT that never converges."""

    implemented_properties = ("energy", "free_energy", "forces")

    def calculate(self, *_: object, **__: object) -> None:
        raise BackendError("not converged")


@pytest.fixture(scope="module")
def model() -> SpinDP:
    return SpinDP(fast_models("lixmo2")[:2])


def test_constants_come_back_from_their_curve() -> None:
    volumes = np.linspace(30.0, 38.0, 7)
    given = (-1234.5, 130.0, 4.5, 34.0)
    found = fit_birch_murnaghan(volumes, birch_murnaghan(volumes, *given))
    assert found == pytest.approx(given, rel=1e-5)


def test_volume_and_bulk_modulus_of_dft_are_found(model: SpinDP) -> None:
    case = (("LiCoO2", "Co=3+LS"),)
    table = pd.DataFrame(points(model, OfVolume, case, STRAINS))
    found = fits(table).iloc[0]
    assert found["V0 DFT"] == pytest.approx(34.0, rel=1e-4)
    assert found["B0 DFT"] == pytest.approx(120.0, rel=1e-3)
    error = 100.0 * (found["V0 model"] / 34.0 - 1.0)
    assert found["V0 error"] == pytest.approx(error, abs=0.02)
    assert found["V0 ±"] > 0.0


def test_volumes_in_another_state_do_not_count(model: SpinDP) -> None:
    case = (("LiCoO2", "Co=3+LS"),)
    table = pd.DataFrame(points(model, OfVolume, case, STRAINS))
    table.loc[0, "becomes"] = "Co3+HS[1up]"
    found = fits(table).iloc[0]
    assert found["volumes"] == 4
    assert "V0 DFT" not in found


def test_the_same_model_has_the_same_barrier(model: SpinDP) -> None:
    case = (("LiCoO2", "Co=3+LS", "one", "staying"),)
    made = model.first
    (table,) = paths(model, lambda: _calculator(made), case)
    assert table["atoms"].iloc[0] == 15
    assert len(table) == 3
    assert table["energy"].iloc[1] > 0.2
    assert table["difference"].to_numpy() == pytest.approx(0.0, abs=0.02)


def test_the_same_model_has_the_same_vibrations(model: SpinDP) -> None:
    case = (("LiCoO2", "Co=3+LS"),)
    (table,) = vibrations(model, lambda: _calculator(model.first), case)
    assert len(table) == 9  # optical modes of four atoms
    assert (table["model"] > 50.0).all()
    np.testing.assert_allclose(table["dft"], table["model"], atol=0.5)


def test_hops_that_dft_cannot_do_are_left_out(model: SpinDP) -> None:
    case = (("LiCoO2", "Co=3+LS", "one", "staying"),)
    assert not list(paths(model, Fails, case))
    assert not list(vibrations(model, Fails, (("LiCoO2", "Co=3+LS"),)))
    assert not list(points(model, Fails, (("LiCoO2", "Co=3+LS"),), (0.0,)))


def _calculator(model: SpinDP) -> Calculator:
    from spin_dp import SpinDPCalculator

    return SpinDPCalculator(model, carried="states")
