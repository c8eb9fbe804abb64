# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which ions are oxidised in partly delithiated cells: a model against DFT."""
