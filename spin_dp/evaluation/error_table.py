# SPDX-License-Identifier: LGPL-3.0-or-later
"""Errors of one model on frames, all together and by spin state."""

from __future__ import annotations

import pandas as pd

from spin_dp.evaluation.tables import ALL, per_formula, per_state

INDEX = ("formula", "key", "frames", "pairs")
COLUMNS = {
    "energy": "energy_meV_per_atom",
    "force": "force_meV_per_A",
    "virial": "virial_meV_per_atom",
    "gap": "gap_meV",
    "order": "order",
    "magnetic_force": "magnetic_force_eV_per_muB",
    "moment": "moment_muB",
}
"""Column of each quantity; RMS errors, the gap per cell, the order as a share; empty
where frames have no such label or the model no such prediction."""


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
    by_formula = per_formula(frames, [model]).assign(key="")
    is_total = by_formula["formula"] == ALL
    groups = per_state(frames, [model]) if has_states else by_formula[~is_total]
    table = pd.concat([by_formula[is_total].assign(key=ALL), groups], ignore_index=True)
    table = table.rename(columns={f"{q}_{model}": name for q, name in COLUMNS.items()})
    return table[[*INDEX, *COLUMNS.values()]].round(6)
