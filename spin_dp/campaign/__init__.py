# SPDX-License-Identifier: LGPL-3.0-or-later
"""Active learning: models choose the frames that DFT labels, and learn from them."""

from spin_dp.campaign.loop import End, Learnt, learn

__all__ = ["End", "Learnt", "learn"]
