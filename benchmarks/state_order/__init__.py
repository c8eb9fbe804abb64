# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which spin state of a held-out geometry is lower, and by how much, against DFT."""
