# SPDX-License-Identifier: LGPL-3.0-or-later
"""Models run over all frames of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from spin_dp.evaluation import (
    MEV_PER_EV,
    QUANTITIES,
    model_columns,
    per_state,
    predict,
    read_system,
)
from spin_dp.inference.potential import Potential
from spin_dp.report.statistics.residuals import Residuals

if TYPE_CHECKING:
    from collections.abc import Callable

    from spin_dp.report.dataset import Dataset

_NAME = "model"


def model_residuals(
    data: Dataset,
    path: Path,
    progress: Callable[[str, int, int], None] | None = None,
) -> Residuals:
    """Run a model over all kept frames.

    Parameters
    ----------
    data
        The data set.
    path
        A model file, see :class:`spin_dp.inference.potential.Potential`; models with
        spin get the moments.
    progress
        Called with what is done, a number and the count.

    Returns
    -------
    Residuals
        Of all kept frames, with the errors of all quantities.

    Raises
    ------
    DataError
        If the model cannot be read, lacks an element of the data or gives no number.
    """
    potential = Potential(path)
    parts = []
    members = list(data.frames.groupby("system", sort=True))
    for number, (name, rows) in enumerate(members):
        if progress is not None:
            progress(path.name, number, len(members))
        system = read_system(data.folder, str(name))
        columns = model_columns(_NAME, predict(potential, system), system)
        parts.append(pd.DataFrame(columns).loc[rows["index"]].set_index(rows.index))
    frames = data.frames.join(pd.concat(parts))
    difference = frames[f"energy_{_NAME}"] - frames["energy"]
    values = MEV_PER_EV * difference / frames["natoms"]
    # Geometries of different levels may have one name, but make no pairs.
    errors = pd.concat(
        per_state(rows, [_NAME]).assign(level=level)
        for level, rows in frames.groupby("level")
    )
    errors = errors.rename(columns={f"{q}_{_NAME}": q for q in QUANTITIES})
    name = path.name if path.parent == Path() else f"{path.parent.name}/{path.name}"
    return Residuals(
        name=name.lstrip("/"),
        reads_moments=potential.reads_moments,
        values=values.to_numpy(dtype=float),
        errors=errors[["formula", "level", "key", "frames", *QUANTITIES]],
    )
