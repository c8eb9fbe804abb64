# SPDX-License-Identifier: LGPL-3.0-or-later
"""Spin states: from moments to the names of sites and frames."""
