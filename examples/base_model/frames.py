# SPDX-License-Identifier: LGPL-3.0-or-later
"""The shipped frames as training data, and where each of them comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pandas as pd
from pymatgen.core import Composition

from spin_dp import evaluation
from spin_dp.data_tools import Rules, collect
from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.data_tools.collection.manifest import KEPT
from spin_dp.data_tools.systems.system import VALIDATION
from spin_dp.demo.origins import origin_of
from spin_dp.pretrained import find_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TYPE_MAP = ("Li", "Mn", "Co", "Ni", "O")
HELD_OUT = 0.15
"""Share of the geometries of each composition that is held out."""
SEED = 0

RATTLED, HOT = "rattled, strained or displaced", "MD of another potential"
LEARNT = "asked for by active learning"
RELAXED = "spin states relaxed by a model"
"""Kinds of geometries."""
KINDS = {"hot": HOT, "learnt": LEARNT, "relaxed": RELAXED}

_SPECIAL = {
    "antisite": "Li/M anti-site",
    "mdantisite": "Li/M anti-site",
    "LNMO": "spinel",
    "LiMn2O4": "spinel",
    "rocksalt": "rocksalt",
}
"""What the beginning of a system's name says that its formula does not."""


def geometry_names(sources: Sequence[Path]) -> list[str]:
    """Return the names of the geometries in folders of frames, in their order."""
    files = [file for source in sources for file in sorted(source.rglob("*.extxyz"))]
    names = [
        str(atoms.info["geometry_id"])
        for file in files
        for atoms in ase.io.iread(file, index=":")
        if atoms.info.get("converged", True)
    ]
    return list(dict.fromkeys(names))


def collect_unseen(sources: Sequence[Path], out: Path, model: str = "lixmo2") -> None:
    """Collect frames and hold out what a shipped model was not trained on.

    Parameters
    ----------
    sources, out
        As for :func:`collect_frames`; the folder may have grown since the training.
    model
        Whose record says what it was trained on.
    """
    trained = set(find_model(model).record["data"]["trained"])
    unseen = [name for name in geometry_names(sources) if name not in trained]
    collect_frames(sources, out, 0.0, unseen)


def collect_frames(
    sources: Sequence[Path],
    out: Path,
    held_out: float = HELD_OUT,
    hold_out: Sequence[str] = (),
) -> None:
    """Collect frames and hold out whole geometries of each composition.

    Parameters
    ----------
    sources
        Folders with the frames.
    out
        Result of ``spin-dp collect``; an earlier one grows.
    held_out
        Share of the geometries, 0 to below 1.
    hold_out
        Names of geometries that are held out in any case.
    """
    rules = Rules(
        validation=held_out,
        hold_out=tuple(hold_out),
        seed=SEED,
        stationary_moments=True,
    )
    collect(list(sources), out, type_map=TYPE_MAP, rules=rules)


def origins(data: Path) -> pd.DataFrame:
    """Return where the kept frames of a collection come from.

    Parameters
    ----------
    data
        Result of :func:`collect_frames`.

    Returns
    -------
    pandas.DataFrame
        One row a frame: ``system``, ``index``, ``split``, ``geometry``, ``formula``,
        ``key`` and ``level`` of the collection; ``name`` of the geometry in its file;
        ``family``, what it is a cell of; ``temperature`` of the MD that it was taken
        from (K, NaN of others); ``kind``.
    """
    manifest = open_collected(data).manifest
    kept = manifest.loc[manifest["status"] == KEPT]
    rows = []
    for source, frames in kept.groupby("source", sort=True):
        infos = [atoms.info for atoms in ase.io.iread(str(source), index=":")]
        for frame in frames.to_dict(orient="records"):
            info = infos[int(frame["step"]) - 1]
            temperature = float(info.get("temperature", 0.0)) or np.nan
            name = str(info.get("system", Path(str(source)).stem))
            rows.append(
                {
                    "system": frame["system"],
                    "index": int(frame["index"]),
                    "split": frame["split"],
                    "geometry": frame["geometry"],
                    "formula": frame["formula"],
                    "key": frame["key"],
                    "level": frame["level"],
                    "name": str(info["geometry_id"]),
                    "family": family(name, str(frame["formula"])),
                    "temperature": temperature,
                    "kind": KINDS.get(origin_of(info), RATTLED),
                }
            )
    return pd.DataFrame(rows)


def family(name: str, formula: str) -> str:
    """Return what a cell is a cell of: its reduced formula, and what is special.

    Parameters
    ----------
    name
        Of the system in its file, ``antisiteLiNiO2_16``.
    formula
        Of the cell, ``Li4Ni4O8``.
    """
    words = [text for start, text in _SPECIAL.items() if name.startswith(start)]
    return " ".join([str(Composition(formula).reduced_formula), *words])


def predicted_frames(
    data: Path,
    models: Mapping[str, Path],
    split: str = VALIDATION,
    *,
    labels: bool = True,
) -> pd.DataFrame:
    """Return labels and predictions of the frames of a split, with their origins.

    Parameters
    ----------
    data
        Result of :func:`collect_frames`.
    models
        Model file of each name.
    split
        Of the collection: the held-out frames if left out.
    labels
        Whether the models read labels, as in use, or the moments of DFT.

    Returns
    -------
    pandas.DataFrame
        Rows of :func:`spin_dp.evaluation.evaluate` with ``family``, ``temperature``
        and ``kind``.
    """
    systems = evaluation.read_systems(data, split)
    frames = evaluation.evaluate(
        models, systems, open_collected(data).manifest, labels=labels
    )
    origin = origins(data)[["system", "index", "family", "temperature", "kind"]]
    return frames.merge(origin, on=["system", "index"], how="left", validate="1:1")
