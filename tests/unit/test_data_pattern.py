# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pattern says which moments a frame shows, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from spin_dp.spin_states.pattern import moment_pattern


def along_z(*moments: float) -> np.ndarray:
    return np.array([[0.0, 0.0, m] for m in moments])


@pytest.mark.parametrize(
    ("symbols", "moments", "text"),
    [
        # Ordinary moments in the sphere (examples/gpaw/README.md): high-spin Mn(III)
        # 3.6 to 3.8, high-spin Co(III) 3.1, Ni(II) 1.7, low-spin Co(III) 0.
        (["Mn", "Mn", "O"], (3.7, -3.6, 0.2), "Mn[+4,-4]"),
        (["Co", "Co", "O"], (0.0, 3.1, 0.4), "Co[+3,0]"),
        (["Ni", "Mn", "Ni"], (-0.8, 3.1, 1.7), "Mn[+3]Ni[+2,-1]"),
        (["Co"] * 4, (0.0, 0.1, -0.1, 0.0), "Co[0x4]"),
        (["Fe"] * 5, (2.0, 2.1, 1.9, -2.0, -2.1), "Fe[+2x3,-2,-2]"),
        (["Gd", "S"], (-6.9, 0.0), "Gd[+7]"),
        (["Zn", "O"], (0.0, 0.0), "Zn[0]"),
        (["Li", "O"], (0.0, 1.0), "no-metal"),
    ],
)
def test_pattern_counts_unpaired_electrons_of_metal_sites(
    symbols: list[str], moments: tuple[float, ...], text: str
) -> None:
    assert moment_pattern(symbols, along_z(*moments)) == text


def test_pattern_ignores_global_flip_and_order_of_atoms() -> None:
    rng = np.random.default_rng(5)
    symbols = np.array(["Mn", "Ni", "Ni", "Mn", "Co", "O", "Mn", "Co"])
    seen = set()
    for _ in range(50):
        moments = along_z(*rng.uniform(-4.4, 4.4, len(symbols)))
        pattern = moment_pattern(list(symbols), moments)
        seen.add(pattern)
        order = rng.permutation(len(symbols))
        for sign in (1.0, -1.0):
            other = moment_pattern(list(symbols[order]), sign * moments[order])
            assert other == pattern
    assert len(seen) == 50  # the states drawn are different, and stay apart


def test_pattern_does_not_hang_on_which_moment_is_the_largest() -> None:
    first = moment_pattern(["Mn"] * 3, along_z(3.71, -3.70, -3.69))
    second = moment_pattern(["Mn"] * 3, along_z(3.69, -3.70, -3.71))
    assert first == second == "Mn[+4,+4,-4]"


def test_relative_orientation_of_the_elements_is_kept() -> None:
    parallel = moment_pattern(["Mn", "Ni"], along_z(3.2, 1.7))
    opposite = moment_pattern(["Mn", "Ni"], along_z(3.2, -1.7))
    assert parallel == "Mn[+3]Ni[+2]"
    assert opposite == "Mn[+3]Ni[-2]"


def test_antiferromagnetic_and_collapsed_states_differ_at_equal_total() -> None:
    assert moment_pattern(["Fe"] * 2, along_z(2.6, -2.6)) == "Fe[+3,-3]"
    assert moment_pattern(["Fe"] * 2, along_z(0.1, -0.1)) == "Fe[0,0]"


def test_noncollinear_pattern_ignores_rotation_of_all_moments() -> None:
    rng = np.random.default_rng(3)
    symbols = ["Ni", "Ni", "Mn", "O"]
    moments = along_z(1.7, -1.6, 3.2, 0.1)
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    assert moment_pattern(symbols, moments @ matrix.T) == moment_pattern(
        symbols, moments
    )


def test_site_off_the_common_axis_keeps_its_size_and_loses_its_sign() -> None:
    moments = np.array([[0.0, 0.0, 3.9], [3.7, 0.0, 0.1], [0.0, 0.5, -3.6]])
    assert moment_pattern(["Mn"] * 3, moments) == "Mn[+4,-4,~4]"
