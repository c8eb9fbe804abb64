# SPDX-License-Identifier: LGPL-3.0-or-later
"""Vibrations at Γ by a model and by DFT, with the displacements of one cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from spin_dp.crystals import unit_cell
from spin_dp.demo.summary import markdown_table
from spin_dp.errors import BackendError
from spin_dp.properties import PhononSettings, RelaxationSettings, Subject, phonons
from spin_dp.properties.relaxation import relaxed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ase.calculators.calculator import Calculator

    from spin_dp import SpinDP

CASES = (("LiCoO2", "Co=3+LS"), ("LiNiO2", "Ni=3+LS"))
"""Primitive cells of four atoms."""
# Forces that are left at the geometry of the model fall out of central differences.
_AT_GAMMA = PhononSettings(supercell=(1, 1, 1), relax="no", mesh=5.0)


def vibrations(
    model: SpinDP,
    make: Callable[[], Calculator],
    cases: tuple[tuple[str, str], ...] = CASES,
) -> Iterator[pd.DataFrame]:
    """Go through crystals, relaxed by the model.

    Parameters
    ----------
    model
        Of an ensemble the first one.
    make
        Returns a new calculator of DFT.
    cases
        Crystals with their labels.

    Yields
    ------
    pandas.DataFrame
        ``crystal``, ``labels``, ``model`` and ``dft`` (1/cm), the optical modes, each
        set by itself from low to high. Crystals where DFT does not converge are left
        out.
    """
    for crystal, labels in cases:
        subject = Subject.of_model(unit_cell(crystal), model.first, labels)
        rest = relaxed(subject, RelaxationSettings(rattle=0.03, max_force=0.0005))
        other = Subject.of_calculator(
            rest.atoms, make, labels, name="DFT", states=model.states
        )
        try:
            found = [phonons(one, _AT_GAMMA).gamma for one in (rest, other)]
        except BackendError:
            continue
        waves = [gamma["wavenumber"].sort_values().to_numpy()[3:] for gamma in found]
        yield pd.DataFrame(
            {"crystal": crystal, "labels": labels, "model": waves[0], "dft": waves[1]}
        )


def markdown(table: pd.DataFrame) -> str:
    """Return the modes of :func:`vibrations` as text, a row by whom."""
    crystals = table.groupby("crystal", sort=False)
    number = int(crystals.size().max())
    rows = [
        [f"{crystal}, {name}", *(f"{wave:.0f}" for wave in modes[column])]
        for crystal, modes in crystals
        for name, column in (("DFT", "dft"), ("model", "model"))
    ]
    return markdown_table(["Γ, 1/cm", *map(str, range(1, number + 1))], rows)
