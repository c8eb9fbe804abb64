# SPDX-License-Identifier: LGPL-3.0-or-later
"""Voltages that frames of DFT define, and what potentials make of the same frames."""
