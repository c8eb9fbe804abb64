# SPDX-License-Identifier: LGPL-3.0-or-later
"""A training with HybridMuon that is gone on with is the one that was not stopped."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import spin_dp.plugin  # noqa: F401 (dp loads it, too)


def net() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 1)).double()


def optimizer_of(model: torch.nn.Module) -> Any:
    from deepmd.pt.optimizer import HybridMuonOptimizer

    return HybridMuonOptimizer(
        model.parameters(), lr=1e-2, named_parameters=tuple(model.named_parameters())
    )


def step(model: torch.nn.Module, optimizer: Any) -> None:
    optimizer.zero_grad()
    x = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64).view(3, 4)
    (model(x) - 1.0).square().sum().backward()
    optimizer.step()


def test_going_on_is_not_stopping() -> None:
    model = net()
    optimizer = optimizer_of(model)
    for _ in range(3):
        step(model, optimizer)
    resumed = net()
    resumed.load_state_dict(copy.deepcopy(model.state_dict()))
    other = optimizer_of(resumed)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(3):
        step(model, optimizer)
        step(resumed, other)
    for one, two in zip(model.parameters(), resumed.parameters(), strict=True):
        assert two.detach().numpy() == pytest.approx(one.detach().numpy(), abs=1e-14)
