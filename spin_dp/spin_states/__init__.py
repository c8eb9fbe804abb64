# SPDX-License-Identifier: LGPL-3.0-or-later
"""The vocabulary of spin states: names of sites and frames, moments, charges."""
