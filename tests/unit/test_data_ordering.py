# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tags of magnetic orderings, judged by the symmetry operations that spglib finds."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.geometry import minkowski_reduce
from ase.io import read
from ase.spacegroup import crystal

from spin_dp.errors import DataError
from spin_dp.spin_states.elements import carries_spin_state
from spin_dp.spin_states.ordering import ordering_tag

# spglib 2.8 announces another way to tell errors with every call.
pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR:DeprecationWarning")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "gpaw"

# Published structures: space group, cell (Å, degrees), sites.
CRYSTALS: dict[
    str, tuple[int, tuple[float, ...], dict[str, list[tuple[float, ...]]]]
] = {
    "LiNiO2": (
        166,
        (2.88, 2.88, 14.19, 90, 90, 120),
        {"Ni": [(0, 0, 0)], "Li": [(0, 0, 0.5)], "O": [(0, 0, 0.2585)]},
    ),
    "NiO": (
        225,
        (4.18, 4.18, 4.18, 90, 90, 90),
        {"Ni": [(0, 0, 0)], "O": [(0.5, 0.5, 0.5)]},
    ),
    "LiMn2O4": (
        227,
        (8.24, 8.24, 8.24, 90, 90, 90),
        {"Mn": [(0.5,) * 3], "Li": [(0.125,) * 3], "O": [(0.2631,) * 3]},
    ),
    "Li2NiO2": (
        71,
        (3.743, 2.779, 9.026, 90, 90, 90),
        {"Ni": [(0, 0, 0)], "Li": [(0, 0, 0.286)], "O": [(0.5, 0, 0.145)]},
    ),
    "LiFePO4": (
        62,
        (10.33, 6.01, 4.69, 90, 90, 90),
        {
            "Fe": [(0.282, 0.25, 0.975)],
            "Li": [(0, 0, 0)],
            "P": [(0.095, 0.25, 0.418)],
            "O": [(0.097, 0.25, 0.743), (0.457, 0.25, 0.206), (0.166, 0.046, 0.285)],
        },
    ),
    "LiMnO2": (
        12,
        (5.44, 2.81, 5.39, 90, 116, 90),
        {"Mn": [(0, 0, 0)], "Li": [(0, 0.5, 0.5)], "O": [(0.272, 0, 0.771)]},
    ),
    "Li2MnO3": (
        12,
        (4.937, 8.532, 5.03, 90, 109.46, 90),
        {
            "Mn": [(0, 0.167, 0)],
            "Li": [(0, 0.5, 0), (0, 0, 0.5), (0, 0.661, 0.5)],
            "O": [(0.219, 0, 0.227), (0.254, 0.321, 0.223)],
        },
    ),
    "Fe": (229, (2.87, 2.87, 2.87, 90, 90, 90), {"Fe": [(0, 0, 0)]}),
}


def primitive(name: str) -> Atoms:
    group, cellpar, sites = CRYSTALS[name]
    atoms = crystal(
        [symbol for symbol, places in sites.items() for _ in places],
        [place for places in sites.values() for place in places],
        spacegroup=group,
        setting=2 if group == 227 else 1,
        cellpar=cellpar,
        primitive_cell=True,
    )
    atoms.set_cell(
        minkowski_reduce(atoms.cell[:])[0]
    )  # layers along the first two axes
    metal = [carries_spin_state(symbol) for symbol in atoms.symbols]
    return atoms[np.argsort(~np.array(metal), kind="stable")]


def supercell(atoms: Atoms, matrix) -> Atoms:
    """Repeat the primitive cell by a matrix of rows, or along its three axes."""
    matrix = np.diag(matrix) if np.ndim(matrix) == 1 else np.array(matrix)
    far = np.abs(matrix).sum()
    cells = np.array(list(product(range(-far, far + 1), repeat=3)))
    inside = cells @ np.linalg.inv(matrix)
    cells = cells[((inside > -1e-6) & (inside < 1 - 1e-6)).all(axis=1)]
    fractional = (atoms.get_scaled_positions()[:, None] + cells).reshape(-1, 3)
    return Atoms(
        np.repeat(atoms.symbols, len(cells)),
        positions=fractional @ atoms.cell,
        cell=matrix @ atoms.cell,
        pbc=True,
    )


def metal_sites(atoms: Atoms) -> np.ndarray:
    return np.flatnonzero([carries_spin_state(symbol) for symbol in atoms.symbols])


def tag(atoms: Atoms, pattern, states=None) -> str:
    """Tag a pattern of signs on the metal sites in their order."""
    sites = metal_sites(atoms)
    labels, signs = [""] * len(atoms), np.zeros(len(atoms), dtype=int)
    for place, site in enumerate(sites):
        labels[site] = states[place] if states else f"{atoms.symbols[site]}3+"
    signs[sites] = pattern
    return ordering_tag(list(atoms.symbols), atoms.cell, atoms.positions, labels, signs)


