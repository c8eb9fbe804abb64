# SPDX-License-Identifier: LGPL-3.0-or-later
"""Does MD of lithium transition-metal oxides hold with a model."""
