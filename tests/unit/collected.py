# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sources as text, and what a collected folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
GPAW = ROOT / "examples" / "gpaw"
NICKEL = GPAW / "NiO2_3.extxyz"


def folder_state(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def text_frame(
    *, energy: float = -10.0, element: str = "Ni", spin: float = 1.7, cell: float = 4.0
) -> str:
    return (
        "2\n"
        f'Lattice="{cell} 0 0 0 {cell} 0 0 0 {cell}" pbc="T T T" free_energy={energy} '
        "Properties=species:S:1:pos:R:3:forces:R:3:magmoms:R:1\n"
        f"{element} 0 0 0 0 0 0 {spin}\nO 2 2 2 0 0 0 0.1\n"
    )


def write(path: Path, *frames: str) -> Path:
    path.write_text("".join(frames))
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(out: Path) -> list[dict[Any, Any]]:
    table = pd.read_csv(out / "manifest.csv", keep_default_na=False)
    return table.to_dict("records")


def column(out: Path, name: str) -> list[Any]:
    return [row[name] for row in rows(out)]


def kept(table: Sequence[dict[Any, Any]]) -> list[dict[Any, Any]]:
    return [row for row in table if row["status"] == "kept"]