class Judge:
    """Names orbits of patterns under the space group of the primitive crystal.

    A pattern on a supercell is spread over the m x m x m cell, which all operations of
    the infinite crystal keep, also those that the supercell breaks.
    """

    def __init__(self, atoms: Atoms, matrix):
        matrix = np.diag(matrix) if np.ndim(matrix) == 1 else np.array(matrix)
        det = round(abs(np.linalg.det(matrix)))
        adjugate = np.rint(np.linalg.inv(matrix) * det).astype(int)
        m = next(k for k in range(1, det + 1) if not (k * adjugate % det).any())
        cells = np.array(list(product(range(m), repeat=3)))
        scaled = atoms.get_scaled_positions()
        places = (scaled[metal_sites(atoms)][:, None] + cells).reshape(-1, 3)
        small = supercell(atoms, matrix)
        sites = small.positions[metal_sites(small)] @ np.linalg.inv(atoms.cell)
        self.spread = match(places, sites, matrix)
        found = spglib.get_symmetry((np.array(atoms.cell), scaled, atoms.numbers), 1e-3)
        operations = zip(found["rotations"], found["translations"], strict=True)
        big = m * np.eye(3)
        point = np.array([match(places @ w.T + t, places, big) for w, t in operations])
        moves = np.array([match(places + cell, places, big) for cell in cells])
        self.images = moves[:, point].reshape(-1, len(places))

    def orbit(self, pattern) -> bytes:
        images = np.asarray(pattern, dtype=np.int8)[self.spread][self.images]
        return min(bytes(row) for row in (*images, *-images))


def match(wanted, places, lattice):
    """Return which place each wanted position is, modulo a lattice."""
    apart = (wanted[:, None] - places) @ np.linalg.inv(lattice)
    apart = np.abs(apart - np.rint(apart)).max(axis=2)
    assert (apart.min(axis=1) < 1e-3).all()
    return apart.argmin(axis=1)


def patterns(count: int) -> list[tuple[int, ...]]:
    return [(1, *rest) for rest in product((1, -1), repeat=count - 1)]


def tags_of_orbits(name, matrix) -> list[set[str]]:
    """Return the tags that the patterns of each orbit have."""
    atoms = supercell(primitive(name), matrix)
    judge = Judge(primitive(name), matrix)
    found = defaultdict(set)
    for pattern in patterns(len(metal_sites(atoms))):
        found[judge.orbit(pattern)].add(tag(atoms, pattern))
    return list(found.values())


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("LiNiO2", (2, 2, 1)),
        ("LiNiO2", (2, 2, 2)),
        ("LiNiO2", (4, 2, 1)),
        ("LiNiO2", [[2, 1, 0], [-1, 1, 0], [0, 0, 2]]),
        ("LiNiO2", [[2, 0, 0], [0, 2, 0], [1, 0, 2]]),
        ("NiO", (2, 2, 2)),
        ("NiO", [[-1, 1, 1], [1, -1, 1], [1, 1, -1]]),
        ("NiO", [[2, 0, 0], [0, 2, 0], [1, 0, 2]]),
        ("LiMn2O4", (1, 1, 1)),
        ("LiMn2O4", (2, 1, 1)),
        ("Li2NiO2", (2, 2, 2)),
        ("Li2NiO2", (4, 1, 1)),
        ("LiFePO4", (1, 1, 1)),
        ("LiFePO4", (1, 2, 1)),
        ("Li2MnO3", (2, 1, 1)),
        ("Fe", (2, 2, 2)),
    ],
)
def test_orbits_of_the_space_group_and_tags_are_one_to_one(name, matrix):
    tags = tags_of_orbits(name, matrix)
    assert [len(of_orbit) for of_orbit in tags] == [1] * len(tags)
    for first, second in combinations(tags, 2):
        assert first != second


def test_monoclinic_layers_count_as_distorted_rhombohedral_ones():
    """LiMnO2 (C2/m) has the orderings of R-3m, so that orbits of C2/m are joined."""
    distorted = tags_of_orbits("LiMnO2", (2, 2, 2))
    assert [len(tags) for tags in distorted] == [1] * len(distorted)
    ideal = tags_of_orbits("LiNiO2", (2, 2, 2))
    assert len(distorted) > len(ideal) == len(set.union(*distorted))


def wave(atoms, cell, vector) -> np.ndarray:
    """Return the signs of a square wave with a vector on the axes of a cell."""
    sites = atoms.positions[metal_sites(atoms)]
    turns = sites @ np.linalg.inv(cell) @ np.array(vector)
    return np.where((turns + 0.125) % 1.0 < 0.5, 1, -1)


