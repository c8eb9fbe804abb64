# SPDX-License-Identifier: LGPL-3.0-or-later
"""Descriptors: coordinates and moments in, invariant features out. Torch only."""

from spin_dp.descriptors.angular import quadrupole
from spin_dp.descriptors.compressed import CompressedSpinDescriptor
from spin_dp.descriptors.config import SpinDescriptorConfig
from spin_dp.descriptors.edges import away_where_empty, compact_neighbours, edge_vectors
from spin_dp.descriptors.embedding import EmbeddingNet, PairNet
from spin_dp.descriptors.neighbours import neighbours_in_cells
from spin_dp.descriptors.radial import radial_weight, smooth_switch
from spin_dp.descriptors.spin_se_e2_a import SpinDescriptor

__all__ = [
    "CompressedSpinDescriptor",
    "EmbeddingNet",
    "PairNet",
    "SpinDescriptor",
    "SpinDescriptorConfig",
    "away_where_empty",
    "compact_neighbours",
    "edge_vectors",
    "neighbours_in_cells",
    "quadrupole",
    "radial_weight",
    "smooth_switch",
]
