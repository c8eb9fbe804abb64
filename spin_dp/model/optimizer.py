# SPDX-License-Identifier: LGPL-3.0-or-later
"""A repair of the host: trainings with HybridMuon go on from a checkpoint.

deepmd-kit 3.2.0 keeps the moments of Adam, which HybridMuon uses for biases and the
like, in float32 whatever the precision of the nets. PyTorch loads the state of an
optimizer in the precision of its parameters, and the next step with nets in float64
stops: "expected dtype double for `end` but got dtype float".
"""

from __future__ import annotations

from functools import cache, wraps
from typing import Any

import torch
from deepmd.pt.optimizer import HybridMuonOptimizer


@cache
def keep_precision_of_state() -> None:
    """Make HybridMuon load its state in the precision that it was saved in."""
    load = HybridMuonOptimizer.load_state_dict

    @wraps(load)
    def load_as_saved(self: Any, state_dict: dict[str, Any]) -> None:
        load(self, state_dict)
        parameters = [p for group in self.param_groups for p in group["params"]]
        numbers = [n for group in state_dict["param_groups"] for n in group["params"]]
        for parameter, number in zip(parameters, numbers, strict=True):
            for name, saved in state_dict["state"].get(number, {}).items():
                loaded = self.state[parameter].get(name)
                if isinstance(saved, torch.Tensor) and isinstance(loaded, torch.Tensor):
                    self.state[parameter][name] = loaded.to(saved.dtype)

    HybridMuonOptimizer.load_state_dict = load_as_saved
