# SPDX-License-Identifier: LGPL-3.0-or-later
"""The shipped frames fit together, and their card says what they are."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pandas as pd
import pytest
import spglib

from examples.gpaw import md_starts
from examples.gpaw.layer_starts import METALS, layers
from examples.gpaw.relaxed_starts import add_starts
from examples.gpaw.starts import Starts, disturbed
from examples.pages import fill_in, fill_page
from spin_dp import SpinDP
from spin_dp.data_tools import collect
from spin_dp.demo.origins import RATTLED, origin_of, origins_of
from spin_dp.deployment import fast_models
from spin_dp.errors import DataError
from tests.integration.scripts import load_script

if TYPE_CHECKING:
    from ase import Atoms

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "gpaw"
FRAMES_OF_RATTLED = 221  # what published comparisons stand on
PULAY = {"Li": 0.060, "Co": 4.773, "Ni": 4.279, "Mn": 4.286}  # eV, the card

card = load_script(FOLDER / "card.py")
from_campaign = load_script(FOLDER / "from_campaign.py")


@pytest.fixture(scope="module")
def files() -> dict[str, list[Atoms]]:
    return {path.stem: ase.io.read(path, ":") for path in FOLDER.glob("*.extxyz")}


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shipped") / "data"
    collect([FOLDER], out, rules=card.RULES)
    return out


@pytest.fixture(scope="module")
def manifest(collected: Path) -> pd.DataFrame:
    return pd.read_csv(collected / "manifest.csv", keep_default_na=False)


def converged(files: dict[str, list[Atoms]]) -> list[Atoms]:
    systems = (frames for name, frames in files.items() if name != "unconverged")
    return [atoms for frames in systems for atoms in frames]


def test_each_run_is_there_once(files: dict[str, list[Atoms]]) -> None:
    names = ("geometry_id", "initial_M", "spin_constraint")
    runs = Counter(
        tuple(str(atoms.info[name]) for name in names)
        for frames in files.values()
        for atoms in frames
    )
    assert not [run for run, number in runs.items() if number > 1]


def test_a_name_stands_for_one_geometry(files: dict[str, list[Atoms]]) -> None:
    members: dict[str, list[Atoms]] = defaultdict(list)
    for frames in files.values():
        for atoms in frames:
            members[atoms.info["geometry_id"]].append(atoms)
    for name, (first, *others) in members.items():
        for atoms in others:
            assert str(atoms.symbols) == str(first.symbols), name
            np.testing.assert_allclose(atoms.positions, first.positions, atol=1e-7)
            np.testing.assert_allclose(atoms.cell, first.cell, atol=1e-7)


def test_files_are_named_after_their_system(files: dict[str, list[Atoms]]) -> None:
    for name, frames in files.items():
        if name != "unconverged":
            assert {atoms.info["system"] for atoms in frames} == {name}
        is_converged = {bool(atoms.info["converged"]) for atoms in frames}
        assert is_converged == {name != "unconverged"}


def test_all_frames_are_kept_at_one_level(
    files: dict[str, list[Atoms]], manifest: pd.DataFrame
) -> None:
    counts = manifest["status"].value_counts().to_dict()
    bad = len(files["unconverged"])
    assert counts == {"kept": len(converged(files)), "quarantined": bad}
    assert manifest["level"].nunique() == 1
    sides = manifest[manifest["status"] == "kept"].groupby("geometry")["split"]
    assert sides.nunique().max() == 1


def test_stress_is_that_of_the_energies_or_not_there(
    files: dict[str, list[Atoms]], manifest: pd.DataFrame
) -> None:
    """Pulay correction per Li and MO2; rocksalts have no virial, and all others do."""
    without = 0
    for atoms in converged(files):
        counts = Counter(atoms.get_chemical_symbols())
        metals = sum(counts[metal] for metal in ("Mn", "Co", "Ni"))
        if counts["O"] != 2 * metals:
            assert "stress" not in atoms.calc.results
            without += 1
            continue
        pulay = sum(PULAY.get(element, 0.0) * n for element, n in counts.items())
        expected = np.array(atoms.info["stress_fixed_basis"])
        expected[:3] -= pulay / atoms.get_volume()
        # The first 221 were corrected with more digits than the card gives.
        assert atoms.get_stress() == pytest.approx(expected, abs=2e-4)
    kept = manifest[manifest["status"] == "kept"]
    has_none = kept["system"].str.endswith("-novirial")
    assert has_none.sum() == without > 0
    assert set(kept.loc[has_none, "formula"]) <= {"Ni2O2", "Co2O2", "Mn2O2"}


def test_origins(files: dict[str, list[Atoms]], manifest: pd.DataFrame) -> None:
    rattled = {
        name
        for name, frames in files.items()
        if name != "unconverged"
        and {origin_of(atoms.info) for atoms in frames} == {"rattled"}
    }
    assert rattled == set(RATTLED)
    assert sum(len(files[name]) for name in RATTLED) == FRAMES_OF_RATTLED
    kept = manifest[manifest["status"] == "kept"]
    origins = origins_of(kept)
    of_file = kept["source"].map(lambda source: Path(source).stem)
    assert set(of_file[origins == "rattled"]) == set(RATTLED)
    assert (origins[of_file.str.startswith("hot")] == "hot").all()
    assert (origins[of_file.str.startswith("rocksalt")] == "displaced").all()
    assert origin_of({}) == "other"


def test_frames_of_a_campaign_are_taken_once(tmp_path: Path) -> None:
    campaign, folder = tmp_path / "campaign", tmp_path / "frames"
    folder.mkdir()
    for number, is_converged in enumerate((True, True, False)):
        atoms = ase.io.read(FOLDER / "hotLi05NiO2.extxyz", number)
        atoms.info |= {
            "geometry_id": f"campaign-00-00{number}",
            "explored_by": "Li05NiO2_600K",
            "temperature": 600.0,
            "converged": is_converged,
        }
        run = campaign / "generation-00" / "dft" / f"run-{number}"
        run.mkdir(parents=True)
        ase.io.write(run / "frame.extxyz", atoms)
    expected = {"learntLiNi2O4": 2, "unconverged": 1}
    assert from_campaign.take(campaign, "learnt7", folder) == expected
    assert from_campaign.take(campaign, "learnt7", folder) == {}
    frames = ase.io.read(folder / "learntLiNi2O4.extxyz", ":")
    assert [atoms.info["geometry_id"] for atoms in frames] == [
        "learnt7-00-000",
        "learnt7-00-001",
    ]
    first = ase.io.read(FOLDER / "hotLi05NiO2.extxyz", 0)
    np.testing.assert_allclose(frames[0].get_forces(), first.get_forces(), atol=1e-8)
    assert origin_of(frames[0].info) == "learnt"
    assert from_campaign.take(campaign, "learnt8", folder) == expected


@pytest.mark.filterwarnings("ignore::spin_dp.errors.OutsideTrainingData")
def test_relaxed_states_are_starts_of_dft() -> None:
    model = SpinDP(fast_models("lixmo2", 1))
    starts = Starts((2, 2, 2))
    add_starts(starts, model, "LiCoO2_4", (4, 4, 2))
    found = starts.geometries
    rest, moved = found[:2]
    assert json.loads(rest.info["kpts"]) == [4, 4, 2]
    assert len({atoms.info["geometry_id"] for atoms in found}) == len(found) >= 4
    assert rest.info["wanted_state"] == moved.info["wanted_state"] == "Co3+LS[1]"
    assert json.loads(rest.info["starts"]) == [[0.0]]
    assert {origin_of(atoms.info) for atoms in found} == {"relaxed"}
    lengths = [np.abs(model.evaluate(a, "Co=3+LS").forces).max() for a in (rest, moved)]
    assert lengths[0] < 0.025 < 0.2 < lengths[1]


@pytest.mark.filterwarnings("ignore::spin_dp.errors.OutsideTrainingData")
def test_snapshots_of_squeezed_cells_are_starts_of_dft() -> None:
    model = SpinDP(fast_models("lixmo2", 2))
    starts = Starts((2, 2, 2))
    md_starts.add_starts(starts, model, "MnO2_3", "squeezedMnO2", [(0.1, 1000.0)])
    (found,) = starts.geometries
    cell = ase.io.read(FOLDER / "MnO2_3.extxyz", 0)
    assert found.get_volume() == pytest.approx(0.9 * cell.get_volume())
    assert origin_of(found.info) == "learnt"
    assert json.loads(found.info["kpts"]) == [4, 4, 2]
    ((moment,),) = json.loads(found.info["starts"])
    assert moment == pytest.approx(3.1, abs=0.2)
    deviation = model.uncertainty(found, "Mn=4+").force_deviation.max()
    assert deviation == pytest.approx(found.info["force_deviation"], abs=2e-4)
    distances = found.get_all_distances(mic=True)
    assert distances[distances > 0.0].min() > md_starts.NEAREST


def test_layers_are_those_of_their_space_groups() -> None:
    for metal in METALS:
        for stacking, group in (("O1", 164), ("O3", 166)):
            atoms = layers(metal, stacking, 4.7)
            cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
            assert spglib.get_symmetry_dataset(cell).number == group
            height = atoms.get_volume() / np.linalg.norm(np.cross(*atoms.cell[:2]))
            assert height == pytest.approx(4.7)


def test_disturbed_cells_have_their_deviations() -> None:
    atoms = layers("Co", "O3", 4.7).repeat((3, 3, 3))
    rng = np.random.default_rng(1)
    several = [disturbed(atoms, rng, strain=0.0, displaced=0.05) for _ in range(20)]
    shifts = np.array([one.positions - atoms.positions for one in several])
    assert shifts.std() == pytest.approx(0.05, rel=0.03)
    several = [disturbed(atoms, rng, strain=0.01, displaced=0.0) for _ in range(400)]
    ratios = [np.linalg.solve(atoms.cell.array, one.cell.array) for one in several]
    strains = np.array(ratios) - np.eye(3)
    np.testing.assert_allclose(strains, strains.transpose(0, 2, 1), atol=1e-12)
    # Half of what two numbers add up to, off the diagonal.
    deviations = strains.std(axis=0)
    assert np.diag(deviations) == pytest.approx(0.01, rel=0.15)
    assert deviations[0, 1] == pytest.approx(0.01 / np.sqrt(2.0), rel=0.15)
    np.testing.assert_allclose(
        several[0].get_scaled_positions(), atoms.get_scaled_positions(), atol=1e-12
    )


def test_the_card_is_up_to_date(collected: Path) -> None:
    """After new frames: make card."""
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert card.new_page(FOLDER, collected) == page


def test_the_card_counts_the_files(files: dict[str, list[Atoms]]) -> None:
    """Counted here without the script: frames and geometries of each system."""
    text = (FOLDER / "README.md").read_text()
    table = text.partition("<!-- systems: generated -->")[2].partition("<!-- end")[0]
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", table, re.MULTILINE)
    expected = {
        name: (len(frames), len({atoms.info["geometry_id"] for atoms in frames}))
        for name, frames in files.items()
        if name != "unconverged"
    }
    stated = {name: (int(frames), int(geo)) for name, frames, geo in rows}
    total = stated.pop("total")
    empty = {name: pair for name, pair in stated.items() if pair == (0, 0)}
    assert stated == expected | empty
    assert total == tuple(map(sum, zip(*expected.values(), strict=True)))
    assert f"**{total[0]} converged frames at {total[1]} geometries" in text
    assert f"{len(files['unconverged'])} further runs did not converge" in text


def test_a_page_without_its_places_is_refused() -> None:
    page = "<!-- a: generated -->\nold\n<!-- end -->\nkept\n"
    filled = fill_in(page, {"a": "new"})
    assert filled == "<!-- a: generated -->\n\nnew\n\n<!-- end -->\nkept\n"
    assert fill_in(filled, {"a": "new"}) == filled
    two = "<!-- b: generated -->\nother\n<!-- end -->\n"
    assert fill_in(page + two, {"a": "new"}) == filled + two
    with pytest.raises(DataError, match=r"one place for each of b, found places for a"):
        fill_in(page, {"a": "new", "b": "new"})
    with pytest.raises(DataError, match="one place for each of a"):
        fill_in(page + page, {"a": "new"})


def test_a_page_takes_the_tables_of_a_folder(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    parts = "".join(f"<!-- {x}: generated -->\nold\n<!-- end -->\n" for x in "ab")
    page.write_text(f"begin\n{parts}")
    (tmp_path / "b.md").write_text("| new |\n")
    (tmp_path / "c.md").write_text("of another page")
    assert fill_page(page, tmp_path) == ["b"]
    text = page.read_text()
    assert text.startswith("begin\n<!-- a: generated -->\nold\n<!-- end -->\n")
    assert text.endswith("<!-- b: generated -->\n\n| new |\n\n<!-- end -->\n")
