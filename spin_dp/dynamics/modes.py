# SPDX-License-Identifier: LGPL-3.0-or-later
"""What becomes of labels during a run, and which models can do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from spin_dp.dynamics.monte_carlo import MonteCarlo
from spin_dp.dynamics.relaxed_moments import MomentRelaxation
from spin_dp.errors import ConfigError, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.model_file import ModelInfo
    from spin_dp.spin_states.labels import Labels

_SAME_STATE_MUB = 0.1

LabelsMove: TypeAlias = "Literal['held', 'adiabatic'] | MonteCarlo | MomentRelaxation"
"""Moments held; states held, with moments that follow the positions; states that Monte
Carlo moves; moments that are relaxed between segments of the run."""


def how_labels_move(
    asked: LabelsMove | None, labels: Labels, models: Sequence[ModelInfo]
) -> LabelsMove:
    """Return what becomes of labels, and refuse what the models cannot do.

    Parameters
    ----------
    asked
        None: adiabatic where all sites are labelled by name and all models read labels,
        else held.
    labels
        To start with.
    models
        That move the atoms, or watch.

    Raises
    ------
    ConfigError
        If labels cannot move in that way.
    """
    numbered = np.flatnonzero(
        [
            state is None and bool(moment.any())
            for state, moment in zip(labels.states, labels.moments, strict=True)
        ]
    )
    if asked is None:
        can = not len(numbered) and all(info.reads_labels for info in models)
        return "adiabatic" if can else "held"
    if asked == "held" or isinstance(asked, MomentRelaxation):
        return asked
    if not isinstance(asked, MonteCarlo) and asked != "adiabatic":
        raise unknown("labels_move", str(asked), ("held", "adiabatic"))
    for info in models:
        if not info.reads_labels:
            raise ConfigError(
                f"{info.path} has no energy of labels: it was trained on moments only. "
                "Train with label_share in section loss, as spin-dp init writes it, "
                "relax moments (--labels-move relaxed), or hold them."
            )
    _refuse_other_states(labels, models)
    if len(numbered):
        raise ConfigError(
            f"atom {numbered[0]} is labelled by a moment, "
            f"{np.linalg.norm(labels.moments[numbered[0]]):.2f} μB: labels that move "
            "are spin states. Name them (--labels 'Ni=3+LS'), or hold the moments."
        )
    turned = isinstance(asked, MonteCarlo) and not asked.moves.rotate
    if turned and labels.moments[:, :2].any():
        raise ConfigError(
            "moments that point off the z axis: flips and changes of state are those "
            "of moments along it. Move them by rotate (--mc-moves rotate,exchange), or "
            "give another order."
        )
    return asked


def record(moves: LabelsMove) -> dict[str, Any]:
    """Return in JSON types what makes a run another run than one of held moments."""
    if moves == "held":
        return {}
    return {"labels_move": moves if isinstance(moves, str) else moves.record()}


def _refuse_other_states(labels: Labels, models: Sequence[ModelInfo]) -> None:
    """Refuse models for which the states of the labels stand for other moments."""
    first, *others = models
    used = {state.name: state for state in labels.states if state is not None}
    for info in others:
        known = {state.name: state for state in info.catalogue.states}
        for name, state in used.items():
            twin = known.get(name)
            if twin is None or abs(twin.moment - state.moment) > _SAME_STATE_MUB:
                says = "does not know it" if twin is None else f"has {twin.moment:.2f}"
                raise ConfigError(
                    f"{name} stands for {state.moment:.2f} μB in {first.path}, and "
                    f"{info.path} {says}: labels that move need models of one "
                    "catalogue of states, trained on the same frames."
                )
