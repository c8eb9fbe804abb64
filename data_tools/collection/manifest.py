# SPDX-License-Identifier: LGPL-3.0-or-later
"""The manifest: one row for each frame read, and the tables made of it."""

from __future__ import annotations

from collections import Counter
from math import isfinite, nan
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.collection.quarantine import DUPLICATE
from spin_dp.data_tools.collection.solutions import HIGHER

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from spin_dp.data_tools.collection.decide import Entry
    from spin_dp.data_tools.collection.summary import Summary
    from spin_dp.data_tools.frame import Rejected

COLUMNS = (
    *("source", "step", "formula", "natoms", "energy", "total_moment", "level", "key"),
    *("status", "reason", "system", "index", "geometry", "split", "constrained"),
    *("energy_kind", "margin", "naming", "charge", "pattern", "magnetic_forces"),
    *("max_force",),
)
SITE_COLUMNS = (
    *("system", "index", "atom", "element", "site_level", "coordination", "moment"),
    *("state", "cluster", "margin"),
)
KEPT = "kept"
QUARANTINED = "quarantined"


def kept_row(entry: Entry) -> dict[str, object]:
    """Return the manifest row of a kept frame."""
    frame, state = entry.frame, entry.state
    return _common(frame) | {
        "level": frame.level.id,
        "key": state.key,
        "status": KEPT,
        "reason": frame.note,
        "system": entry.system,
        "index": entry.index,
        "geometry": entry.geometry,
        "split": entry.split,
        "energy_kind": frame.energy_kind,
        "margin": round(state.margin, 6) if isfinite(state.margin) else nan,
        "naming": state.naming,
        "charge": state.charge,
        "pattern": entry.pattern,
        "magnetic_forces": entry.magnetic_forces,
        "max_force": round(frame.largest_force, 6),
    }


def rejected_row(frame: Rejected) -> dict[str, object]:
    """Return the manifest row of a quarantined frame."""
    return {
        **dict.fromkeys(COLUMNS, ""),
        **dict.fromkeys(("margin", "charge", "max_force"), nan),
        **_common(frame),
        "level": frame.level,
        "status": QUARANTINED,
        "reason": frame.reason,
        "index": -1,
    }


def _common(frame: Summary | Rejected) -> dict[str, object]:
    names = ("source", "step", "formula", "natoms", "energy", "total_moment")
    constrained = _yes_no(frame.constrained)
    return {name: getattr(frame, name) for name in names} | {"constrained": constrained}


def _yes_no(value: bool | None) -> str:
    return "unknown" if value is None else str(value).lower()


def site_rows(entry: Entry) -> list[dict[str, object]]:
    """Return one row for each metal site of a kept frame."""
    sites, state = entry.frame.sites, entry.state
    lengths = np.linalg.norm(sites.moments, axis=1)
    signs = np.where(state.signs < 0, -1.0, 1.0)
    return [
        {
            "system": entry.system,
            "index": entry.index,
            "atom": int(sites.indices[site]),
            "element": sites.elements[site],
            "site_level": entry.site_levels[sites.elements[site]],
            "coordination": int(sites.coordination[site]),
            "moment": round(float(lengths[site] * signs[site]), 6),
            "state": state.labels[site],
            "cluster": int(state.clusters[site]),
            "margin": round(float(state.margins[site]), 6),
        }
        for site in range(len(sites.elements))
    ]


def manifest_table(rows: Sequence[dict[str, object]]) -> pd.DataFrame:
    """Return the manifest with its columns in order."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(COLUMNS))


def key_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Count the kept frames of each formula, level and key.

    Parameters
    ----------
    manifest
        The manifest.

    Returns
    -------
    pandas.DataFrame
        Columns ``formula, level, key, frames, training, validation, lowest, highest,
        margin``; lowest and highest energy are in meV/atom above the lowest frame of
        that formula and level.
    """
    kept = manifest[manifest["status"] == KEPT].copy()
    per_atom = kept["energy"] / kept["natoms"]
    ground = per_atom.groupby([kept["formula"], kept["level"]]).transform("min")
    kept["above"] = (per_atom - ground) * 1000.0
    kept["is_training"] = kept["split"] == "training"
    table = kept.groupby(["formula", "level", "key"], sort=False).agg(
        frames=("key", "size"),
        training=("is_training", "sum"),
        lowest=("above", "min"),
        highest=("above", "max"),
        margin=("margin", "min"),
    )
    table.insert(2, "validation", table["frames"] - table["training"])
    table = table.sort_values(["formula", "level", "lowest"], kind="stable")
    return table.reset_index()


def count_reasons(rejected: Sequence[Rejected]) -> dict[str, int]:
    """Count the reasons of quarantine, the most frequent first (first met on ties).

    Those that name another frame, one each, count as one.
    """
    return dict(Counter(_kind(frame.reason) for frame in rejected).most_common())


def _kind(reason: str) -> str:
    for text in (DUPLICATE, HIGHER):
        beginning = text.partition("{")[0]
        if reason.startswith(beginning):
            return f"{beginning}another frame (the manifest says which)"
    return reason
