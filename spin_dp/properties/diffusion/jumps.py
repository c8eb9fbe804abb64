# SPDX-License-Identifier: LGPL-3.0-or-later
"""Jumps of ions from site to site, and how many a diffusivity needs.

A site is where an ion stays for half a picosecond; a jump leads to another one, at
least half a hop away. Jumps back count as well. For the error of a diffusivity only
what adds up matters: the number of effective jumps, N MSD / hop² at the longest time,
and the relative deviation of a diffusivity among runs, 3.43 / √(effective jumps) + 0.04
(X. He, Y. Zhu, A. Epstein and Y. Mo, npj Comput. Mater. 4, 18 (2018), equations 8, 9).
"""

from __future__ import annotations

from math import inf, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STAY_PS = 0.5
_LEAVES, _ARRIVES = 0.6, 0.5  # of a hop, from the site it was on
_SLOPE, _FLOOR = 3.43, 0.04


def count_jumps(ways: Floats, interval: float, hop: float) -> tuple[int, int]:
    """Return how many jumps there were, and how many ions jumped.

    Parameters
    ----------
    ways
        Displacement of each ion from the first frame, (frames, ions, 3), Å.
    interval
        Between frames, ps.
    hop
        Length of a hop, Å.
    """
    stay = max(1, round(STAY_PS / interval))
    site = ways[:stay].mean(axis=0)
    since = np.full(ways.shape[1], -1)  # frames since an ion left its site
    sums = np.zeros_like(site)
    jumps = np.zeros(ways.shape[1], dtype=np.int64)
    for positions in ways:
        away = np.linalg.norm(positions - site, axis=1) > _LEAVES * hop
        since[(since < 0) & away] = 0
        moving = since >= 0
        sums[moving] += positions[moving]
        since[moving] += 1
        settled = since == stay
        means = sums[settled] / stay
        arrived = np.linalg.norm(means - site[settled], axis=1) > _ARRIVES * hop
        jumps[settled] += arrived
        site[settled] = np.where(arrived[:, None], means, site[settled])
        sums[settled], since[settled] = 0.0, -1
    return int(jumps.sum()), int((jumps > 0).sum())


def relative_deviation(effective_jumps: float) -> float:
    """Return the relative deviation of a diffusivity that so many jumps give."""
    return _SLOPE / sqrt(effective_jumps) + _FLOOR if effective_jumps > 0.0 else inf


def jumps_needed(deviation: float) -> float:
    """Return the effective jumps that a relative deviation needs."""
    return (_SLOPE / (deviation - _FLOOR)) ** 2 if deviation > _FLOOR else inf
