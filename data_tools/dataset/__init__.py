# SPDX-License-Identifier: LGPL-3.0-or-later
"""The collected data set: reading, deciding, writing, merging."""
