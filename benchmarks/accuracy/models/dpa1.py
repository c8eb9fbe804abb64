# SPDX-License-Identifier: LGPL-3.0-or-later
"""The attention-free DPA-1 in strip mode: blind, and with types for spin states."""

from __future__ import annotations

from benchmarks.accuracy.model import STOCK_SIZES, Model

MODELS = (
    Model(name="dpa1", title="DPA-1, spin-blind twin"),
    Model(name="dpa1_states", title="DPA-1, a species per spin state", states=True),
    Model(
        name="dpa1_states_wide",
        title="DPA-1, a species per spin state, 25-50-100",
        states=True,
        settings=STOCK_SIZES,
    ),
)
