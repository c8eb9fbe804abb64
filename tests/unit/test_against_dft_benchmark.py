# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the benchmark against DFT says where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from benchmarks.against_dft.barriers import paths
from benchmarks.against_dft.gamma import vibrations
from benchmarks.against_dft.volumes import curves
from spin_dp import SpinDP
from spin_dp.deployment.cache import fast_models
from spin_dp.errors import BackendError
from spin_dp.properties import EquationOfStateSettings
from spin_dp.properties.eos import birch_murnaghan, fit_birch_murnaghan

# How far models of an ensemble may differ is asked elsewhere.
pytestmark = pytest.mark.filterwarnings(
    "ignore:forces of the:spin_dp.errors.OutsideTrainingData"
)

CASE = (("LiCoO2", "Co=3+LS"),)
VOLUMES = EquationOfStateSettings(points=5, max_strain=0.02, rattle=0.03)


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
    return SpinDP(fast_models("lixmo2", 2))


def test_constants_come_back_from_their_curve() -> None:
    volumes = np.linspace(30.0, 38.0, 7)
    given = (-1234.5, 130.0, 4.5, 34.0)
    found = fit_birch_murnaghan(volumes, birch_murnaghan(volumes, *given))
    assert found == pytest.approx(given, rel=1e-5)


def test_volume_and_bulk_modulus_of_dft_are_found(model: SpinDP) -> None:
    (found,) = curves(model, OfVolume, CASE, VOLUMES)
    assert found["volumes"] == 5
    assert found["V0 DFT"] == pytest.approx(34.0, rel=1e-4)
    assert found["B0 DFT"] == pytest.approx(120.0, rel=1e-3)
    error = 100.0 * (float(str(found["V0 model"])) / 34.0 - 1.0)
    assert found["V0 error"] == pytest.approx(error, abs=0.02)
    assert float(str(found["V0 ±"])) > 0.0


def test_gaps_are_those_of_the_curves(model: SpinDP) -> None:
    """A model that stands for DFT finds its own."""
    cases = (*CASE, ("LiCoO2", "Co=3+HS"))
    low, high = curves(model.first, lambda: _calculator(model.first), cases, VOLUMES)
    assert low["gap DFT"] == low["gap model"] == 0.0
    assert float(str(high["gap model"])) > 100.0
    assert high["gap DFT"] == pytest.approx(high["gap model"], abs=0.1)
    assert high["B0 error"] == pytest.approx(0.0, abs=0.1)


def test_the_same_model_has_the_same_barrier(model: SpinDP) -> None:
    case = (("LiCoO2", "Co=3+LS", "one", "staying"),)
    made = model.first
    (table,) = paths(model, lambda: _calculator(made), case)
    assert table["atoms"].iloc[0] == 15
    assert len(table) == 3
    assert table["energy"].iloc[1] > 0.2
    np.testing.assert_allclose(table["dft"], table["energy"], atol=0.02)
    assert set(table["becomes"]) == {""}


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
    (row,) = curves(model, Fails, CASE, VOLUMES)
    assert row["volumes"] == 0
    assert "not converged" in str(row["said"])


def _calculator(model: SpinDP) -> Calculator:
    from spin_dp import SpinDPCalculator

    return SpinDPCalculator(model, carried="states")
