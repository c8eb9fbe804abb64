# SPDX-License-Identifier: LGPL-3.0-or-later
"""Monte Carlo over the spin states and moments of sites, at fixed positions.

:class:`Sampler` moves labels from site to site, turns them round and changes them into
others of the same total charge, and accepts by Metropolis. It samples equilibrium: how
often a move is accepted is no rate of anything that happens in time.
"""

from spin_dp.sampling.label_set import LabelSet
from spin_dp.sampling.moves import KINDS, MoveSettings
from spin_dp.sampling.sampler import Sampler

__all__ = ["KINDS", "LabelSet", "MoveSettings", "Sampler"]
