# SPDX-License-Identifier: LGPL-3.0-or-later
"""How dense atoms of the training data are: found, remembered, and what follows."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from spin_dp.data_tools import Rules, collect
from spin_dp.data_tools.systems.contents import fewest_in_reach, shortest_distances
from spin_dp.data_tools.systems.merging import merge_systems
from spin_dp.data_tools.systems.system import find_systems, open_system
from spin_dp.dynamics import Watch
from spin_dp.dynamics.run import within_data
from spin_dp.errors import DataError, OutsideTrainingData
from spin_dp.inference.neighbourhood import find_neighbourhood, stack_neighbourhoods
from spin_dp.inference.training_range import TrainingRange
from spin_dp.model_file import ModelInfo
from spin_dp.spin_states.catalogue import Catalogue
from tests.conftest import ROOT, TYPE_MAP

KNOWN = {"Ni-O": 1.6, "O-O": 2.2}


def by_ase(cutoff: float) -> dict[str, float]:
    frames = ase.io.read(ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz", ":")
    found: dict[str, float] = {}
    for atoms in frames:
        first, second, distances = neighbor_list("ijd", atoms, cutoff)
        for i, j, distance in zip(first, second, distances, strict=True):
            name = "-".join(sorted((atoms.symbols[i], atoms.symbols[j])))
            found[name] = min(distance, found.get(name, np.inf))
    return found


def test_shortest_distances_are_those_of_ase(collected: Path) -> None:
    systems = [open_system(folder) for folder in find_systems(collected)]
    found = shortest_distances(systems)
    assert set(found) == {"Li-Li", "Li-Mn", "Li-O", "Mn-Mn", "Mn-O", "O-O"}
    assert found == pytest.approx(by_ase(3.25))


def test_places_without_atoms_do_not_count(tmp_path: Path) -> None:
    shipped = ROOT / "examples" / "gpaw"
    files = [shipped / f"{name}.extxyz" for name in ("LiMnO2_4", "MnO2_3")]
    collect(files, tmp_path / "data", type_map=TYPE_MAP, rules=Rules(validation=0.0))
    folders = find_systems(tmp_path / "data")
    (merged,) = merge_systems(tmp_path / "data" / "training", tmp_path / "merged")
    system = open_system(merged)
    assert any((system.frame_types(part) < 0).any() for part in system.sets)
    several = [open_system(folder) for folder in folders]
    assert shortest_distances([system]) == pytest.approx(shortest_distances(several))
    assert fewest_in_reach([system], 4.5) == fewest_in_reach(several, 4.5)


def test_fewest_neighbours_are_those_of_ase(collected: Path) -> None:
    systems = [open_system(folder) for folder in find_systems(collected)]
    frames = ase.io.read(ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz", ":")
    expected: dict[str, int] = {}
    for atoms in frames:
        numbers = np.bincount(neighbor_list("i", atoms, 5.0), minlength=len(atoms))
        for symbol, number in zip(atoms.symbols, numbers.tolist(), strict=True):
            expected[symbol] = min(number, expected.get(symbol, number))
    assert fewest_in_reach(systems, 5.0) == expected
    assert set(expected) == {"Li", "Mn", "O"}


def test_a_cell_without_volume_is_refused(collected: Path, tmp_path: Path) -> None:
    shutil.copytree(collected, tmp_path / "data")
    box = next((tmp_path / "data").rglob("box.npy"))
    np.save(box, np.zeros_like(np.load(box)))
    systems = [open_system(folder) for folder in find_systems(tmp_path / "data")]
    with pytest.raises(DataError, match=r"box\.npy: expected cells with a volume"):
        shortest_distances(systems)


def info(shortest: dict[str, float], least: float = 1.6) -> ModelInfo:
    return ModelInfo(
        Path("model.pth"), [], [], 6.0, True, min_distance=least, shortest=shortest
    )


def test_a_run_is_watched_by_pairs_of_elements() -> None:
    watch = within_data(Watch(), [info(KNOWN)])
    assert watch.shortest == pytest.approx(0.8 * 1.6)
    assert watch.distances == pytest.approx({"Ni-O": 1.28, "O-O": 1.76})


def test_of_several_models_the_shortest_distance_counts() -> None:
    several = [info(KNOWN), info({"O-O": 1.5, "Li-O": 1.7}, 1.5)]
    watch = within_data(Watch(), several)
    assert watch.shortest == pytest.approx(1.2)
    assert watch.distances == pytest.approx(
        {"Ni-O": 1.28, "O-O": 1.2, "Li-O": 1.36}, abs=1e-9
    )


def test_what_is_asked_for_counts() -> None:
    assert within_data(Watch(shortest=1.1), [info(KNOWN)]).distances == {}
    watch = within_data(Watch(distances={"O-O": 1.4}), [info(KNOWN)])
    assert watch.distances == pytest.approx({"Ni-O": 1.28, "O-O": 1.4})
    assert within_data(Watch(), [info({}, np.nan)]) == Watch()


def test_a_peroxide_is_said_though_bonds_of_nickel_are_as_short() -> None:
    atoms = Atoms("NiO2", [[0, 0, 0], [0, 0, 1.7], [0, 1.7, 1.5]], cell=[9] * 3)
    known = TrainingRange(Catalogue(), 1.6, KNOWN)

    def near(positions: np.ndarray) -> None:
        frames = [
            find_neighbourhood(one, atoms.cell.array, (True,) * 3, 6.0)
            for one in (
                positions,
                atoms.positions + np.array([[0.0], [0.0], [2.5]]),
            )
        ]
        known.check_surroundings(stack_neighbourhoods(frames), list(atoms.symbols))

    far = atoms.positions.copy()
    far[2] = [0, 1.7, 4.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near(far)
    message = r"atoms 1 \(O\) and 2 \(O\) are 1\.71 Å apart; .* 2\.20 Å .* O and O"
    with pytest.warns(OutsideTrainingData, match=message):
        near(atoms.positions)
    far[2] = [0, 0, 2.4]
    with pytest.raises(DataError, match=r"are 0\.70 Å apart; .* 1\.60 Å at least"):
        near(far)


def test_atoms_with_fewer_neighbours_than_the_data_show_are_said() -> None:
    """Layers that are pulled apart, whose cutoff spheres get empty."""
    rocksalt = bulk("NiO", "rocksalt", a=4.2, cubic=True)
    spheres = Counter(
        rocksalt.symbols[i] for i in neighbor_list("i", rocksalt, 5.0).tolist()
    )
    fewest = {symbol: number // 4 for symbol, number in spheres.items()}
    assert fewest == {"Ni": 56, "O": 56}  # shells of 6, 12, 8, 6 and 24

    def look(apart: float) -> None:
        atoms = rocksalt.copy()
        atoms.set_cell(atoms.cell.array + np.diag([0.0, 0.0, apart]))
        frame = find_neighbourhood(atoms.positions, atoms.cell.array, (True,) * 3, 5.0)
        known = TrainingRange(Catalogue(), 1.6, {}, fewest)
        known.check_surroundings(frame, list(atoms.symbols))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look(0.0)
        look(0.3)
    with pytest.warns(OutsideTrainingData, match=r"has \d+ neighbours .* 56 at least"):
        look(3.0)
