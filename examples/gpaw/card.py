# SPDX-License-Identifier: LGPL-3.0-or-later
"""Write the tables of README.md beside this file anew from the frames.

``python -m examples.gpaw.card`` after frames were added; ``--check`` only says whether
the page is up to date.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pandas as pd

from examples.pages import fill_in
from spin_dp.data_tools import Rules, collect
from spin_dp.demo.origins import ORIGINS, origin_of
from spin_dp.demo.summary import frame_table
from spin_dp.files import write_text
from spin_dp.neighbours import find_pairs

if TYPE_CHECKING:
    from ase import Atoms

HERE = Path(__file__).resolve().parent
PAGE = "README.md"
UNCONVERGED = "unconverged"
RULES = Rules(validation=0.2, stationary_moments=True)
"""How ``spin-dp demo`` collects."""

_REACH = 4.0  # Å; no atom is farther from its nearest neighbour


def read_frames(folder: Path) -> pd.DataFrame:
    """Return one row for each run in a folder of extended XYZ files.

    Parameters
    ----------
    folder
        Folder with ``SYSTEM.extxyz`` and ``unconverged.extxyz``.

    Returns
    -------
    pandas.DataFrame
        ``source``, ``step`` (from 1), ``system``, ``geometry_id``, ``origin``,
        ``converged``, ``temperature`` (K, 0 without MD), ``atoms``, ``shortest``
        (distance of two atoms, Å) and ``force`` (largest component, eV/Å, NaN without).
    """
    return pd.DataFrame(
        [
            _row(path, step, atoms)
            for path in sorted(folder.glob("*.extxyz"))
            for step, atoms in enumerate(ase.io.iread(path, ":"), start=1)
        ]
    )


def _row(path: Path, step: int, atoms: Atoms) -> dict[str, object]:
    is_converged = path.stem != UNCONVERGED
    pairs = find_pairs(atoms.cell.array, atoms.positions, _REACH)
    return {
        "source": str(path),
        "step": step,
        "system": str(atoms.info["system"]),
        "geometry_id": str(atoms.info["geometry_id"]),
        "origin": origin_of(atoms.info),
        "converged": is_converged,
        "temperature": float(atoms.info.get("temperature", 0.0)),
        "atoms": len(atoms),
        "shortest": float(pairs.distances.min()),
        "force": float(np.abs(atoms.get_forces()).max()) if is_converged else np.nan,
    }


def render(frames: pd.DataFrame, collected: Path) -> dict[str, str]:
    """Return the generated parts of the page by name.

    Parameters
    ----------
    frames
        What :func:`read_frames` gives.
    collected
        The same frames, collected by :data:`RULES`.

    Returns
    -------
    dict
        Markdown of each part.
    """
    manifest = pd.read_csv(collected / "manifest.csv")
    manifest = manifest[manifest["status"] == "kept"]
    named = manifest[["source", "step", "formula", "key"]]
    keys = named.merge(frames, on=["source", "step"], how="left", validate="1:1")
    converged = frames[frames["converged"]]
    n_states = keys.groupby("geometry_id")["key"].nunique()
    counts = (
        f"**{len(converged)} converged frames at {converged['geometry_id'].nunique()} "
        f"geometries of {converged['system'].nunique()} systems**, "
        f"{converged['atoms'].min()} to {converged['atoms'].max()} atoms; "
        f"{int((n_states > 1).sum())} of the geometries have frames in two or more "
        f"spin states. {len(frames) - len(converged)} further runs did not converge "
        f"(`{UNCONVERGED}.extxyz`: last energy and moments, no forces). Level: "
        f"`{', '.join(sorted(manifest['level'].unique()))}`."
    )
    return {
        "counts": counts,
        "origins": _by(frames, keys, "origin"),
        "systems": _by(frames, keys, "system"),
        "states": _site_states(collected),
    }


def _by(frames: pd.DataFrame, keys: pd.DataFrame, column: str) -> str:
    """Return the table of all origins or systems."""
    rows: list[dict[str, object]] = []
    names = ORIGINS if column == "origin" else sorted(frames["system"].unique())
    for name in names:
        runs = frames[frames[column] == name]
        rows += [_counts(name, runs, keys[keys[column] == name])] if len(runs) else []
    rows.append(_counts("total", frames, keys))
    table = pd.DataFrame(rows)
    if column == "origin":
        table = table.drop(columns="origin")
    return frame_table(table.rename(columns={"name": column}), 2)


def _counts(name: str, runs: pd.DataFrame, keys: pd.DataFrame) -> dict[str, object]:
    good = runs[runs["converged"]]
    temperatures = sorted({f"{t:.0f}" for t in runs["temperature"] if t}, key=float)
    sizes = sorted({runs["atoms"].min(), runs["atoms"].max()})
    origins = runs["origin"].unique()
    return {
        "name": name,
        "frames": len(good),
        "geometries": good["geometry_id"].nunique(),
        "keys": keys.groupby("formula")["key"].nunique().sum(),
        "unconverged": len(runs) - len(good),
        "atoms": "-".join(map(str, sizes)),
        "MD at, K": ", ".join(temperatures) or "-",
        "origin": origins[0] if len(origins) == 1 else "-",
        "shortest, Å": good["shortest"].min(),
        "force, eV/Å": good["force"].max(),
    }


def _site_states(collected: Path) -> str:
    states = pd.read_csv(collected / "states.csv")
    table = states[["state", "sites", "mean", "std"]].assign(
        range=[f"{a:.2f}-{b:.2f}" for a, b in states[["lowest", "highest"]].to_numpy()]
    )
    names = {"mean": "mean moment, μB", "std": "deviation, μB", "range": "range, μB"}
    return frame_table(table.rename(columns=names), 2)


def new_page(folder: Path, collected: Path) -> str:
    """Return what README.md in a folder of frames should be."""
    parts = render(read_frames(folder), collected)
    return fill_in((folder / PAGE).read_text(encoding="utf-8"), parts)


def main() -> int:
    """Write the page, or say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        collect([HERE], Path(scratch, "data"), rules=RULES)
        page = new_page(HERE, Path(scratch, "data"))
    is_new = page != (HERE / PAGE).read_text(encoding="utf-8")
    if is_new and not check:
        write_text(HERE / PAGE, page)
    print(f"{PAGE}: {'out of date' if is_new and check else 'up to date'}")
    return int(is_new and check)


if __name__ == "__main__":
    sys.exit(main())
