# SPDX-License-Identifier: LGPL-3.0-or-later
"""Active learning: models choose the frames that DFT labels, and learn from them."""
