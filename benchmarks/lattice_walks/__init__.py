# SPDX-License-Identifier: LGPL-3.0-or-later
"""Error bars of diffusivities, on walks whose diffusivity is known."""
