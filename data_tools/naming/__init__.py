# SPDX-License-Identifier: LGPL-3.0-or-later
"""Naming the spin states of DFT frames: from moments to nominal states."""
