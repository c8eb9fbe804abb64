# SPDX-License-Identifier: LGPL-3.0-or-later
"""How well models do on a collected data set.

:func:`read_systems` gives frames with labels, :func:`evaluate` puts the predictions of
models beside them, and :func:`score`, :func:`per_state` and :func:`per_formula` say how
far apart they are.
"""

from spin_dp.evaluation.metrics import (
    MEV_PER_EV,
    ORDER_THRESHOLD_EV,
    Scores,
    frame_rmse,
    gap_rmse,
    ordering_accuracy,
    rms,
    state_pairs,
)
from spin_dp.evaluation.predict import predict
from spin_dp.evaluation.systems import LabelledSystem, read_system, read_systems
from spin_dp.evaluation.tables import (
    QUANTITIES,
    evaluate,
    model_columns,
    per_formula,
    per_state,
    score,
)

__all__ = [
    "MEV_PER_EV",
    "ORDER_THRESHOLD_EV",
    "QUANTITIES",
    "LabelledSystem",
    "Scores",
    "evaluate",
    "frame_rmse",
    "gap_rmse",
    "model_columns",
    "ordering_accuracy",
    "per_formula",
    "per_state",
    "predict",
    "read_system",
    "read_systems",
    "rms",
    "score",
    "state_pairs",
]
