# SPDX-License-Identifier: LGPL-3.0-or-later
"""What lies outside a model's training data: refused, or said once."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import DataError, OutsideTrainingData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from spin_dp.inference.neighbourhood import Neighbourhood
    from spin_dp.spin_states.catalogue import Catalogue

    Floats = NDArray[np.float64]

# Distances: shares of the shortest one in the training data.
_OVERLAP, _CLOSE = 0.5, 0.9
_OVERLAP_ANGSTROM = 0.4  # where that is not known
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
    """What distances and moments a model was trained on.

    What is a little outside is said once for each kind, as a warning
    :class:`spin_dp.errors.OutsideTrainingData`.

    Parameters
    ----------
    catalogue
        With the largest moment of each element.
    shortest
        Shortest distance of two atoms, Å; nan if it is not known.
    """

    def __init__(self, catalogue: Catalogue, shortest: float) -> None:
        self.catalogue, self.shortest = catalogue, shortest
        self._said: set[str] = set()

    def check_distances(
        self, neighbourhood: Neighbourhood, symbols: Sequence[str]
    ) -> None:
        """Refuse overlapping atoms; say where they are closer than in training data.

        Parameters
        ----------
        neighbourhood
            The atoms; of many frames that with the closest atoms counts.
        symbols
            Elements, (n,).

        Raises
        ------
        DataError
            If atoms are closer than half of that distance.
        """
        frame = int(neighbourhood.shortest.argmin())
        distance = float(neighbourhood.shortest[frame])
        first, second = neighbourhood.closest[frame]
        what = (
            f"atoms {first} ({symbols[first]}) and {second} ({symbols[second]}) are "
            f"{distance:.2f} Å apart"
        )
        known = ""
        overlap = _OVERLAP_ANGSTROM
        if np.isfinite(self.shortest):
            known = f"; the model's data show {self.shortest:.2f} Å at least"
            overlap = _OVERLAP * self.shortest
        if distance < overlap:
            raise DataError(f"{what}{known}. They overlap, and no energy is right.")
        if distance < _CLOSE * self.shortest:
            self._say("distance", what + known)

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
