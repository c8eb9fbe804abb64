# SPDX-License-Identifier: LGPL-3.0-or-later
"""Volumes, bulk moduli and barriers of a model beside DFT at the same geometries."""
