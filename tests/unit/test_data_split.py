# SPDX-License-Identifier: LGPL-3.0-or-later
"""Equal geometries are found, and a geometry never stands on both sides."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pandas as pd
import pytest

from spin_dp.data_tools import Frame, Rules, collect, read_outcar
from spin_dp.data_tools.collection.output_folder import RECORD
from spin_dp.data_tools.collection.split import (
    draw_validation,
    named_to_hold_out,
    number_geometries,
)
from spin_dp.data_tools.geometry import fingerprint, same_geometry
from spin_dp.data_tools.level import named_level
from spin_dp.demo.origins import RATTLED
from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

GPAW = Path(__file__).resolve().parents[2] / "examples" / "gpaw"
CELL = np.array([[5.0, 0.2, 0.0], [0.0, 5.5, 0.1], [0.3, 0.0, 6.0]])


def frame(positions: np.ndarray, geometry_id: str | None = None) -> Frame:
    symbols = ("Mn", "Mn", "O", "O", "O", "Li")
    return Frame(
        source="made",
        step=1,
        symbols=symbols,
        cell=CELL,
        positions=positions,
        energy=-1.0,
        forces=np.zeros_like(positions),
        moments=np.zeros_like(positions),
        virial=None,
        level=named_level("made"),
        geometry_id=geometry_id,
    )


def random_positions(seed: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).uniform(size=(6, 3)) @ CELL)


def classes(frames: Sequence[Frame]) -> list[int]:
    prints = [fingerprint(f) for f in frames]
    return same_geometry(prints, [f.geometry_id for f in frames])


def names(
    frames: Sequence[Frame], earlier: Sequence[str | None] | None = None
) -> list[str]:
    return number_geometries(
        [f.formula for f in frames],
        [fingerprint(f) for f in frames],
        [f.geometry_id for f in frames],
        earlier,
    )


def test_same_structure_is_found_in_other_order_and_image() -> None:
    positions = random_positions(1)
    rounded = frame(np.round(positions, 5))
    moved = frame(positions + np.array([1.0, -2.0, 3.0]) @ CELL)
    order = [1, 0, 4, 2, 3, 5]  # within the elements
    shuffled = frame(positions[order])
    other = frame(random_positions(2))
    found = classes([frame(positions), other, rounded, moved, shuffled])
    assert found == [0, 1, 0, 0, 0]


@pytest.mark.parametrize("atom", range(6))
def test_displaced_atom_is_another_geometry(atom: int) -> None:
    positions = random_positions(3)
    displaced = positions.copy()
    displaced[atom, 1] += 0.002
    assert classes([frame(positions), frame(displaced)]) == [0, 1]


def test_swapped_elements_are_another_geometry() -> None:
    positions = random_positions(4)
    swapped = positions[[2, 1, 0, 3, 4, 5]]
    assert classes([frame(positions), frame(swapped)]) == [0, 1]


def test_equal_names_join_and_link_through_equal_shapes() -> None:
    a, b = random_positions(5), random_positions(6)
    frames = [frame(a, "x"), frame(b, "x"), frame(b), frame(random_positions(7), "y")]
    assert classes(frames) == [0, 0, 0, 1]


def test_geometries_of_other_formulas_are_other_geometries() -> None:
    one = frame(random_positions(8), "x")
    other = replace(one, symbols=("Mn", "Mn", "O", "O", "O", "Na"))
    assert names([one, other, one]) == [
        *("LiMn2O3-0000", "NaMn2O3-0000", "LiMn2O3-0000")
    ]


def test_repeated_runs_of_one_structure_are_one_geometry(vasp_data: Path) -> None:
    """All nmc111 runs have the same atoms; the ionic steps of FeO differ."""
    frames = [
        item
        for name in ("li-nupdown81-k1.0", "li-nupdown81-k1.2", "lisv-k0.2", "lisv-k0.6")
        for item in read_outcar(vasp_data / f"nmc111-{name}" / "OUTCAR.gz")
        if isinstance(item, Frame)
    ]
    assert classes(frames) == [0, 0, 0, 0]
    steps = [
        item
        for item in read_outcar(vasp_data / "feo-relax-spinflip" / "OUTCAR.gz")
        if isinstance(item, Frame)
    ]
    assert len(set(classes(steps))) == 28


def test_earlier_names_stay_when_frames_are_added_before_them() -> None:
    old = [frame(random_positions(seed)) for seed in (10, 11)]
    new = [frame(random_positions(seed)) for seed in (12, 13)]
    first, second = names(old)
    grown = names([new[0], old[1], new[1], old[0]], [None, second, None, first])
    assert grown == [*(f"LiMn2O3-000{n}" for n in (2, 1, 3, 0))]
    again = names([old[1], old[1]], [None, second])  # a new frame of a known geometry
    assert again == [second, second]


def test_joined_and_foreign_earlier_names() -> None:
    a, b = random_positions(14), random_positions(15)
    frames = [frame(a, "x"), frame(b, "x"), frame(random_positions(16))]
    earlier = ["LiMn2O3-0007", "LiMn2O3-0004", "NaMn2O3-0009"]
    assert names(frames, earlier) == [*("LiMn2O3-0004", "LiMn2O3-0004", "LiMn2O3-0008")]


def drawn(n_geometries: int, fraction: float, seed: int = 0) -> list[str]:
    units = [f"A-{i}" for i in range(n_geometries) for _ in range(2)]
    flags = draw_validation(
        ["A"] * len(units), units, [1.0] * len(units), fraction, seed
    )
    return sorted({unit for unit, flag in zip(units, flags, strict=True) if flag})


@pytest.mark.parametrize(
    ("n_geometries", "fraction", "n_drawn"),
    [(20, 0.1, 2), (3, 0.1, 1), (2, 0.5, 0), (1, 0.9, 0), (3, 0.99, 2), (9, 0.0, 0)],
)
def test_share_of_the_geometries(
    n_geometries: int, fraction: float, n_drawn: int
) -> None:
    assert len(drawn(n_geometries, fraction)) == n_drawn


def test_draw_depends_on_the_seed_and_on_nothing_else() -> None:
    assert drawn(30, 0.3, seed=1) == drawn(30, 0.3, seed=1)
    assert drawn(30, 0.3, seed=1) != drawn(30, 0.3, seed=2)
    units = [f"A-{i}" for i in range(30)]
    alone = draw_validation(["A"] * 30, units, [1.0] * 30, 0.3, 1)
    mixed = draw_validation(["A"] * 30 + ["B"], [*units, "B-0"], [1.0] * 31, 0.3, 1)
    assert mixed[:30] == alone


@pytest.mark.parametrize("seed", range(20))
def test_geometry_with_the_largest_force_stays_in_training(seed: int) -> None:
    units = ["A-0", "A-1", "A-1", "A-2", "A-3"]
    forces = [2.0, 0.1, 9.0, 8.0, 1.0]  # the second frame of A-1 counts for both
    flags = draw_validation(["A"] * 5, units, forces, 0.5, seed)
    assert not flags[1]
    assert not flags[2]
    assert sum(flags) == 2


def test_first_draw_follows_the_documented_rule_on_real_frames() -> None:
    """Geometries, forces and draw computed from the files alone."""
    files = [GPAW / f"{name}.extxyz" for name in RATTLED]
    images = [atoms for file in files for atoms in ase.io.read(file, index=":")]
    assert len(images) == 221  # README.md
    geometries: dict[str, dict[str, float]] = defaultdict(dict)
    formulas, ids, forces = [], [], []
    for atoms in images:
        counts = atoms.symbols.formula.count()
        order = [e for e in ("Li", "Mn", "Co", "Ni", "O") if e in counts]
        formulas.append("".join(f"{e}{counts[e]}".removesuffix("1") for e in order))
        ids.append(atoms.info["geometry_id"])
        forces.append(float(np.linalg.norm(atoms.get_forces(), axis=1).max()))
        largest = geometries[formulas[-1]]
        largest[ids[-1]] = max(largest.get(ids[-1], 0.0), forces[-1])
    expected: set[str] = set()
    for formula, largest in geometries.items():
        rng = np.random.default_rng([0, zlib.crc32(formula.encode())])
        order = [list(largest)[i] for i in rng.permutation(len(largest))]
        order.remove(max(largest, key=lambda name: largest[name]))
        expected.update(order[: max(1, round(0.2 * len(largest)))])
    flags = draw_validation(formulas, ids, forces, 0.2, 0)
    assert {id_ for id_, flag in zip(ids, flags, strict=True) if flag} == expected
    assert flags == [id_ in expected for id_ in ids]


def test_growing_data_set_keeps_every_side_and_reaches_the_share() -> None:
    rng = np.random.default_rng(7)
    units = [f"A-{i}" for i in range(100)]
    forces = [*rng.uniform(size=100)]
    earlier: list[str | None] = []
    for size in (2, 10, 40, 100):
        known = [*earlier, *[None] * (size - len(earlier))]
        flags = draw_validation(
            ["A"] * size, units[:size], forces[:size], 0.2, size, earlier=known
        )
        for side, flag in zip(earlier, flags[: len(earlier)], strict=True):
            assert flag is (side == "validation")
        assert sum(flags) == (0.2 * size if size > 2 else 0)
        earlier = ["validation" if flag else "training" for flag in flags]
    fewer = draw_validation(["A"] * 100, units, forces, 0.0, 0, earlier=earlier)
    assert sum(fewer) == 20


def test_new_frame_of_a_known_unit_follows_it_and_contradictions_train() -> None:
    units = ["A-0", "A-0", "A-1", "A-1", "A-2", "A-2"]
    earlier = ["validation", None, "training", None, "validation", "training"]
    forces = [9.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    flags = draw_validation(["A"] * 6, units, forces, 0.1, 0, earlier=earlier)
    assert flags == [True, True, False, False, False, False]


def test_trajectories_stay_whole_and_join_where_they_share_a_geometry() -> None:
    runs = [f"run-{i}" for i in range(10) for _ in range(4)]
    geometries = [f"A-{i}" for i in range(40)]
    geometries[4] = "A-3"  # the second run starts where the first ended
    forces = [1.0] * 39 + [2.0]
    joined_drawn = set()
    for seed in range(20):
        flags = draw_validation(["A"] * 40, geometries, forces, 0.3, seed, units=runs)
        per_run = np.reshape(flags, (10, 4))
        assert (per_run.all(axis=1) | ~per_run.any(axis=1)).all()
        assert per_run[0, 0] == per_run[1, 0]
        assert per_run[1:, 0].sum() == 3  # of nine units
        joined_drawn.add(bool(per_run[0, 0]))
    assert joined_drawn == {True, False}


def test_trajectories_of_several_compositions_keep_the_largest_force_of_each() -> None:
    formulas = ["A", "B"] * 6
    runs = [f"run-{i}" for i in range(6) for _ in range(2)]
    forces = [1.0] * 12
    forces[4], forces[11] = 5.0, 5.0  # A in run-2, B in run-5
    geometries = [f"{formula}-{i}" for i, formula in enumerate(formulas)]
    drawn_runs: set[str] = set()
    for seed in range(30):
        flags = draw_validation(formulas, geometries, forces, 0.5, seed, units=runs)
        chosen = {run for run, flag in zip(runs, flags, strict=True) if flag}
        assert len(chosen) == 3
        assert sum(flags) == 6
        drawn_runs |= chosen
    assert drawn_runs == {"run-0", "run-1", "run-3", "run-4"}


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_impossible_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match="at least 0 and below 1"):
        draw_validation(["A"], ["A-0"], [1.0], fraction, 0)


def test_what_is_named_is_held_out() -> None:
    frames = [
        ("first", "/data/NMC111/relax/OUTCAR"),
        ("second", "/data/NMC111/md/vasprun.xml"),
        (None, "/data/LiCoO2/md/vasprun.xml"),
    ]

    def named(*names: str) -> list[bool]:
        return named_to_hold_out(frames, names)

    assert named() == [False, False, False]
    assert named("first") == [True, False, False]
    assert named("NMC*/*/*") == [True, True, False]
    assert named("md/vasprun.xml", "first") == [True, True, True]
    assert named("OUTCAR") == [True, False, False]
    for wrong in ("third", "NMC*", "*.xyz", "data"):
        with pytest.raises(ConfigError, match=r"hold out .*: no frame has"):
            named("first", wrong)


def test_named_geometries_count_to_the_share(tmp_path: Path) -> None:
    """Of the 8 geometries of LiNiO2_4 a fourth: one is named, another is drawn."""
    files = [GPAW / "LiNiO2_4.extxyz"]
    names = {atoms.info["geometry_id"] for atoms in ase.io.iread(files[0], ":")}
    number = len(names)
    for name in sorted(names)[:3]:
        rules = Rules(validation=2.0 / number, hold_out=(name,))
        report = collect(files, tmp_path / name, rules=rules)
        table = pd.read_csv(report.manifest)
        table = table[table["status"] == "kept"]
        held_out = table[table["split"] == "validation"]
        assert held_out["geometry"].nunique() == 2
        infos = [atoms.info for atoms in ase.io.iread(files[0], ":")]
        ids = {infos[step - 1]["geometry_id"] for step in held_out["step"]}
        assert name in ids
        # The named one is held out with all of its frames.
        steps = {k for k, info in enumerate(infos, 1) if info["geometry_id"] == name}
        assert steps <= set(held_out["step"])
        # The same command goes on, another is refused.
        assert collect(files, tmp_path / name, rules=rules).n_read_now == 0
        with pytest.raises(ConfigError, match="hold_out"):
            collect(files, tmp_path / name, rules=replace(rules, hold_out=()))


def test_a_data_set_of_a_version_without_names_grows(tmp_path: Path) -> None:
    files = [GPAW / "LiNiO2_4.extxyz"]
    collect(files, tmp_path / "data")
    record = tmp_path / "data" / RECORD
    content = json.loads(record.read_text())
    content["arguments"].pop("hold_out")
    record.write_text(json.dumps(content))
    assert collect(files, tmp_path / "data").n_read_now == 0
