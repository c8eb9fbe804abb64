# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is read off a run, against crystals whose bonds and neighbours are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from spin_dp.cli.app import main
from spin_dp.crystals import layered_oxide
from spin_dp.dynamics.analysis import FILES, analyse
from spin_dp.dynamics.analysis_page import PAGE_FILE, PLOT_FILE
from spin_dp.dynamics.layers import REACH, find_layers
from spin_dp.errors import ConfigError, DataError
from spin_dp.neighbours import find_pairs
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from spin_dp.dynamics.layers import Layers

SHORT, LONG = 1.9, 2.3


def octahedra() -> Atoms:
    """Return Mn with four oxygens at 1.9 and two at 2.3 Å, rows up and down, and Li."""
    cell = np.diag([2 * SHORT, 2 * SHORT, 2 * LONG])
    unit = Atoms(
        "MnO3",
        positions=[[0, 0, 0], [SHORT, 0, 0], [0, SHORT, 0], [0, 0, LONG]],
        cell=cell,
        pbc=True,
    )
    atoms = unit.repeat((2, 2, 2))
    first = np.flatnonzero(atoms.symbols == "Mn")[0]
    atoms += Atoms("Li", positions=[atoms.positions[first] + [0.9, 0.9, 1.4]])
    return atoms


def frame(
    atoms: Atoms, states: dict[int, str], moments: np.ndarray, time_fs: float
) -> Atoms:
    names = np.array([states.get(i, "none") for i in range(len(atoms))])
    made = atoms.copy()
    made.set_array("spin_states", names)
    made.info = {"step": int(time_fs), "time_fs": time_fs}
    made.set_velocities(np.zeros_like(atoms.positions))
    vectors = np.zeros((len(atoms), 3))
    vectors[:, 2] = moments
    made.calc = SinglePointCalculator(made, energy=-1.0 - time_fs, magmoms=vectors)
    return made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run of two frames: in the second one, one Mn lost an electron."""
    atoms = octahedra()
    metals = np.flatnonzero(atoms.symbols == "Mn").tolist()
    states = dict.fromkeys(metals, "Mn3+HS")
    moments = np.zeros(len(atoms))
    moments[metals] = 3.7
    folder = tmp_path / "run"
    folder.mkdir()
    flipped = moments.copy()
    flipped[metals[0]] = -3.7
    first = frame(atoms, states, moments, 0.0)
    second = frame(atoms, {**states, metals[0]: "Mn4+"}, flipped, 100.0)
    write(folder / "trajectory.extxyz", [first, second])
    return folder


def test_bonds_of_an_elongated_octahedron(run: Path) -> None:
    found = analyse(run).states.set_index("state")
    row = found.loc["Mn3+HS"]
    mean = (4 * SHORT + 2 * LONG) / 6
    assert row["bond"] == pytest.approx(mean)
    assert row["stretch"] == pytest.approx(LONG / SHORT)
    spread = (4 * (mean - SHORT) + 2 * (LONG - mean)) / 6
    assert row["distortion"] == pytest.approx(spread / mean)
    assert row["moment"] == pytest.approx(3.7)
    assert row["moment_spread"] == pytest.approx(0.0, abs=1e-6)
    # Lithium sits beside one of them: that which lost an electron in the second frame.
    assert found.loc["Mn4+", "mobile"] == 1.0
    assert row["mobile"] == pytest.approx(1 / 15)
    assert row["sites"] == 7.5
    assert found.loc["Mn4+", "sites"] == 0.5


def test_frames_tell_states_charges_and_order(run: Path) -> None:
    frames = analyse(run).frames
    assert frames["time_ps"].tolist() == [0.0, 0.1]
    assert frames["n Mn3+HS"].tolist() == [8, 7]
    assert frames["n Mn4+"].tolist() == [0, 1]
    assert frames["charge"].tolist() == [24, 25]
    assert frames["changed"].tolist() == [0, 1]
    assert frames["moment"].tolist() == pytest.approx([8 * 3.7, 6 * 3.7])
    assert frames["energy"].tolist() == [-1.0, -101.0]
    # No metal has another one within 3.3 Å here.
    assert frames["order"].isna().all()


def test_what_is_left_for_oxygen(run: Path) -> None:
    frames = analyse(run).frames
    # Eight Mn, one Li, 24 O: 24 + 1, then 25 + 1 positive charges.
    assert frames["alkali"].tolist() == pytest.approx([1 / 8] * 2)
    assert frames["ligand_charge"].tolist() == pytest.approx([-25 / 24, -26 / 24])
    assert frames["ligand_moment_max"].tolist() == [0.0, 0.0]
    first, second = read(run / "trajectory.extxyz", index=":")
    oxygen = np.flatnonzero(second.symbols == "O")[:2]
    second.calc.results["magmoms"][oxygen, 2] = [-0.3, 0.1]
    write(run / "trajectory.extxyz", [first, second])
    frames = analyse(run).frames
    assert frames["ligand_moment"].tolist() == pytest.approx([0.0, 0.4 / 24])
    assert frames["ligand_moment_max"].tolist() == pytest.approx([0.0, 0.3])


def test_order_of_neighbouring_moments(tmp_path: Path) -> None:
    atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)  # Ni-Ni 2.95 Å
    metals = np.flatnonzero(atoms.symbols == "Ni").tolist()
    layers = np.rint(2.0 * atoms.get_scaled_positions()[metals, 2]).astype(int) % 2
    moments = np.zeros(len(atoms))
    moments[metals] = 1.7 * (1 - 2 * layers)
    one = frame(atoms, dict.fromkeys(metals, "Ni2+"), moments, 0.0)
    write(tmp_path / "t.extxyz", [one])
    # Of twelve neighbours four are in the plane, eight above and below.
    order = analyse(tmp_path / "t.extxyz").frames["order"]
    assert order.tolist() == pytest.approx([(4 - 8) / 12])


def test_distances_of_a_gas_are_alike_everywhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(3):
        atoms = Atoms("Ni60O240", rng.uniform(0, 16, (300, 3)), cell=[16] * 3, pbc=True)
        metals = list(range(60))
        frames.append(frame(atoms, dict.fromkeys(metals, "Ni2+"), np.zeros(300), 0.0))
    write(tmp_path / "gas.extxyz", frames)
    rdf = analyse(tmp_path / "gas.extxyz").rdf
    far = rdf[rdf["r"] > 2.0]
    assert far["Ni2+-O"].mean() == pytest.approx(1.0, abs=0.03)
    assert far["Ni2+-metal"].mean() == pytest.approx(1.0, abs=0.1)
    peaks = analyse(tmp_path / "gas.extxyz", skip_ps=0.0).rdf
    pd.testing.assert_frame_equal(rdf, peaks)


def test_frames_without_names_go_by_element(run: Path) -> None:
    from ase.io import read

    atoms = read(run / "trajectory.extxyz", index=0)
    assert isinstance(atoms, Atoms)
    del atoms.arrays["spin_states"]
    write(run / "plain.extxyz", [atoms])
    found = analyse(run / "plain.extxyz")
    assert found.states["state"].tolist() == ["Mn"]
    assert found.frames["charge"].isna().all()


def test_the_command_leaves_tables_picture_and_page(run: Path, capsys) -> None:
    assert main(["analyse", str(run)]) == 0
    out = capsys.readouterr().out
    assert "Mn3+HS" in out
    folder = run / "analysis"
    left = {path.name for path in folder.iterdir()}
    assert left == {*FILES, PAGE_FILE, PLOT_FILE}
    page = (folder / PAGE_FILE).read_text()
    assert "<svg" in page
    assert "Mn4+" in page
    assert len(pd.read_csv(folder / "frames.csv")) == 2
    assert main(["analyse", str(run), "--skip", "0.05", "-o", str(run / "late")]) == 0
    assert len(pd.read_csv(run / "late" / "frames.csv")) == 1


def test_what_is_no_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such trajectory"):
        analyse(tmp_path)
    with pytest.raises(ConfigError, match="no frame after 9 ps"):
        analyse(run, skip_ps=9.0)
    gas = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], cell=[5] * 3, pbc=True)
    gas.calc = SinglePointCalculator(gas, energy=0.0)
    write(tmp_path / "gas.extxyz", gas)
    with pytest.raises(DataError, match="metals with spin states"):
        analyse(tmp_path / "gas.extxyz")


def layers_of(atoms: Atoms) -> Layers | None:
    symbols = np.array(atoms.get_chemical_symbols())
    metals = np.isin(symbols, ["Mn", "Ni"])
    cell, positions = atoms.cell.array, atoms.positions
    pairs = find_pairs(cell, positions, REACH)
    return find_layers(cell, positions, pairs, metals, symbols == "O")


def test_layers_of_a_layered_oxide_in_any_cell_and_turned() -> None:
    """R-3m: three layers along c = 14.19 Å, oxygen at z = 0.2583 (CRYSTALS)."""
    whole = layered_oxide("LiNiO2", (2, 1, 1))
    primitive = Atoms(
        "LiNiO2",
        scaled_positions=[[0.5] * 3, [0.0] * 3, [0.2583] * 3, [0.7417] * 3],
        cell=np.array([[0, 2, 1], [-(3**0.5), -1, 1], [3**0.5, -1, 1]])
        * [2.878 / 12**0.5, 2.878 / 12**0.5, 14.19 / 3],
        pbc=True,
    )
    turned = whole.copy()
    turned.rotate(40.0, (1, 2, 3), rotate_cell=True)
    rng = np.random.default_rng(2)
    moved = whole.repeat((2, 2, 1))
    moved.positions += rng.normal(0.0, 0.08, moved.positions.shape)
    for atoms, tolerance in ((whole, 1e-6), (primitive, 1e-6), (turned, 1e-6)):
        found = layers_of(atoms)
        assert found is not None
        assert found.spacing == pytest.approx(14.19 / 3, abs=tolerance)
        assert found.slab == pytest.approx(2 * (1 / 3 - 0.2583) * 14.19, abs=tolerance)
    found = layers_of(moved)
    assert found is not None
    assert found.spacing == pytest.approx(14.19 / 3, abs=0.05)
    assert found.slab == pytest.approx(2 * (1 / 3 - 0.2583) * 14.19, abs=0.05)


def test_one_metal_between_the_layers_is_no_other_crystal() -> None:
    atoms = layered_oxide("LiNiO2", (2, 2, 1))
    symbols = atoms.get_chemical_symbols()
    first, second = symbols.index("Li"), symbols.index("Ni")
    symbols[first], symbols[second] = "Ni", "Li"
    atoms.set_chemical_symbols(symbols)
    found = layers_of(atoms)
    assert found is not None
    assert found.spacing == pytest.approx(14.19 / 3)
    assert found.slab == pytest.approx(2 * (1 / 3 - 0.2583) * 14.19, abs=0.05)


@pytest.mark.parametrize("prototype", ["rocksalt", "spinel"])
def test_crystals_without_layers(prototype: str) -> None:
    if prototype == "rocksalt":
        atoms = bulk("NiO", "rocksalt", 4.2, cubic=True)
    else:
        atoms = read(ROOT / "examples" / "gpaw" / "LiMn2O4_14.extxyz")
    assert layers_of(atoms) is None


def test_layers_are_in_the_table(tmp_path: Path) -> None:
    atoms = layered_oxide("LiNiO2", (1, 1, 1))
    write(tmp_path / "run.extxyz", [frame(atoms, {}, np.zeros(len(atoms)), 0.0)])
    row = analyse(tmp_path / "run.extxyz").frames.iloc[0]
    assert row["layer_spacing"] == pytest.approx(4.73)
    assert row["slab"] == pytest.approx(2 * (1 / 3 - 0.2583) * 14.19, abs=1e-3)
