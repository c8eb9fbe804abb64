# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is taken from training frames before the training: input scales, labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from spin_dp.descriptors import neighbours_in_cells
from spin_dp.model.repulsion import types_of_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spin_dp.model.atomic import SpinAtomicModel
    from spin_dp.model.repulsion import Repulsion


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


def without_repulsion(
    sample: dict[str, Any], model: SpinAtomicModel, repulsion: Repulsion
) -> dict[str, Any]:
    """Return a sample whose labels of the energy lack the repulsion.

    Parameters
    ----------
    sample
        Frames of one system, as deepmd-kit samples them: coord, atype, box, energy.
    model
        Knows which pairs and atoms are left out.
    repulsion
        Its short-range repulsion.
    """
    atype = sample["atype"]
    coord = sample["coord"].view(atype.shape[0], atype.shape[1], 3)
    box = sample.get("box")
    is_atom = atype >= 0
    edges, nlist = neighbours_in_cells(
        coord.to(torch.float64),
        None if box is None else box.to(torch.float64),
        is_atom,
        float(repulsion.reach()),
    )
    edges, nlist = model.exclude_pairs(edges, nlist, atype)
    type_i, type_ij = types_of_pairs(atype, nlist)
    added, _ = repulsion(edges, type_i, type_ij)
    counts = is_atom.to(added.dtype)
    if model.atom_excl is not None:
        counts = counts * model.atom_excl(type_i)
    added = added * counts.unsqueeze(-1)
    left = dict(sample)
    for name, part in (("energy", added.sum(1)), ("atom_energy", added)):
        if sample.get(name) is not None:
            label = sample[name]
            left[name] = label - part.view(label.shape).to(label)
    return left
