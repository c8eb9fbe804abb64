# SPDX-License-Identifier: LGPL-3.0-or-later
"""Hops in small cells by a model, and DFT at start, top and end of their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.crystals import unit_cell
from spin_dp.demo.summary import markdown_table
from spin_dp.errors import BackendError
from spin_dp.properties import RelaxationSettings, Subject
from spin_dp.properties.migration import BarrierSettings, barrier
from spin_dp.properties.relaxation import relaxed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ase.calculators.calculator import Calculator

    from spin_dp import SpinDP

CASES = (
    ("LiMnO2", "Mn=3+HS", "one", "staying"),
    ("LiMnO2", "Mn=3+HS", "one", "following"),
    ("LiNiO2", "Ni=3+LS", "one", "staying"),
    ("LiNiO2", "Ni=3+LS", "one", "following"),
    ("LiCoO2", "Co=3+LS", "one", "staying"),
    ("LiCoO2", "Co=3+LS", "two", "staying"),
)
"""Crystal, labels, vacancies, and what the electron does; DFT of holes in cobalt
converges slowest, and so comes last."""
REPEATS = (2, 2, 1)
"""Of the primitive cells: 14 or 15 atoms."""
_AS_IT_IS = 1.0  # Å; no supercell of it


def paths(
    model: SpinDP,
    make: Callable[[], Calculator],
    cases: tuple[tuple[str, str, str, str], ...] = CASES,
    repeats: tuple[int, int, int] = REPEATS,
) -> Iterator[pd.DataFrame]:
    """Go through the hops.

    Parameters
    ----------
    model
        Whose first model searches the paths.
    make
        Returns a new calculator of DFT.
    cases
        What hops.
    repeats
        Of the primitive cells.

    Yields
    ------
    pandas.DataFrame
        Three rows a hop, its start, top and end: the case; ``atoms`` of the cell,
        ``spread`` of the barrier (eV), ``coordinate`` (Å), ``energy`` and ``dft`` (eV
        above the start), ``becomes`` where DFT ends in another state. Hops where DFT
        does not converge are left out.
    """
    for crystal, labels, vacancies, electron in cases:
        subject = Subject.of_model(unit_cell(crystal), model, labels)
        rest = relaxed(subject, RelaxationSettings(max_force=0.01))
        found = barrier(
            rest.carrying(rest.atoms.repeat(repeats)),
            BarrierSettings(vacancies=vacancies, electron=electron, width=_AS_IT_IS),
        )
        try:
            dft = Subject.of_calculator(
                rest.atoms, make, labels, name="DFT", states=model.states
            )
            by_dft = found.at_same_geometries(dft)
        except BackendError:
            continue
        rows = found.path["coordinate"].isin(by_dft.path["coordinate"])
        yield pd.DataFrame(
            {
                "crystal": crystal,
                "vacancies": vacancies,
                "electron": electron,
                "atoms": len(found.images[0]),
                "spread": (found.spread or {}).get("barrier", float("nan")),
                "coordinate": by_dft.path["coordinate"].to_numpy(),
                "energy": found.path.loc[rows, "energy"].to_numpy(),
                "dft": by_dft.path["energy"].to_numpy(),
                "becomes": by_dft.becomes,
            }
        )


def markdown(table: pd.DataFrame) -> str:
    """Return the hops of :func:`paths` as text: the top, and the end, eV."""
    header = [
        *("crystal", "vacancies", "the hole", "barrier: DFT", "model"),
        *("energy of the end: DFT", "model", "DFT ends in"),
    ]
    rows = []
    for (crystal, vacancies, electron), hop in table.groupby(
        ["crystal", "vacancies", "electron"], sort=False
    ):
        top, end = hop.iloc[1], hop.iloc[-1]
        known = "" if np.isnan(top["spread"]) else f" ± {top['spread']:.2f}"
        rows.append(
            [
                *(str(crystal), str(vacancies), str(electron), f"{top['dft']:.2f}"),
                *(f"{top['energy']:.2f}{known}", f"{end['dft']:.2f}"),
                *(f"{end['energy']:.2f}", str(top["becomes"] or "the same state")),
            ]
        )
    return markdown_table(header, rows, left=3)