def disturbed(atoms, pattern, rng, rms=0.12, strain=0.03):
    """Return the same ordering displaced, strained, turned, renumbered and recut."""
    atoms = atoms.copy()
    atoms.positions += rng.normal(size=(len(atoms), 3)) * rms / 3**0.5
    tensor = rng.uniform(-strain, strain, (3, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    atoms.set_cell(atoms.cell @ (np.eye(3) + (tensor + tensor.T) / 2) @ turn, True)
    recut = np.eye(3, dtype=int)
    for row, other in rng.permuted([[0, 1], [1, 2], [2, 0]], axis=1):
        recut[row] += rng.integers(-1, 2) * recut[other]
    scaled = atoms.cell.scaled_positions(atoms.positions)
    scaled += rng.uniform(size=3) + rng.integers(-2, 3, size=scaled.shape)
    positions = scaled @ atoms.cell
    order = rng.permutation(len(atoms))
    signs = np.zeros(len(atoms), dtype=int)
    signs[metal_sites(atoms)] = pattern
    new = Atoms(atoms.symbols[order], positions[order], cell=recut @ atoms.cell)
    return new, rng.choice([-1, 1]) * signs[order][metal_sites(new)]


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("LiNiO2", (2, 2, 2)),
        ("LiNiO2", (4, 2, 2)),
        ("LiMnO2", (4, 2, 2)),
        ("NiO", (2, 2, 2)),
        ("NiO", (3, 3, 3)),
        ("LiMn2O4", (2, 2, 1)),
        ("Li2NiO2", (3, 2, 2)),
        ("LiFePO4", (1, 2, 1)),
        ("Fe", (3, 2, 2)),
    ],
)
def test_tag_outlives_heat_strain_and_another_description(name, matrix):
    rng = np.random.default_rng(7)
    atoms = supercell(primitive(name), matrix)
    pattern = rng.permutation(np.arange(len(metal_sites(atoms))) % 2 * 2 - 1)
    expected = tag(atoms, pattern)
    assert expected
    for _ in range(12):
        assert tag(*disturbed(atoms, pattern, rng)) == expected


@pytest.mark.parametrize("name", ["LiNiO2", "LiMn2O4", "Li2NiO2"])
def test_repeated_cell_has_the_same_tag(name):
    atoms = supercell(primitive(name), (2, 1, 1))
    rng = np.random.default_rng(3)
    pattern = np.where(np.arange(len(metal_sites(atoms))) % 2, 1, -1)
    for repeats in ((1, 1, 2), (1, 3, 1), (2, 2, 1)):
        larger = atoms * repeats
        copies = np.tile(pattern, np.prod(repeats))
        assert tag(*disturbed(larger, copies, rng)) == tag(atoms, pattern)


@pytest.mark.parametrize(
    ("name", "stars"),
    [("LiNiO2", [1, 3, 3]), ("NiO", [3, 4]), ("Fe", [1, 6]), ("Li2NiO2", [1, 2, 2, 2])],
)
def test_waves_of_half_period_form_the_stars_of_the_brillouin_zone(name, stars):
    """R-3m: T, L, F; Fm-3m: X (first kind), L (second kind); Im-3m: H, N; Immm: X, RST.

    C. J. Bradley and A. P. Cracknell, The Mathematical Theory of Symmetry in Solids
    (1972), tables 3.1 and 3.6.
    """
    cell = np.array(primitive(name).cell)
    members = defaultdict(set)
    for vector in list(product((0, 0.5), repeat=3))[1:]:
        for matrix in ((2, 2, 2), (2, 4, 2)):
            atoms = supercell(primitive(name), matrix)
            members[tag(atoms, wave(atoms, cell, vector))].add(vector)
    assert sorted(len(vectors) for vectors in members.values()) == stars
    assert len(set.union(*members.values())) == 7


def test_stripes_zigzag_and_double_stripes_of_a_layer_differ():
    cell = np.array(primitive("LiNiO2").cell)
    atoms = supercell(primitive("LiNiO2"), (4, 4, 1))
    steps = atoms.positions[metal_sites(atoms)] @ np.linalg.inv(cell)
    first, second = np.rint(steps[:, :2]).astype(int).T
    signs = {
        "stripes": first % 2,
        "double stripes": first % 4 < 2,
        "zigzag": (first + second % 2) % 4 < 2,
        "one in four": (first % 2 == 0) & (second % 2 == 0),
    }
    assert len({tag(atoms, np.where(up, 1, -1)) for up in signs.values()}) == 4


