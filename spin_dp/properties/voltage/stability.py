# SPDX-License-Identifier: LGPL-3.0-or-later
"""Crystals of one composition beside each other, each in its lowest spin state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from spin_dp.errors import ConfigError, DataError
from spin_dp.properties.voltage.delithiation import (
    FoundPhase,
    VoltageSettings,
    lowest_phase,
)
from spin_dp.search.ranking import formula_units
from spin_dp.structures import as_atoms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms
    from pymatgen.core import Structure

    from spin_dp.inference.predictor import SpinDP
    from spin_dp.properties.settings import Progress

_MEV = 1000.0


def compare_crystals(
    structures: Mapping[str, Atoms | Structure],
    model: SpinDP,
    settings: VoltageSettings | None = None,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, dict[str, Atoms]]:
    """Compare crystals of one composition, such as layers and spinel.

    Parameters
    ----------
    structures
        By name; cells may differ in size.
    model
        Of an ensemble the first model looks for states and relaxes, and all give the
        spread of the differences.
    settings
        States that are tried, and how crystals relax; None: the defaults.
    progress
        Called as ``progress(what, done, total)``.

    Returns
    -------
    tuple
        Table, lowest first: ``crystal``, ``state``, ``energy`` (eV per formula unit),
        ``above_lowest`` (meV per formula unit) with its ``spread`` over the models (NaN
        of a single one), ``volume`` (Å³ per formula unit); and the structures.

    Raises
    ------
    DataError
        If compositions differ.
    ConfigError
        If there are fewer than two, or no neutral state exists.
    """
    chosen = settings or VoltageSettings()
    crystals = {name: as_atoms(one) for name, one in structures.items()}
    if len(crystals) < 2:
        raise ConfigError(
            f"crystals: expected two or more to compare, got {len(crystals)}."
        )
    formulas = {
        name: str(one.symbols.formula.reduce()[0].format("metal"))
        for name, one in crystals.items()
    }
    if len(set(formulas.values())) > 1:
        raise DataError(
            "crystals: expected one composition, got "
            + ", ".join(f"{formula} ({name})" for name, formula in formulas.items())
            + "."
        )
    found: dict[str, FoundPhase] = {}
    for done, (name, atoms) in enumerate(crystals.items()):
        if progress is not None:
            progress(f"relaxing {name}", done, len(crystals))
        found[name] = lowest_phase(atoms, model, chosen)
    rows = [
        {
            "crystal": name,
            "state": one.phase.state,
            "energy": one.phase.energy / formula_units(one.phase.atoms),
            "volume": one.phase.atoms.get_volume() / formula_units(one.phase.atoms),
        }
        for name, one in found.items()
    ]
    table = pd.DataFrame(rows).sort_values("energy", ignore_index=True)
    members = next(iter(found.values())).subject.energies.members
    by_member = pd.DataFrame(
        {
            name: [
                one.by_member(k).energy / formula_units(one.phase.atoms)
                for k in range(members)
            ]
            for name, one in found.items()
        }
    )[table["crystal"].tolist()]
    above = _MEV * by_member.sub(by_member.iloc[:, 0], axis=0)
    table.insert(3, "above_lowest", above.iloc[0].to_numpy())
    table.insert(4, "spread", above.std(ddof=1).to_numpy())
    return table, {name: one.phase.atoms for name, one in found.items()}
