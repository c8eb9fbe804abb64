# SPDX-License-Identifier: LGPL-3.0-or-later
"""Training by stock ``dp --pt``: input, folder, process, what it leaves."""

from spin_dp.training.dp_input import TrainingSettings, write_input
from spin_dp.training.output import CURVE, read_learning_curve
from spin_dp.training.run import (
    INPUT,
    MODEL,
    Progress,
    freeze,
    train,
    train_together,
)

__all__ = [
    "CURVE",
    "INPUT",
    "MODEL",
    "Progress",
    "TrainingSettings",
    "freeze",
    "read_learning_curve",
    "train",
    "train_together",
    "write_input",
]
