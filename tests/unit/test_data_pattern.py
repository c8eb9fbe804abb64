# SPDX-License-Identifier: LGPL-3.0-or-later
"""The key names a spin state and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from spin_dp.data_tools.spin_states.pattern import spin_key


def along_z(*moments: float) -> np.ndarray:
    return np.array([[0.0, 0.0, m] for m in moments])


@pytest.mark.parametrize(
    ("symbols", "moments", "text", "slug"),
    [
        # Ordinary moments in the sphere (examples/gpaw/README.md): high-spin Mn(III)
        # 3.6 to 3.8, high-spin Co(III) 3.1, Ni(II) 1.7, low-spin Co(III) 0.
        (["Mn", "Mn", "O"], (3.7, -3.6, 0.2), "Mn[+4,-4]", "Mn+4,-4"),
        (["Co", "Co", "O"], (0.0, 3.1, 0.4), "Co[+3,0]", "Co+3,0"),
        (["Ni", "Mn", "Ni"], (-0.8, 3.1, 1.7), "Mn[+3]Ni[+2,-1]", "Mn+3_Ni+2,-1"),
        (["Co"] * 4, (0.0, 0.1, -0.1, 0.0), "Co[0x4]", "Co0x4"),
        (["Fe"] * 5, (2.0, 2.1, 1.9, -2.0, -2.1), "Fe[+2x3,-2,-2]", "Fe+2x3,-2,-2"),
        (["Gd", "S"], (-6.9, 0.0), "Gd[+7]", "Gd+7"),
        (["Zn", "O"], (0.0, 0.0), "Zn[0]", "Zn0"),
        (["Li", "O"], (0.0, 1.0), "no-metal", "no-metal"),
    ],
)
def test_key_counts_unpaired_electrons_of_metal_sites(
    symbols: list[str], moments: tuple[float, ...], text: str, slug: str
) -> None:
    key = spin_key(symbols, along_z(*moments))
    assert key.text == text
    assert key.slug == slug


def test_key_ignores_global_flip_and_order_of_atoms() -> None:
    rng = np.random.default_rng(5)
    symbols = np.array(["Mn", "Ni", "Ni", "Mn", "Co", "O", "Mn", "Co"])
    seen = set()
    for _ in range(50):
        moments = along_z(*rng.uniform(-4.4, 4.4, len(symbols)))
        key = spin_key(list(symbols), moments)
        seen.add(key.text)
        order = rng.permutation(len(symbols))
        for sign in (1.0, -1.0):
            other = spin_key(list(symbols[order]), sign * moments[order])
            assert other == key
    assert len(seen) == 50  # the states drawn are different, and stay apart


def test_key_does_not_hang_on_which_moment_is_the_largest() -> None:
    first = spin_key(["Mn"] * 3, along_z(3.71, -3.70, -3.69))
    second = spin_key(["Mn"] * 3, along_z(3.69, -3.70, -3.71))
    assert first.text == second.text == "Mn[+4,+4,-4]"


def test_relative_orientation_of_the_elements_is_kept() -> None:
    parallel = spin_key(["Mn", "Ni"], along_z(3.2, 1.7))
    opposite = spin_key(["Mn", "Ni"], along_z(3.2, -1.7))
    assert parallel.text == "Mn[+3]Ni[+2]"
    assert opposite.text == "Mn[+3]Ni[-2]"


def test_antiferromagnetic_and_collapsed_states_differ_at_equal_total() -> None:
    assert spin_key(["Fe"] * 2, along_z(2.6, -2.6)).text == "Fe[+3,-3]"
    assert spin_key(["Fe"] * 2, along_z(0.1, -0.1)).text == "Fe[0,0]"


def test_noncollinear_key_ignores_rotation_of_all_moments() -> None:
    rng = np.random.default_rng(3)
    symbols = ["Ni", "Ni", "Mn", "O"]
    moments = along_z(1.7, -1.6, 3.2, 0.1)
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    assert spin_key(symbols, moments @ matrix.T) == spin_key(symbols, moments)


def test_site_off_the_common_axis_keeps_its_size_and_loses_its_sign() -> None:
    moments = np.array([[0.0, 0.0, 3.9], [3.7, 0.0, 0.1], [0.0, 0.5, -3.6]])
    assert spin_key(["Mn"] * 3, moments).text == "Mn[+4,-4,~4]"


@pytest.mark.parametrize(
    ("moment", "margin"), [(3.0, 0.5), (2.6, 0.1), (2.4, 0.1), (0.45, 0.05), (0.0, 0.5)]
)
def test_margin_is_the_distance_to_the_next_integer_name(
    moment: float, margin: float
) -> None:
    key = spin_key(["Mn", "Mn"], along_z(4.0, -moment))
    assert key.margin == pytest.approx(margin)
