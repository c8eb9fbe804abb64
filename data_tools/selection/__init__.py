# SPDX-License-Identifier: LGPL-3.0-or-later
"""Choosing the frames of a data set that are worth training on."""
