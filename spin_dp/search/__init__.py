# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which spin state is lowest: assignments of states to sites, ranked by energy."""

from spin_dp.search.ladder import draw_ladder, ranked_frames, ranked_structures
from spin_dp.search.ranking import rank_states

__all__ = ["draw_ladder", "rank_states", "ranked_frames", "ranked_structures"]
