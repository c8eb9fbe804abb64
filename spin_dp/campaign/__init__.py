# SPDX-License-Identifier: LGPL-3.0-or-later
"""Active learning: explore by labelled MD, choose frames, label them by DFT, train."""
