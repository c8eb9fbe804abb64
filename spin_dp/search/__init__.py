# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which spin state is lowest: assignments of states to sites, ranked by energy."""

from spin_dp.search.ranking import rank_states

__all__ = ["rank_states"]
