# SPDX-License-Identifier: LGPL-3.0-or-later
"""Equal geometries are found, and a geometry never stands on both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from spin_dp.data_tools import Frame, read_outcar
from spin_dp.data_tools.dataset.split import draw_validation, number_geometries
from spin_dp.data_tools.geometry import same_geometry
from spin_dp.data_tools.level import named_level
from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

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


def test_same_structure_is_found_in_other_order_and_image() -> None:
    positions = random_positions(1)
    rounded = frame(np.round(positions, 5))
    moved = frame(positions + np.array([1.0, -2.0, 3.0]) @ CELL)
    order = [1, 0, 4, 2, 3, 5]  # within the elements
    shuffled = frame(positions[order])
    other = frame(random_positions(2))
    assert same_geometry([frame(positions), other, rounded, moved, shuffled]) == [
        *(0, 1, 0, 0, 0)
    ]


@pytest.mark.parametrize("atom", range(6))
def test_displaced_atom_is_another_geometry(atom: int) -> None:
    positions = random_positions(3)
    displaced = positions.copy()
    displaced[atom, 1] += 0.002
    assert same_geometry([frame(positions), frame(displaced)]) == [0, 1]


def test_swapped_elements_are_another_geometry() -> None:
    positions = random_positions(4)
    swapped = positions[[2, 1, 0, 3, 4, 5]]
    assert same_geometry([frame(positions), frame(swapped)]) == [0, 1]


def test_equal_names_join_and_link_through_equal_shapes() -> None:
    a, b = random_positions(5), random_positions(6)
    frames = [frame(a, "x"), frame(b, "x"), frame(b), frame(random_positions(7), "y")]
    assert same_geometry(frames) == [0, 0, 0, 1]


def test_geometries_of_other_formulas_are_other_geometries() -> None:
    one = frame(random_positions(8), "x")
    other = replace(one, symbols=("Mn", "Mn", "O", "O", "O", "Na"))
    assert number_geometries([one, other, one]) == [
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
    assert same_geometry(frames) == [0, 0, 0, 0]
    steps = [
        item
        for item in read_outcar(vasp_data / "feo-relax-spinflip" / "OUTCAR.gz")
        if isinstance(item, Frame)
    ]
    assert len(set(same_geometry(steps))) == 28


def drawn(n_geometries: int, fraction: float, seed: int = 0) -> list[str]:
    names = [f"A-{i}" for i in range(n_geometries) for _ in range(2)]
    flags = draw_validation(
        ["A"] * len(names), names, [1.0] * len(names), fraction, seed
    )
    return sorted({name for name, flag in zip(names, flags, strict=True) if flag})


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
    names = [f"A-{i}" for i in range(30)]
    alone = draw_validation(["A"] * 30, names, [1.0] * 30, 0.3, 1)
    mixed = draw_validation(["A"] * 30 + ["B"], [*names, "B-0"], [1.0] * 31, 0.3, 1)
    assert mixed[:30] == alone


@pytest.mark.parametrize("seed", range(20))
def test_geometry_with_the_largest_force_stays_in_training(seed: int) -> None:
    names = ["A-0", "A-1", "A-1", "A-2", "A-3"]
    forces = [2.0, 0.1, 9.0, 8.0, 1.0]  # the second frame of A-1 counts for both
    flags = draw_validation(["A"] * 5, names, forces, 0.5, seed)
    assert not flags[1]
    assert not flags[2]
    assert sum(flags) == 2


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_impossible_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match="at least 0 and below 1"):
        draw_validation(["A"], ["A-0"], [1.0], fraction, 0)
