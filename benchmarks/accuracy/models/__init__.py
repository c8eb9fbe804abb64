# SPDX-License-Identifier: LGPL-3.0-or-later
"""All models of the benchmark by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.accuracy.models import dpa1, dpa4c, spin_dp, stock
from spin_dp.errors import unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.accuracy.model import Model

MODELS = {
    model.name: model
    for module in (stock, dpa1, dpa4c, spin_dp)
    for model in module.MODELS
}

OURS = "spin_dp"
"""The model whose training time is the budget of all."""

DEFAULT = (
    "se_e2_a",
    "dpa1_states",
    "deepspin",
    "dpa4c",
    OURS,
)


def find_models(names: Sequence[str]) -> list[Model]:
    """Return models by name; ConfigError for a name that is not registered."""
    for name in names:
        if name not in MODELS:
            raise unknown("model", name, MODELS)
    return [MODELS[name] for name in dict.fromkeys(names)]
