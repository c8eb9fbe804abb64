# SPDX-License-Identifier: LGPL-3.0-or-later
"""How many distinct orderings there are: ours, enumlib's and pymatgen's."""
