# SPDX-License-Identifier: LGPL-3.0-or-later
"""The descriptor of this package, and variants of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.accuracy.model import SPIN_ELEMENTS, STOCK_SIZES, Model
from benchmarks.forms import COMPILED, COMPRESSED, FROZEN, SINGLE
from spin_dp.training.dp_input import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


def _variant(
    name: str,
    title: str,
    settings: dict[str, Any] | None = None,
    descriptor: dict[str, Any] | None = None,
    spin_elements: Sequence[str] = SPIN_ELEMENTS,
) -> Model:
    """Return a model with other settings, or other keys of the descriptor section."""
    return Model(
        name=name,
        title=title,
        moments=True,
        fill=True,
        spin_elements=spin_elements,
        settings=settings or {},
        overrides={"model": {"descriptor": descriptor}} if descriptor else {},
        files=(FROZEN, COMPRESSED, SINGLE, COMPILED),
        weights="ours",
        optimizer=TrainingSettings().optimizer,
        start_lr=TrainingSettings().start_lr,
    )


MODELS = (
    _variant("spin_dp", "spin-dp"),
    _variant("spin_dp_wide", "spin-dp, 25-50-100", settings=STOCK_SIZES),
    _variant(
        "spin_dp_metals",
        "spin-dp, moments of metals only",
        spin_elements=("Mn", "Co", "Ni"),
    ),
    _variant("spin_dp_no_quad", "spin-dp, no quadrupoles", {"quad_axis_neuron": 0}),
    _variant("spin_dp_float32", "spin-dp, float32", settings={"precision": "float32"}),
)
