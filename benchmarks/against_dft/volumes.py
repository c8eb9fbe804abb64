# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy over volume by a model and by DFT, at the geometries of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spin_dp.crystals import unit_cell
from spin_dp.demo.summary import markdown_table
from spin_dp.errors import ConfigError
from spin_dp.properties import EquationOfStateSettings, Subject, equation_of_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from ase.calculators.calculator import Calculator

    from spin_dp import SpinDP

CASES = (
    ("LiCoO2", "Co=3+LS"),
    ("LiCoO2", "Co=3+HS"),
    ("LiCoO2", "Co=3+IS"),
    ("LiNiO2", "Ni=3+LS"),
    ("LiNiO2", "Ni=3+HS"),
    ("LiMnO2", "Mn=3+HS"),
    ("LiMnO2", "Mn=3+LS"),
)
"""Primitive cells of four atoms, all moments parallel."""
SETTINGS = EquationOfStateSettings(points=7, rattle=0.03, max_steps=2000)


def curves(
    model: SpinDP,
    make: Callable[[], Calculator],
    cases: tuple[tuple[str, str], ...] = CASES,
    settings: EquationOfStateSettings = SETTINGS,
) -> Iterator[dict[str, object]]:
    """Go through crystals in their spin states.

    Parameters
    ----------
    model
        Of an ensemble each relaxes its own volumes; DFT is asked at those of the first.
    make
        Returns a new calculator of DFT.
    cases, settings
        Crystals with their labels; volumes.

    Yields
    ------
    dict
        ``crystal``, ``labels``; of V₀ (Å³/f.u.) and B₀ (GPa) ``DFT``, ``model``, ``±``
        (standard deviation of all models) and ``error`` (%); ``gap DFT``, ``gap model``
        above the crystal's first case (meV/f.u.); ``volumes``, where DFT keeps the
        state; ``said``, what became of the others. Numbers are missing where DFT keeps
        it at fewer than five.
    """
    lowest: dict[str, tuple[float, float]] = {}
    for crystal, labels in cases:
        subject = Subject.of_model(unit_cell(crystal), model, labels)
        found = equation_of_state(subject, settings)
        dft = Subject.of_calculator(
            subject.atoms, make, labels, name="DFT", states=model.states
        )
        row: dict[str, object] = {"crystal": crystal, "labels": labels}
        try:
            by_dft = found.at_same_geometries(dft)
        except ConfigError as error:
            yield {**row, "volumes": 0, "said": str(error)}
            continue
        for field, name in (("v0", "V0"), ("b0", "B0")):
            one, other = getattr(found, field), getattr(by_dft, field)
            row[f"{name} DFT"], row[f"{name} model"] = other, one
            row[f"{name} ±"] = (found.spread or {}).get(field, float("nan"))
            row[f"{name} error"] = 100.0 * (one / other - 1.0)
        zero = lowest.setdefault(crystal, (by_dft.e0, found.e0))
        row["gap DFT"] = 1000.0 * (by_dft.e0 - zero[0])
        row["gap model"] = 1000.0 * (found.e0 - zero[1])
        yield {**row, "volumes": len(by_dft.points), "said": "; ".join(by_dft.said)}


def markdown(table: pd.DataFrame) -> str:
    """Return rows of :func:`curves` as text."""
    header = [
        *("crystal, state", "volumes", "V₀, Å³/f.u.: DFT", "model"),
        *("B₀, GPa: DFT", "model"),
        *("above the first state, meV/f.u.: DFT", "model"),
    ]
    rows = []
    for row in table.to_dict("records"):
        cells = [f"{row['crystal']}, {row['labels']}", str(row["volumes"])]
        for name, digits in (("V0", 2), ("B0", 0)):
            if not row["volumes"]:
                cells += ["-", ""]
                continue
            cells.append(f"{row[f'{name} DFT']:.{digits}f}")
            error = f"({row[f'{name} error']:+.{1 if digits else 0}f} %)"
            spread = row[f"{name} ±"]
            known = "" if np.isnan(spread) else f" ± {spread:.{digits}f}"
            cells.append(f"{row[f'{name} model']:.{digits}f}{known} {error}")
        gaps = ("gap DFT", "gap model") if row["volumes"] else ()
        cells += [f"{row[name]:.0f}" for name in gaps] or ["-", ""]
        rows.append(cells)
    return markdown_table(header, rows)
