# SPDX-License-Identifier: LGPL-3.0-or-later
"""Hops in small cells by a model, and DFT at start, top and end of their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spin_dp.crystals import unit_cell
from spin_dp.errors import BackendError
from spin_dp.properties import RelaxationSettings, Subject
from spin_dp.properties.migration import BarrierSettings, barrier
from spin_dp.properties.relaxation import relaxed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from ase.calculators.calculator import Calculator

    from spin_dp import SpinDP

CASES = (
    ("LiCoO2", "Co=3+LS", "one", "staying"),
    ("LiCoO2", "Co=3+LS", "two", "staying"),
    ("LiNiO2", "Ni=3+LS", "one", "staying"),
    ("LiNiO2", "Ni=3+LS", "one", "following"),
    ("LiMnO2", "Mn=3+HS", "one", "staying"),
)
"""Crystal, labels, vacancies, and what the electron does."""
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
        Of :meth:`spin_dp.properties.migration.Barrier.single_points`, with columns for
        the case. Hops where DFT does not converge are left out.
    """
    for crystal, labels, vacancies, electron in cases:
        subject = Subject.of_model(unit_cell(crystal), model, labels)
        rest = relaxed(subject, RelaxationSettings(max_force=0.01))
        found = barrier(
            rest.carrying(rest.atoms.repeat(repeats)),
            BarrierSettings(vacancies=vacancies, electron=electron, width=_AS_IT_IS),
        )
        try:
            table = found.single_points(make)
        except BackendError:
            continue
        table.insert(0, "crystal", crystal)
        table.insert(1, "vacancies", vacancies)
        table.insert(2, "electron", electron)
        table.insert(3, "atoms", len(found.images[0]))
        table.insert(4, "spread", (found.spread or {}).get("barrier", float("nan")))
        yield table
