# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the tables of a data set say: pure functions of numbers and data frames."""
