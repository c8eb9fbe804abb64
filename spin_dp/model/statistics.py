# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sums over training frames from which the input scales of the descriptor come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


class RunningStatistics:
    """Mean squares of environment-matrix rows and of moments.

    Parameters
    ----------
    n_types
        Number of types.
    """

    def __init__(self, n_types: int) -> None:
        self.radial_sq = 0.0
        self.angular_sq = 0.0
        self.n_edges = 0.0
        self.n_atoms = 0.0
        self.moment_sq = np.zeros(n_types)
        self.moment_count = np.zeros(n_types)

    def add(
        self,
        rows: torch.Tensor,
        edge_mask: torch.Tensor,
        atype: torch.Tensor,
        moments: torch.Tensor | None,
    ) -> None:
        """Count a batch of frames.

        Parameters
        ----------
        rows
            Unscaled environment matrix, (nf, nloc, nnei, 4), 1/Å; zero where empty.
        edge_mask
            Where there is a neighbour, (nf, nloc, nnei).
        atype
            Types, (nf, nloc), negative where there is no atom.
        moments
            Moments, (nf, nloc, 3), μB, or None.
        """
        square = rows.detach().square().sum((0, 1, 2)).cpu().numpy()
        self.radial_sq += float(square[0])
        self.angular_sq += float(square[1:].sum()) / 3.0
        self.n_edges += float(edge_mask.sum())
        self.n_atoms += float((atype >= 0).sum())
        if moments is None:
            return
        sizes = moments.detach().square().sum(-1).cpu().numpy().ravel()
        types = atype.cpu().numpy().ravel()
        magnetic = (sizes > 0.0) & (types >= 0)
        np.add.at(self.moment_sq, types[magnetic], sizes[magnetic])
        np.add.at(self.moment_count, types[magnetic], 1.0)

    def scales(self) -> dict[str, Any]:
        """Return the arguments of ``SpinDescriptor.set_statistics``."""
        edges = max(self.n_edges, 1.0)
        return {
            "radial": float(np.sqrt(self.radial_sq / edges)) or 1.0,
            "angular": float(np.sqrt(self.angular_sq / edges)) or 1.0,
            "n_neighbours": max(self.n_edges / max(self.n_atoms, 1.0), 1.0),
            "moments": list(
                np.sqrt(self.moment_sq / np.maximum(self.moment_count, 1.0))
            ),
        }

    def to_array(self) -> NDArray[np.float64]:
        """Return all sums as one array, for a file."""
        head = [self.radial_sq, self.angular_sq, self.n_edges, self.n_atoms]
        return np.concatenate([head, self.moment_sq, self.moment_count])

    @classmethod
    def from_array(cls, array: NDArray[np.float64]) -> RunningStatistics:
        """Rebuild what :meth:`to_array` returned."""
        n_types = (len(array) - 4) // 2
        made = cls(n_types)
        made.radial_sq, made.angular_sq, made.n_edges, made.n_atoms = map(
            float, array[:4]
        )
        made.moment_sq = array[4 : 4 + n_types]
        made.moment_count = array[4 + n_types :]
        return made
