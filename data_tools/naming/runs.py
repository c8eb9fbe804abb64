# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tags of orderings, shared by the frames of a run.

Within a run it is known which site is which. A relaxation may strain the lattice so far
that its symmetry becomes another one; with the same states on the same sites the
ordering is still the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spin_dp.spin_states.ordering import ordering_tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from spin_dp.data_tools.naming.cluster_pattern import FrameMoments
    from spin_dp.data_tools.naming.sites import Sites

_LARGEST_STRAIN = 0.4
_LARGEST_MOVE_ANGSTROM = 0.7


class OrderingTags:
    """The tags given so far."""

    def __init__(self) -> None:
        self._given: dict[tuple[object, ...], tuple[Sites, str]] = {}

    def tag(
        self,
        frame: FrameMoments,
        labels: Sequence[str],
        signs: npt.NDArray[np.int64],
    ) -> str:
        """Return the tag of a frame's ordering.

        Parameters
        ----------
        frame
            The frame; those of a run come in order.
        labels, signs
            Label and sign (+1, -1, 0) of each site, (ns,).

        Returns
        -------
        str
            That of an earlier frame of the run with the same states on the same sites
            of the same lattice, or a new one.
        """
        sites, first = frame.sites, signs[signs != 0][:1]
        pattern = (signs * (first[0] if len(first) else 1)).tolist()
        key = (frame.run, frame.group, tuple(labels), tuple(pattern))
        earlier = self._given.get(key)
        if frame.run and earlier is not None and _stay(earlier[0], sites):
            tag = earlier[1]
        else:
            tag = ordering_tag(
                sites.elements, sites.cell, sites.positions, labels, signs
            )
        self._given[key] = (sites, tag)
        return tag


def _stay(before: Sites, after: Sites) -> bool:
    """Return whether sites kept their places in a cell that was strained at most."""
    if before.indices.tolist() != after.indices.tolist():
        return False
    strain = np.linalg.norm(np.linalg.solve(before.cell, after.cell) - np.eye(3), 2)
    moved = np.linalg.solve(after.cell.T, after.positions.T)
    moved -= np.linalg.solve(before.cell.T, before.positions.T)
    moved = after.cell.T @ (moved - np.round(moved))  # (3, ns), Å
    moved -= moved.mean(axis=1, keepdims=True)
    return bool(
        strain < _LARGEST_STRAIN
        and np.linalg.norm(moved, axis=0).max(initial=0.0) < _LARGEST_MOVE_ANGSTROM
    )
