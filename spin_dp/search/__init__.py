# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which spin state is lowest: assignments of states to sites, tried or searched."""

from spin_dp.search.arrangements import (
    ArrangementSearch,
    FoundArrangement,
    search_arrangements,
)
from spin_dp.search.chains import SearchResult, SearchSettings, search_states
from spin_dp.search.excitations import site_excitations
from spin_dp.search.ladder import draw_ladder, ranked_frames, ranked_structures
from spin_dp.search.ranking import rank_states
from spin_dp.search.redox import Redox, draw_redox, follow_redox
from spin_dp.search.relaxed import relax_states

__all__ = [
    "ArrangementSearch",
    "FoundArrangement",
    "Redox",
    "SearchResult",
    "SearchSettings",
    "draw_ladder",
    "draw_redox",
    "follow_redox",
    "rank_states",
    "ranked_frames",
    "ranked_structures",
    "relax_states",
    "search_arrangements",
    "search_states",
    "site_excitations",
]
