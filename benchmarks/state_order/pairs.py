# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pairs of states of one geometry, sorted by what sets them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.demo.summary import markdown_table
from spin_dp.evaluation.metrics import (
    MEV_PER_EV,
    ORDER_THRESHOLD_EV,
    rms,
    state_pairs,
)
from spin_dp.spin_states.key import is_key, parse_key, sorted_labels
from spin_dp.spin_states.nominal import NONMAGNETIC, find_nominal_state

if TYPE_CHECKING:
    from collections.abc import Sequence

ORDER, SPIN, CHARGE = "magnetic order", "spin state", "charges"
NOTHING, UNNAMED = "nothing by name", "a state that no ion explains"
KINDS = (ORDER, SPIN, CHARGE, NOTHING, UNNAMED)
"""What sets two states apart: signs only; spin states of the same charges; charges;
nothing, two solutions of one key; one of them is in a state that no ion explains."""
ALL = "all"


def difference(first: str, second: str) -> tuple[str, str]:
    """Return what sets two spin-state keys of one cell apart, and of which sites.

    Parameters
    ----------
    first, second
        Keys, see :mod:`spin_dp.spin_states.key`.

    Returns
    -------
    tuple
        One of :data:`KINDS`; of magnetic order the states that sites are in, of spin
        states the ions that change, else nothing.
    """
    if first == second:
        return NOTHING, ""
    if not (is_key(first) and is_key(second)):
        return UNNAMED, ""
    names = [sorted(name for name, _ in parse_key(key)[0]) for key in (first, second)]
    if names[0] == names[1]:
        return ORDER, " ".join(sorted_labels(names[0]))
    if any(find_nominal_state(name) is None for one in names for name in one):
        return UNNAMED, ""
    charges = [sorted(_ion(name) for name in one) for one in names]
    if charges[0] != charges[1]:
        return CHARGE, ""
    changed = {
        _ion(name)
        for name in {*names[0], *names[1]}
        if names[0].count(name) != names[1].count(name)
    }
    return SPIN, " ".join(sorted(changed))


def _ion(name: str) -> str:
    state = find_nominal_state(name)
    assert state is not None  # asked before
    return f"{state.element}{state.oxidation}+"


def is_free(frames: pd.DataFrame) -> np.ndarray:
    """Return which frames are solutions that a free calculation may end in, (nf,).

    Neither with a total moment that was held, nor without any moment where the ion has
    one.
    """
    unpolarised = frames["key"].str.contains(NONMAGNETIC, regex=False)
    return np.asarray(~frames["held"].astype(bool) & ~unpolarised)


def find_pairs(frames: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Return all pairs of states of one geometry.

    Parameters
    ----------
    frames
        Rows of :func:`spin_dp.evaluation.evaluate`.
    models
        Names of the models there.

    Returns
    -------
    pandas.DataFrame
        ``formula``, ``geometry``, ``state`` and ``other`` (keys), ``kind`` and
        ``sites`` of :func:`difference`, ``free`` (whether both are), ``dft`` and one
        column for each model: energy of the other one less that of the first one, meV
        per cell, where DFT's is positive.
    """
    energies = frames["energy"].to_numpy(dtype=float)
    free = is_free(frames)
    rows = []
    for a, b in state_pairs(list(frames["geometry"]), list(frames["key"]), energies):
        low, high = (a, b) if energies[a] <= energies[b] else (b, a)
        kind, sites = difference(frames["key"].iloc[low], frames["key"].iloc[high])
        columns = {"dft": "energy"} | {name: f"energy_{name}" for name in models}
        rows.append(
            {
                "formula": frames["formula"].iloc[low],
                "geometry": frames["geometry"].iloc[low],
                "state": frames["key"].iloc[low],
                "other": frames["key"].iloc[high],
                "kind": kind,
                "sites": sites,
                "free": bool(free[low] and free[high]),
            }
            | {
                name: MEV_PER_EV
                * float(frames[column].iloc[high] - frames[column].iloc[low])
                for name, column in columns.items()
            }
        )
    return pd.DataFrame(rows)


def answers(pairs: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Return how well models order pairs: all, of each kind, and of each kind of site.

    Parameters
    ----------
    pairs
        Of :func:`find_pairs`.
    models
        Their names; the first one answers, the mean over all is beside it.

    Returns
    -------
    pandas.DataFrame
        ``kind`` and ``sites`` (empty of sums); ``pairs`` and ``geometries``;
        ``ordered``, how many pairs differ by more than 20 meV in DFT, and ``right``,
        how many of these the first model has in DFT's order; ``dft_least`` and
        ``dft_most``, the gaps; ``mean_error`` and ``rms_error`` of the gap, and
        ``rms_error_mean``, of the mean of the models; meV per cell.
    """
    groups = [(ALL, "", pairs)]
    for kind in KINDS:
        of_kind = pairs[pairs["kind"] == kind]
        groups.append((kind, "", of_kind))
        groups += [
            (kind, str(sites), rows)
            for sites, rows in of_kind.groupby("sites")
            if sites
        ]
    return pd.DataFrame(
        [
            {"kind": kind, "sites": sites, **_measures(rows, models)}
            for kind, sites, rows in groups
            if len(rows)
        ]
    )


def _measures(rows: pd.DataFrame, models: Sequence[str]) -> dict[str, float]:
    dft, first = rows["dft"].to_numpy(), rows[models[0]].to_numpy()
    mean = rows[list(models)].to_numpy().mean(axis=1)
    is_ordered = dft > MEV_PER_EV * ORDER_THRESHOLD_EV
    return {
        "pairs": len(rows),
        "geometries": rows["geometry"].nunique(),
        "ordered": int(is_ordered.sum()),
        "right": int((first[is_ordered] > 0.0).sum()),
        "dft_least": float(dft.min()),
        "dft_most": float(dft.max()),
        "mean_error": float((first - dft).mean()),
        "rms_error": rms(first - dft),
        "rms_error_mean": rms(mean - dft),
    }


def markdown(table: pd.DataFrame) -> str:
    """Return the table of :func:`answers` as text."""
    header = [
        *("what differs", "sites", "pairs", "geometries", "in DFT's order"),
        *("DFT gap, meV per cell", "mean error", "RMS error"),
        "RMS of the models' mean",
    ]
    rows = [
        [
            f"**{row['kind']}**" if not row["sites"] else "",
            str(row["sites"]),
            str(row["pairs"]),
            str(row["geometries"]),
            f"{row['right']} of {row['ordered']}",
            f"{row['dft_least']:.0f} to {row['dft_most']:.0f}",
            f"{row['mean_error']:+.0f}",
            f"{row['rms_error']:.0f}",
            f"{row['rms_error_mean']:.0f}",
        ]
        for row in table.to_dict("records")
    ]
    return markdown_table(header, rows, left=2)
