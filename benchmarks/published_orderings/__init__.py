# SPDX-License-Identifier: LGPL-3.0-or-later
"""Published energies of magnetic orderings: what some of them say of the others."""
