# SPDX-License-Identifier: LGPL-3.0-or-later
"""Spin-aware Deep Potentials for transition-metal oxide cathodes.

Names are imported when they are first used: ``import spin_dp`` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spin_dp.inference.calculator import SpinDPCalculator
    from spin_dp.inference.ensemble import Ensemble
    from spin_dp.inference.prediction import Prediction
    from spin_dp.inference.predictor import SpinDP
    from spin_dp.inference.uncertainty import Uncertainty
    from spin_dp.search import rank_states

_LAZY = {
    "Ensemble": "spin_dp.inference.ensemble",
    "Prediction": "spin_dp.inference.prediction",
    "SpinDP": "spin_dp.inference.predictor",
    "SpinDPCalculator": "spin_dp.inference.calculator",
    "Uncertainty": "spin_dp.inference.uncertainty",
    "rank_states": "spin_dp.search",
}

__all__ = [
    "Ensemble",
    "Prediction",
    "SpinDP",
    "SpinDPCalculator",
    "Uncertainty",
    "rank_states",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
