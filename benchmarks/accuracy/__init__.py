# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which potential is most accurate on frames of mixed spin states."""
