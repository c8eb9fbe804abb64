# SPDX-License-Identifier: LGPL-3.0-or-later
"""How many labels active learning needs, against random choice from the same pool."""
