# SPDX-License-Identifier: LGPL-3.0-or-later
"""The labels of systems: moments of DFT or of states, magnetic forces, virial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from spin_dp.data_tools import Frame, Rules, collect, read_extxyz, read_outcar
from spin_dp.data_tools.collection.labels import catalogue_by_level
from spin_dp.errors import ConfigError
from spin_dp.spin_states.catalogue import SpinState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spin_dp.data_tools import CollectReport

GPAW = Path(__file__).resolve().parents[2] / "examples" / "gpaw"


def rows_and_labels(
    report: CollectReport,
) -> Iterator[tuple[dict[Any, Any], dict[str, Any], dict[str, np.ndarray]]]:
    """Yield manifest row, note of the system and arrays of each kept frame."""
    table = pd.read_csv(report.manifest, keep_default_na=False)
    for row in table[table["status"] == "kept"].to_dict("records"):
        system = report.out / row["system"]
        arrays = {
            path.stem: np.load(path)[row["index"]]
            for path in (system / "set.000").glob("*.npy")
        }
        yield row, json.loads((system / "spin_dp.json").read_text()), arrays


def dft_moments(row: dict[Any, Any], report: CollectReport) -> np.ndarray:
    """Return the moments of the source, sorted as the system sorts its atoms."""
    frame = list(read_extxyz(Path(row["source"])))[row["step"] - 1]
    assert isinstance(frame, Frame)
    types = (report.training[0] / "type_map.raw").read_text().split()
    order = np.argsort([types.index(s) for s in frame.symbols], kind="stable")
    return frame.moments[order]


@pytest.fixture(scope="module")
def nominal(tmp_path_factory: pytest.TempPathFactory) -> CollectReport:
    names = ("LiCoO2_8", "LiMnO2_8", "LiNi05Mn05O2")
    out = tmp_path_factory.mktemp("nominal") / "data"
    sources = [GPAW / f"{name}.extxyz" for name in names]
    return collect(sources, out, rules=Rules(labels="nominal"))


def test_nominal_moments_are_the_means_of_the_states(nominal: CollectReport) -> None:
    sites = pd.read_csv(nominal.out / "sites.csv.gz")
    means = sites["moment"].abs().groupby(sites["state"]).mean()
    n_sites = 0
    for row, note, arrays in rows_and_labels(nominal):
        spins, dft = arrays["spin"].reshape(-1, 3), dft_moments(row, nominal)
        own = sites[
            (sites["system"] == row["system"]) & (sites["index"] == row["index"])
        ]
        expected = np.zeros(len(spins))
        states = own.sort_values("element", kind="stable")["state"]  # Mn before Ni
        metal = [i for i, kind in enumerate(kinds(nominal, row)) if kind in METALS]
        expected[metal] = [0.0 if s == "Co3+LS" else means[s] for s in states]
        signs = np.where(dft[:, 2] < 0.0, -1.0, 1.0)
        np.testing.assert_allclose(spins[:, 2], signs * expected, atol=1e-6)
        np.testing.assert_array_equal(spins[:, :2], 0.0)
        assert note["labels"] == "nominal"
        assert {state["name"] for state in note["states"]} == set(states)
        assert "force_mag" not in arrays
        n_sites += len(states)
    assert n_sites == len(sites) == 2 * nominal.n_kept


METALS = ("Mn", "Co", "Ni")


def kinds(report: CollectReport, row: dict[Any, Any]) -> list[str]:
    system = report.out / row["system"]
    names = (system / "type_map.raw").read_text().split()
    return [names[int(word)] for word in (system / "type.raw").read_text().split()]


def test_note_and_table_give_the_moments_that_were_written(
    nominal: CollectReport,
) -> None:
    table = nominal.states.set_index("state")
    for row, note, arrays in rows_and_labels(nominal):
        spins = np.linalg.norm(arrays["spin"].reshape(-1, 3), axis=1)
        written = {round(float(length), 4) for length in spins if length > 0.0}
        moments = {state["name"]: state["moment"] for state in note["states"]}
        assert written == {m for m in moments.values() if m > 0.0}
        for state, moment in moments.items():
            mean = table.loc[state, "mean"]
            assert moment == (
                0.0 if state == "Co3+LS" else pytest.approx(mean, abs=1e-4)
            )
        assert "Co3+LS" not in row["key"] or moments["Co3+LS"] == 0.0


def test_nominal_and_dft_labels_differ_in_nothing_but_moments(
    nominal: CollectReport, tmp_path: Path
) -> None:
    sources = sorted({row["source"] for row, _, _ in rows_and_labels(nominal)})
    dft = collect(sources, tmp_path / "dft")
    pairs = zip(rows_and_labels(nominal), rows_and_labels(dft), strict=True)
    for (row, note, arrays), (other_row, other_note, others) in pairs:
        assert row == other_row
        assert note.pop("labels") == "nominal"
        assert other_note.pop("labels") == "dft"
        assert note == other_note
        np.testing.assert_array_equal(
            others.pop("spin").reshape(-1, 3), dft_moments(row, nominal)
        )
        # Beside DFT moments stand the nominal ones: a guess to predict them from.
        np.testing.assert_array_equal(others.pop("initial_spin"), arrays.pop("spin"))
        assert arrays.keys() == others.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, others[name])


def test_noncollinear_sites_keep_their_direction(
    vasp_data: Path, tmp_path: Path
) -> None:
    source = vasp_data / "nio-soc-noncollinear" / "OUTCAR.gz"
    (frame,) = read_outcar(source)
    assert isinstance(frame, Frame)
    report = collect([source], tmp_path / "out", rules=Rules(labels="nominal"))
    ((_, note, arrays),) = rows_and_labels(report)
    spins = arrays["spin"].reshape(-1, 3)
    own = frame.moments[:2]  # Ni come first; moments +-1.671 along z (README)
    (nickel,) = note["states"]
    assert nickel["name"] == "Ni2+"
    assert nickel["moment"] == pytest.approx(1.671, abs=2e-3)
    np.testing.assert_allclose(spins[:2], own, atol=2e-3)
    np.testing.assert_array_equal(spins[2:], 0.0)


@pytest.mark.parametrize(
    ("state", "moment"),
    [
        ("Mn3+HS", 3.7),
        ("Co3+LS", 0.0),
        ("Fe~2.5", 3.7),
        ("Fe~0.5", 3.7),  # it has a sign in the key
        ("Fe~0", 0.0),
    ],
)
def test_states_without_sign_have_no_moment(state: str, moment: float) -> None:
    row = {"site_level": "x", "state": state, "mean": 3.7, "sites": 5}
    row |= {"lowest": 3.5, "highest": 3.9}
    (found,) = catalogue_by_level(pd.DataFrame([row])).items()
    assert found == (("x", state), SpinState(state, moment, 3.5, 3.9, 5))


def test_nominal_moments_have_no_magnetic_forces(tmp_path: Path) -> None:
    rules = Rules(labels="nominal", stationary_moments=True)
    with pytest.raises(ConfigError, match=r"magnetic forces of zero belong to .* DFT"):
        collect([GPAW / "NiO2_3.extxyz"], tmp_path / "out", rules=rules)
    source = write(tmp_path / "a.xyz", "none", magnetic_forces=True)
    report = collect([source], tmp_path / "out", rules=Rules(labels="nominal"))
    ((_, _, arrays),) = rows_and_labels(report)
    assert "force_mag" not in arrays


# --- magnetic forces and virial


def write(path: Path, *constraints: str, magnetic_forces: bool = False) -> Path:
    """Write frames of one state, held or free as ``spin_constraint`` says."""
    columns = ":magnetic_forces:R:1" * magnetic_forces
    text = ""
    for index, constraint in enumerate(constraints):
        cell = 4.0 + index / 10
        text += (
            f'2\nLattice="{cell} 0 0 0 {cell} 0 0 0 {cell}" pbc="T T T" '
            f"free_energy=-9.0 spin_constraint={constraint} "
            f"Properties=species:S:1:pos:R:3:forces:R:3:magmoms:R:1{columns}\n"
            f"Ni 0 0 0 0 0 0 1.7 {0.25 if magnetic_forces else ''}\n"
            f"O 2 2 2 0 0 0 0.1 {-0.5 if magnetic_forces else ''}\n"
        )
    path.write_text(text)
    return path


def test_free_frames_alone_get_magnetic_forces_of_zero(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", "none", "fixed_total_moment", "none")
    free = collect([source], tmp_path / "a", rules=Rules(stationary_moments=True))
    for row, note, arrays in rows_and_labels(free):
        is_free = row["step"] != 2
        assert row["system"].endswith("-fm-novirial") is is_free
        assert (row["magnetic_forces"], note["constrained"]) == (
            ("zero", False) if is_free else ("", True)
        )
        assert ("force_mag" in arrays) is is_free
        if is_free:
            np.testing.assert_array_equal(arrays["force_mag"], np.zeros(6))
    plain = collect([source], tmp_path / "b")
    for row, note, arrays in rows_and_labels(plain):
        assert "-fm" not in row["system"]
        assert "force_mag" not in arrays
        assert note["constrained"] is None  # some of its frames are, some are not
    assert len(plain.training) == 1


def test_magnetic_forces_of_the_source_are_kept(tmp_path: Path) -> None:
    source = write(tmp_path / "a.xyz", "held", magnetic_forces=True)
    for number, rules in enumerate([Rules(), Rules(stationary_moments=True)]):
        report = collect([source], tmp_path / f"{number}", rules=rules)
        ((row, _, arrays),) = rows_and_labels(report)
        assert row["magnetic_forces"] == "source"
        assert row["system"].endswith("-fm-novirial")
        np.testing.assert_array_equal(arrays["force_mag"], [0, 0, 0.25, 0, 0, -0.5])


def test_frames_without_stress_have_systems_of_their_own(
    vasp_data: Path, tmp_path: Path
) -> None:
    """fe31-vacancy-neb-endpoint ran with ISIF=0, fe-bcc-vasp620-relax with stress."""
    names = ("fe31-vacancy-neb-endpoint", "fe-bcc-vasp620-relax")
    report = collect([vasp_data / name for name in names], tmp_path / "out")
    found = set()
    for row, _, arrays in rows_and_labels(report):
        assert ("virial" in arrays) is (not row["system"].endswith("-novirial"))
        found.add((row["formula"], "virial" in arrays))
    assert found == {("Fe31", False), ("Fe", True)}
    source = GPAW / "NiO2_3.extxyz"
    text = source.read_text().replace(" stress=", " no_stress=", 1)
    (tmp_path / "a.extxyz").write_text(text)
    mixed = collect([tmp_path / "a.extxyz"], tmp_path / "mixed")
    without = [
        row for row, _, arrays in rows_and_labels(mixed) if "virial" not in arrays
    ]
    assert [row["step"] for row in without] == [1]