def test_two_metal_frames_of_real_calculations():
    """Both metals of a cell are of one row: a pair of states is all there is to name.

    The geometries are strained by up to 3 % and displaced by up to 0.14 Å rms.
    """
    tags = defaultdict(set)
    frames = 0
    for path in (EXAMPLES / f"Li{metal}O2_8.extxyz" for metal in ("Co", "Mn", "Ni")):
        for atoms in read(path, index=":"):
            sites = metal_sites(atoms)
            rounded = np.rint(atoms.get_magnetic_moments()[sites]).astype(int)
            states = [f"{atoms.symbols[sites[0]]}{abs(m)}" for m in rounded]
            pair = min(tuple(sorted(s * rounded)) for s in (1, -1))
            found = tag(atoms, np.sign(rounded), states)
            tags[path.stem, pair].add(found)
            assert (found == "") == (rounded[0] == rounded[1])
            frames += 1
    assert frames == 53
    assert all(len(found) == 1 for found in tags.values())
    ordered = [found for found in tags.values() if found != {""}]
    assert len({next(iter(found)) for found in ordered}) == len(ordered) > 8


def test_place_of_lithium_and_oxygen_does_not_matter():
    rng = np.random.default_rng(5)
    atoms = supercell(primitive("LiNiO2"), (2, 2, 2))
    pattern = [1, 1, -1, 1, -1, -1, 1, -1]
    others = np.setdiff1d(np.arange(len(atoms)), metal_sites(atoms))
    moved = atoms.copy()
    moved.positions[others] += rng.normal(size=(len(others), 3))
    del moved[[i for i in others if rng.random() < 0.5]]
    assert tag(moved, pattern) == tag(atoms, pattern)


def test_order_of_states_without_signs_follows_the_orbits():
    atoms = supercell(primitive("LiNiO2"), (2, 2, 2))
    judge = Judge(primitive("LiNiO2"), (2, 2, 2))
    tags = defaultdict(set)
    for pattern in patterns(8):
        states = ["Ni2+" if state > 0 else "Ni4+" for state in pattern]
        few = min(pattern.count(1), pattern.count(-1)) == pattern.count(-1)
        tags[judge.orbit(pattern), few].add(tag(atoms, np.zeros(8), states))
    assert all(len(found) == 1 for found in tags.values())
    assert len(set.union(*tags.values())) == len(tags)
    assert tags[judge.orbit([1] * 8), True] == {""}


def test_order_counts_elements():
    atoms = supercell(primitive("LiNiO2"), (2, 2, 1))
    atoms.symbols[metal_sites(atoms)] = ["Ni", "Ni", "Mn", "Mn"]
    assert tag(atoms, [1, 1, 1, 1]) == ""
    ferrimagnetic = tag(atoms, [1, 1, -1, -1])
    assert ferrimagnetic == tag(atoms, [-1, -1, 1, 1]) != ""
    assert ferrimagnetic != tag(atoms, [1, -1, 1, -1])


def test_disordered_metals_are_named_by_their_shares():
    rng = np.random.default_rng(11)
    atoms = supercell(primitive("NiO"), (3, 3, 2))
    nickel = rng.permutation(metal_sites(atoms))
    atoms.symbols[nickel[:6]] = "Li"
    pattern = np.array([1] * 8 + [-1] * 4)
    expected = tag(atoms, pattern)
    for _ in range(5):
        moved, signs = disturbed(atoms, rng.permutation(pattern), rng)
        assert tag(moved, signs) == expected
    assert tag(atoms * (1, 1, 2), np.tile(pattern, 2)) == expected
    assert tag(atoms, [1] * 7 + [-1] * 5) != expected


@pytest.mark.parametrize("pattern", [[1, 1], [-1, -1], [0, 0], [0, 1]])
def test_nothing_to_order_has_no_tag(pattern):
    assert tag(supercell(primitive("NiO"), (2, 1, 1)), pattern) == ""


def test_no_metal_has_no_tag():
    assert ordering_tag(["Li", "O"], np.eye(3), np.eye(3)[:2], ["", ""], [0, 0]) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": np.zeros((3, 3))}, r"2 atoms: expected positions \(2, 3\)"),
        ({"labels": ["Ni3+"]}, r"2 labels and signs \(2,\), got \(2, 3\), 1 and"),
        ({"signs": [1]}, r"2 and \(1,\)"),
        ({"signs": [2, -1]}, r"must be 1, -1 or 0, got \[-1, 2\]"),
        ({"cell": np.zeros((3, 3))}, "cell with a volume"),
        ({"positions": np.full((2, 3), np.nan)}, "expected finite positions"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    frame = {
        "symbols": ["Ni", "Ni"],
        "cell": np.diag([6.0, 3.0, 3.0]),
        "positions": np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]]),
        "labels": ["Ni3+", "Ni3+"],
        "signs": [1, -1],
    }
    with pytest.raises(DataError, match=message):
        ordering_tag(**(frame | change))
