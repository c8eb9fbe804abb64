# SPDX-License-Identifier: LGPL-3.0-or-later
"""Errors of one model on frames, all together and by spin state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from spin_dp.evaluation import per_formula, per_state

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL = "all"
"""What stands for formula and key in the row of all frames together."""

INDEX = ("formula", "key", "frames", "pairs")
COLUMNS = {
    "energy": "energy_meV_per_atom",
    "force": "force_meV_per_A",
    "gap": "gap_meV",
    "order": "order",
    "moment": "moment_muB",
}
"""Column of each quantity; RMS errors, the gap per cell, the order as a share, the
moment of those that are predicted."""


def error_table(
    frames: pd.DataFrame, model: str, *, has_states: bool = True
) -> pd.DataFrame:
    """Return the errors of a model on all frames and on those of each spin state.

    Parameters
    ----------
    frames
        Rows of :func:`spin_dp.evaluation.evaluate`.
    model
        Name of the model there.
    has_states
        Whether the frames have spin states; without there are compositions only.

    Returns
    -------
    pandas.DataFrame
        ``formula, key, frames, pairs`` and the columns of :data:`COLUMNS`: one row for
        all frames together, then one for each composition and spin state.
    """
    by_formula = per_formula(frames, [model])
    is_total = by_formula["formula"] == ALL
    total = by_formula[is_total].assign(key=ALL)
    rest = (
        per_state(frames, [model])
        if has_states
        else by_formula[~is_total].assign(key="")
    )
    table = pd.concat([total, rest], ignore_index=True)
    table = table.rename(columns={f"{q}_{model}": name for q, name in COLUMNS.items()})
    columns: Sequence[str] = [*INDEX, *COLUMNS.values()]
    return table[columns].round(6)
