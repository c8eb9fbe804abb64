# SPDX-License-Identifier: LGPL-3.0-or-later
"""The demonstration: DFT frames to spin-state energies, stage by stage."""
