# SPDX-License-Identifier: LGPL-3.0-or-later
"""Systems in deepmd-kit's layout, formulas and type maps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from spin_dp.data_tools import Frame, write_system
from spin_dp.data_tools.level import named_level
from spin_dp.errors import DataError
from spin_dp.spin_states.elements import formula, type_order

if TYPE_CHECKING:
    from pathlib import Path

TYPE_MAP = ("Li", "Mn", "O")


def frame(seed: int, symbols: tuple[str, ...] = ("O", "Mn", "Li", "O")) -> Frame:
    rng = np.random.default_rng(seed)
    n = len(symbols)
    return Frame(
        source="made",
        step=seed,
        symbols=symbols,
        cell=np.eye(3) * 5 + rng.normal(size=(3, 3)) * 0.1,
        positions=rng.normal(size=(n, 3)),
        energy=float(rng.normal()),
        forces=rng.normal(size=(n, 3)),
        moments=rng.normal(size=(n, 3)),
        virial=rng.normal(size=(3, 3)),
        level=named_level("made"),
    )


def load(folder: Path, name: str) -> np.ndarray:
    return np.asarray(np.load(folder / "set.000" / f"{name}.npy"))


def test_atoms_are_sorted_by_type_and_stay_in_order_within_it(tmp_path: Path) -> None:
    one = frame(1)
    other = frame(2, ("Li", "O", "O", "Mn"))  # same composition, other order
    write_system(tmp_path / "s", [one, other], TYPE_MAP)
    assert (tmp_path / "s/type.raw").read_text().split() == ["0", "1", "2", "2"]
    assert (tmp_path / "s/type_map.raw").read_text().split() == list(TYPE_MAP)
    for name, attribute in (
        ("coord", "positions"),
        ("force", "forces"),
        ("spin", "moments"),
    ):
        stored = load(tmp_path / "s", name).reshape(2, 4, 3)
        np.testing.assert_array_equal(stored[0], getattr(one, attribute)[[2, 1, 0, 3]])
        np.testing.assert_array_equal(
            stored[1], getattr(other, attribute)[[0, 3, 1, 2]]
        )
    np.testing.assert_array_equal(load(tmp_path / "s", "box")[1], other.cell.ravel())
    np.testing.assert_array_equal(
        load(tmp_path / "s", "energy"), [one.energy, other.energy]
    )
    assert one.virial is not None
    np.testing.assert_array_equal(load(tmp_path / "s", "virial")[0], one.virial.ravel())
    assert load(tmp_path / "s", "coord").dtype == np.float64


def test_virial_is_written_only_if_every_frame_has_one(tmp_path: Path) -> None:
    without = replace(frame(2), virial=None)
    write_system(tmp_path / "s", [frame(1), without], TYPE_MAP)
    assert not (tmp_path / "s/set.000/virial.npy").exists()


def test_magnetic_forces_are_written_only_on_request(tmp_path: Path) -> None:
    write_system(tmp_path / "held", [frame(1)], TYPE_MAP)
    write_system(tmp_path / "free", [frame(1)], TYPE_MAP, stationary=True)
    assert not (tmp_path / "held/set.000/force_mag.npy").exists()
    np.testing.assert_array_equal(
        load(tmp_path / "free", "force_mag"), np.zeros((1, 12))
    )


def test_other_composition_in_one_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="different compositions in one system"):
        write_system(tmp_path / "s", [frame(1), frame(2, ("O", "Mn"))], TYPE_MAP)
    assert not (tmp_path / "s").exists()


def test_order_of_elements_and_formula() -> None:
    assert type_order(["O", "Ni", "P", "Li", "F", "Co", "Na", "Mg"]) == (
        *("Li", "Na", "Mg", "Co", "Ni", "O", "F", "P"),
    )
    assert formula(["O", "Ti", "O", "Ba", "O"]) == "BaTiO3"
    assert formula(["Fe"]) == "Fe"


def test_frame_as_pymatgen_structure() -> None:
    one = frame(1)
    structure = one.to_structure()
    assert [site.specie.symbol for site in structure] == list(one.symbols)
    np.testing.assert_allclose(structure.cart_coords, one.positions)
    np.testing.assert_allclose(structure.site_properties["forces"], one.forces)
    assert structure.properties["energy"] == one.energy
    moments = [
        float(np.linalg.norm(m.moment)) if hasattr(m, "moment") else abs(m)
        for m in structure.site_properties["magmom"]
    ]
    np.testing.assert_allclose(moments, np.linalg.norm(one.moments, axis=1))
