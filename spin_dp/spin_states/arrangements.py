# SPDX-License-Identifier: LGPL-3.0-or-later
"""From the key of a frame to the states of the sites of a structure."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.spin_states.key import element_of, parse_key
from spin_dp.spin_states.ordering import OrderedSites

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_MOST_ARRANGEMENTS = 2000


def arrange_key(
    key: str, symbols: Sequence[str], cell: Floats, positions: Floats
) -> list[tuple[int, str, int]]:
    """Return atom, state and sign for the sites of a key.

    Parameters
    ----------
    key
        Spin-state key; with its tag where its states can be arranged in several ways.
    symbols, cell, positions
        Elements of all atoms, (n,), cell vectors as rows, (3, 3), and positions,
        (n, 3), Å.

    Raises
    ------
    ConfigError
        If the key has other sites than the structure, or its states can be arranged in
        several ways that no symmetry makes equal.
    """
    wanted, tag = parse_key(key)
    by_element: dict[str, list[tuple[str, int]]] = {}
    for label, sign in wanted:
        by_element.setdefault(element_of(label), []).append((label, sign))
    atoms: list[int] = []
    for element, states in by_element.items():
        here = [i for i, symbol in enumerate(symbols) if symbol == element]
        if len(here) != len(states):
            raise ConfigError(
                f"{key}: is of {len(states)} {element} sites, but the structure has "
                f"{len(here)}."
            )
        atoms += here
    ordered_sites = OrderedSites(
        [symbols[atom] for atom in atoms], cell, positions[atoms]
    )
    different: dict[str, tuple[tuple[str, int], ...]] = {}
    for number, arrangement in enumerate(_arrangements(list(by_element.values()))):
        if number >= _MOST_ARRANGEMENTS:
            raise ConfigError(
                f"{key}: its states can be arranged in more than {_MOST_ARRANGEMENTS} "
                "ways; label the atoms one by one (4=-3+HS)."
            )
        labels, signs = zip(*arrangement, strict=True)
        found = ordered_sites.tag(labels, np.array(signs))
        different.setdefault(found, arrangement)
    if tag:
        different = {name: a for name, a in different.items() if name == tag}
    if len(different) != 1:
        what = f"{len(different)} ways" if different else "no way that has its tag"
        raise ConfigError(
            f"{key}: its states can be arranged in {what}; give the key with its tag "
            "(#...), or label the atoms one by one (4=-3+HS)."
        )
    (arrangement,) = different.values()
    return [
        (atom, label, sign)
        for atom, (label, sign) in zip(atoms, arrangement, strict=True)
    ]


def _arrangements(
    groups: Sequence[Sequence[tuple[str, int]]],
) -> Iterator[tuple[tuple[str, int], ...]]:
    """Return all different ways to arrange the members of each group."""
    for parts in product(*(_permutations(Counter(group)) for group in groups)):
        yield tuple(member for part in parts for member in part)


def _permutations(
    counts: Counter[tuple[str, int]],
) -> Iterator[tuple[tuple[str, int], ...]]:
    if not +counts:
        yield ()
        return
    for member in sorted(+counts, key=lambda site: (site[0], -site[1])):
        for rest in _permutations(counts - Counter([member])):
            yield (member, *rest)
