# SPDX-License-Identifier: LGPL-3.0-or-later
"""VASP: OUTCAR and vasprun.xml, alone or together."""
