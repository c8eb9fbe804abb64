# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where the shipped frames come from, as the frames themselves tell it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

RATTLED = (
    *("CoO2_3", "Li05CoO2", "Li05MnO2", "Li05NiO2", "LiCoO2_4", "LiCoO2_8"),
    *("LiMnO2_4", "LiMnO2_8", "LiNi05Mn05O2", "LiNiO2_4", "LiNiO2_8"),
    *("MnO2_3", "NiO2_3"),
)
"""The 13 systems of small rattled cells, 221 frames that never grow: published
comparisons stand on them."""

EXPLORED_BY = "explored_by"
"""What frames of a campaign say: the MD run that they come from."""

RELAXED_BY = "relaxed_by"
"""What frames that a model relaxed say: its name."""

ORIGINS = {
    "rattled": "random strain and displacements of small layered cells",
    "displaced": "larger strains, close contacts, lithium on its way, rocksalts",
    "hot": "snapshots of MD of another potential",
    "learnt": "asked for by active learning, from MD of the shipped model",
    "relaxed": "relaxed by the shipped model in a spin state, strained and displaced",
    "other": "not said in the frames",
}


def origin_of(info: Mapping[str, object]) -> str:
    """Return the origin of a frame, one of :data:`ORIGINS`.

    Parameters
    ----------
    info
        What an extended XYZ file says of the frame: ``rattle_std`` of rattled cells,
        ``explored_by`` of those of a campaign, ``relaxed_by`` of relaxed ones,
        ``temperature`` (K, 0 without MD) and ``sampler`` of the others.

    Returns
    -------
    str
        A key of :data:`ORIGINS`.
    """
    if "rattle_std" in info:
        return "rattled"
    if EXPLORED_BY in info:
        return "learnt"
    if RELAXED_BY in info:
        return "relaxed"
    if float(str(info.get("temperature", 0.0))) > 0.0:
        return "hot"
    return "displaced" if "sampler" in info else "other"


def origins_of(manifest: pd.DataFrame) -> pd.Series:
    """Return the origin of each frame of a manifest of extended XYZ files.

    Parameters
    ----------
    manifest
        Rows of the table that ``spin-dp collect`` wrote; ``source`` and ``step`` say
        which frame of which file each row is.

    Returns
    -------
    pandas.Series
        Keys of :data:`ORIGINS` by the index of the manifest.
    """
    from ase.io import iread

    origins = {
        str(source): [origin_of(atoms.info) for atoms in iread(Path(str(source)), ":")]
        for source in manifest["source"].unique()
    }
    places = zip(manifest["source"], manifest["step"], strict=True)
    found = [origins[str(source)][int(step) - 1] for source, step in places]
    return pd.Series(found, index=manifest.index)


def with_origins(frames: pd.DataFrame, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return rows of an evaluation with the origin of each frame.

    Parameters
    ----------
    frames
        Rows of :func:`spin_dp.evaluation.evaluate`.
    manifest
        The table ``spin-dp collect`` wrote.

    Returns
    -------
    pandas.DataFrame
        The rows, with a column ``origin``.
    """
    kept = manifest[manifest["status"] == "kept"]
    places = kept[["system", "index"]].astype({"index": "int64"})
    named = places.assign(origin=origins_of(kept))
    return frames.merge(named, on=["system", "index"], how="left", validate="1:1")
