# SPDX-License-Identifier: LGPL-3.0-or-later
"""Contacts and octahedra of a crystal whose atoms were moved by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from spin_dp.crystals import layered_oxide
from spin_dp.demo.contacts import Contacts, lost_octahedra
from spin_dp.neighbours import shortest_contacts

ATOMS = layered_oxide("LiNiO2", (2, 2, 1))
SYMBOLS = ATOMS.get_chemical_symbols()
CELL = ATOMS.cell.array
IS_METAL = np.array(SYMBOLS) == "Ni"


def lost(positions: np.ndarray) -> int:
    return lost_octahedra(CELL, positions, IS_METAL, np.array(SYMBOLS))


def followed(frames: list[np.ndarray], contacts: Contacts | None = None) -> Contacts:
    """Take frames 10 fs apart."""
    contacts = contacts or Contacts(SYMBOLS)
    for number, positions in enumerate(frames):
        contacts.add(0.01 * number, CELL, positions)
    return contacts


def test_shortest_contacts_are_those_of_ase() -> None:
    rng = np.random.default_rng(3)
    moved = ATOMS.copy()
    moved.positions += rng.normal(0.0, 0.2, moved.positions.shape)
    found = shortest_contacts(SYMBOLS, CELL, moved.positions)
    table = moved.get_all_distances(mic=True) + 99.0 * np.eye(len(moved))
    symbols = np.array(SYMBOLS)
    assert {"Li-Li", "Li-Ni", "Li-O", "Ni-Ni", "Ni-O", "O-O"} == set(found)
    for name, distance in found.items():
        a, b = name.split("-")
        expected = table[np.ix_(symbols == a, symbols == b)].min()
        assert distance == pytest.approx(expected, abs=1e-9)


def test_an_oxygen_that_is_missing_is_missed_by_its_three_metals() -> None:
    assert lost(ATOMS.positions) == 0
    elements = np.array(SYMBOLS)
    elements[SYMBOLS.index("O")] = "Li"
    assert lost_octahedra(CELL, ATOMS.positions, IS_METAL, elements) == 3


def test_vibrations_lose_nothing_and_a_hop_does() -> None:
    """A single frame of an atom at its turning point looks like a broken bond."""
    swing = np.zeros_like(ATOMS.positions)
    nickel = int(np.flatnonzero(IS_METAL)[5])
    oxygen = int(
        next(
            i
            for i in np.flatnonzero(np.array(SYMBOLS) == "O")
            if ATOMS.get_distance(nickel, i, mic=True) < 2.1
        )
    )
    bond = ATOMS.get_distance(nickel, oxygen, mic=True, vector=True)
    swing[oxygen] = 0.8 * bond / np.linalg.norm(bond)
    phases = 2.0 * np.pi * np.arange(43) / 5.0  # a period of 50 fs
    frames = [ATOMS.positions + np.cos(phase) * swing for phase in phases]
    assert lost(frames[0]) > 0
    assert followed(frames).lost == [0, 0]
    away = [ATOMS.positions] * 21 + [ATOMS.positions + 2.0 * swing] * 21
    assert followed(away).lost[0] == 0
    assert followed(away).lost[1] > 0


def test_the_first_contact_that_is_too_short_is_named() -> None:
    near = ATOMS.positions.copy()
    oxygen, nickel = SYMBOLS.index("O"), SYMBOLS.index("Ni")
    near[oxygen] = near[nickel] + [0.0, 0.0, 1.2]
    nearer = near.copy()
    nearer[oxygen, 2] -= 0.5
    contacts = followed([ATOMS.positions, near, nearer])
    assert contacts.broken_ps == 0.01
    assert contacts.broken_by == "Ni-O 1.20 Å"
    assert contacts.shortest["Ni-O"] == pytest.approx(0.7)


def test_a_record_is_gone_on_with() -> None:
    first = followed([ATOMS.positions] * 25)
    notes = json.loads(json.dumps(first.notes()))
    second = followed([ATOMS.positions] * 25, Contacts.from_notes(SYMBOLS, notes))
    assert second.shortest == pytest.approx(first.shortest)
    assert second.lost == [0, 0]
    assert second.broken_ps is None
