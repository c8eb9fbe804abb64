# SPDX-License-Identifier: LGPL-3.0-or-later
"""Exchange constants from the energies of a model, and what they order at which T.

The Hamiltonian, with unit vectors e along the moments and each pair once::

    H = E0 - sum_{i<j} J_ij e_i.e_j - sum_{i<j} B_ij (e_i.e_j)²

so that J > 0 is ferromagnetic; the length of the moments is in J.
"""

from spin_dp.magnetism.bonds import Bonds, Shell, find_bonds
from spin_dp.magnetism.exchange import fit_exchange
from spin_dp.magnetism.fit import ExchangeFit, fit_bonds
from spin_dp.magnetism.full_model import sample_model
from spin_dp.magnetism.lattice import SpinLattice
from spin_dp.magnetism.monte_carlo import MonteCarloSettings, sample
from spin_dp.magnetism.output import write_exchange
from spin_dp.magnetism.transition import Transition, find_transition

__all__ = [
    "Bonds",
    "ExchangeFit",
    "MonteCarloSettings",
    "Shell",
    "SpinLattice",
    "Transition",
    "find_bonds",
    "find_transition",
    "fit_bonds",
    "fit_exchange",
    "sample",
    "sample_model",
    "write_exchange",
]
