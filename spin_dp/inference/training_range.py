# SPDX-License-Identifier: LGPL-3.0-or-later
"""What lies outside a model's training data: refused, or said once."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import DataError, OutsideTrainingData
from spin_dp.neighbours import values_of_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from spin_dp.inference.neighbourhood import Neighbourhood
    from spin_dp.spin_states.catalogue import Catalogue

    Floats = NDArray[np.float64]

# Distances: shares of the shortest one in the training data, or of its two elements.
_OVERLAP, _CLOSE = 0.5, 0.9
_OVERLAP_ANGSTROM = 0.4  # where that is not known
# Neighbours within the cutoff: share of the least number in the training data. Heat and
# strain change it by less; an atom at a surface has about half.
_SPARSE = 0.8
# Moments: multiples of the largest one of the element in the training data, and a slack
# of what different calculations of one state differ by.
_ABSURD, _LARGE, _SLACK_MUB = 2.0, 1.1, 0.3
_FLAT_ANGSTROM3 = 1e-6


def check_positions(positions: Floats, cell: Floats, periodic: Sequence[bool]) -> None:
    """Refuse positions and cells that are no numbers.

    Parameters
    ----------
    positions, cell
        (n, 3) and (3, 3), Å.
    periodic
        Along which cell vectors the atoms repeat.

    Raises
    ------
    DataError
        If one is not finite, or a periodic cell has no volume.
    """
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if bad.size:
        raise DataError(
            f"positions: expected finite numbers, got {positions[bad[0]]} at atom "
            f"{bad[0]}; the structure or the run that made it is damaged."
        )
    if any(periodic) and (
        not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < _FLAT_ANGSTROM3
    ):
        raise DataError(
            "cell: expected vectors with a volume in a periodic structure, got "
            f"{cell.tolist()}; set the cell, or pbc=False."
        )


class TrainingRange:
    """What surroundings and moments a model was trained on.

    What is a little outside is said once for each kind, as a warning
    :class:`spin_dp.errors.OutsideTrainingData`.

    Parameters
    ----------
    catalogue
        With the largest moment of each element.
    shortest
        Shortest distance of any two atoms, Å; nan if it is not known.
    by_pair
        Of pairs of elements, ``{"Ni-O": 1.6}``, Å; may be empty.
    fewest
        Neighbours within the cutoff that an atom of each element has at least; may be
        empty.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        shortest: float,
        by_pair: Mapping[str, float] | None = None,
        fewest: Mapping[str, int] | None = None,
    ) -> None:
        self.catalogue, self.shortest = catalogue, shortest
        self._by_pair = by_pair or {}
        self._fewest = fewest or {}
        self._said: set[str] = set()

    def check_surroundings(
        self, neighbourhood: Neighbourhood, symbols: Sequence[str]
    ) -> None:
        """Refuse overlapping atoms; say what is closer or barer than in training data.

        Parameters
        ----------
        neighbourhood
            The atoms; of many frames that with the closest, or barest, atoms counts.
        symbols
            Elements, (n,).

        Raises
        ------
        DataError
            If atoms are closer than half of the shortest distance of any.
        """
        self._check_neighbours(neighbourhood, symbols)
        distances = neighbourhood.contact_distances
        if not len(distances):
            return
        self._check_overlap(neighbourhood, symbols)
        first, second = neighbourhood.contacts.T
        shortest = values_of_pairs(symbols, first, second, self._by_pair, self.shortest)
        shares = np.where(np.isfinite(shortest), distances / shortest, np.inf)
        worst = int(shares.argmin())
        if shares[worst] < _CLOSE:
            what = _apart(neighbourhood, worst, symbols)
            names = " and ".join(symbols[k] for k in neighbourhood.contacts[worst])
            self._say(
                "distance",
                f"{what}; the model's data show {shortest[worst]:.2f} Å at least"
                + (f" of {names}" if self._by_pair else ""),
            )

    def _check_neighbours(
        self, neighbourhood: Neighbourhood, symbols: Sequence[str]
    ) -> None:
        if not self._fewest:
            return
        numbers = (neighbourhood.neighbours >= 0).sum(axis=-1).min(axis=0)
        known = np.array([self._fewest.get(name, 0) for name in symbols])
        missing = _SPARSE * known - numbers
        atom = int(missing.argmax()) if missing.size else 0
        if missing.size and missing[atom] > 0.0:
            self._say(
                "neighbours",
                f"atom {atom} ({symbols[atom]}) has {numbers[atom]} neighbours within "
                f"the cutoff; the model's data show {known[atom]} at least",
            )

    def _check_overlap(
        self, neighbourhood: Neighbourhood, symbols: Sequence[str]
    ) -> None:
        distances = neighbourhood.contact_distances
        nearest = int(distances.argmin())
        is_known = np.isfinite(self.shortest)
        limit = _OVERLAP * self.shortest if is_known else _OVERLAP_ANGSTROM
        if distances[nearest] < limit:
            known = f"; the model's data show {self.shortest:.2f} Å at least"
            raise DataError(
                f"{_apart(neighbourhood, nearest, symbols)}{known if is_known else ''}"
                ". They overlap, and no energy is right."
            )

    def check_moments(self, moments: Floats, symbols: Sequence[str]) -> None:
        """Refuse absurd moments; say which are larger than in training data.

        Parameters
        ----------
        moments
            (k, n, 3), μB.
        symbols
            Elements, (n,).

        Raises
        ------
        DataError
            If a moment is more than twice the largest one known of its element.
        """
        lengths = np.linalg.norm(moments, axis=-1).max(axis=0, initial=0.0)
        known = np.array([self.catalogue.highest_moment(name) for name in symbols])
        excess = lengths - _LARGE * known - _SLACK_MUB  # nan where nothing is known
        if not (excess > 0.0).any():
            return
        atom = int(np.nanargmax(excess))
        what = (
            f"moments: {lengths[atom]:.2f} μB at atom {atom} ({symbols[atom]}); the "
            f"model's data show {known[atom]:.2f} μB at most"
        )
        if lengths[atom] > _ABSURD * known[atom] + _SLACK_MUB:
            raise DataError(f"{what}. Give moments of states that it knows.")
        self._say("moment", what)

    def _say(self, kind: str, what: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(f"{what}: it extrapolates.", OutsideTrainingData, 2)


def _apart(neighbourhood: Neighbourhood, contact: int, symbols: Sequence[str]) -> str:
    first, second = neighbourhood.contacts[contact]
    return (
        f"atoms {first} ({symbols[first]}) and {second} ({symbols[second]}) are "
        f"{neighbourhood.contact_distances[contact]:.2f} Å apart"
    )
