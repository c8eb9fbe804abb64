# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy over volume by a model and by DFT, at the geometries of the model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.crystals import unit_cell
from spin_dp.errors import BackendError, ConfigError
from spin_dp.properties import RelaxationSettings, Subject
from spin_dp.properties.eos import fit_birch_murnaghan
from spin_dp.properties.relaxation import relaxed, relaxed_at_strain
from spin_dp.search.ranking import formula_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
STRAINS = (-0.03, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03)
"""Of lengths."""
_RATTLED = RelaxationSettings(rattle=0.03)
_AT_REST = RelaxationSettings(max_steps=2000)

log = logging.getLogger(__name__)


def points(
    model: SpinDP,
    make: Callable[[], Calculator],
    cases: tuple[tuple[str, str], ...] = CASES,
    strains: tuple[float, ...] = STRAINS,
) -> Iterator[dict[str, object]]:
    """Go through volumes: the model relaxes shape and positions, both give energies.

    Parameters
    ----------
    model
        Of an ensemble the first model relaxes, and all give energies.
    make
        Returns a new calculator of DFT.
    cases, strains
        Crystals with their labels; strains of lengths.

    Yields
    ------
    dict
        ``crystal``, ``labels``, ``volume`` (Å³/f.u.), ``dft`` and ``model_1`` and so on
        (eV/f.u.), ``becomes`` (state that DFT ended in where it is another one).
        Volumes where DFT does not converge or the model does not relax are left out.
    """
    for crystal, labels in cases:
        subject = Subject.of_model(unit_cell(crystal), model, labels)
        start = relaxed(subject, _RATTLED)
        for strain in strains:
            try:
                atoms = start.labelled(relaxed_at_strain(start, strain, _AT_REST))
            except ConfigError as error:
                log.warning("left out: %s", error)
                continue
            units = formula_units(atoms)
            other = Subject.of_calculator(
                atoms, make, labels, name="DFT", states=model.states
            )
            by_dft = other.calculated()
            try:
                energy = float(by_dft.get_potential_energy(force_consistent=True))
            except BackendError:
                continue
            yield {
                "crystal": crystal,
                "labels": labels,
                "strain": strain,
                "volume": atoms.get_volume() / units,
                "dft": energy / units,
                **{
                    f"model_{k}": float(one.calculated(atoms).get_potential_energy())
                    / units
                    for k, one in enumerate(start.members, start=1)
                },
                "becomes": other.becomes(by_dft),
            }


def fits(table: pd.DataFrame) -> pd.DataFrame:
    """Return V₀ (Å³/f.u.) and B₀ (GPa) of each case, by DFT and by the model.

    Parameters
    ----------
    table
        Rows of :func:`points`. A case has numbers where DFT has five volumes or more in
        the state that was asked for.

    Returns
    -------
    pandas.DataFrame
        Of the first model; ``V0 ±`` and ``B0 ±`` are the standard deviations of all,
        ``V0 error`` and ``B0 error`` in %.
    """
    rows = []
    models = [name for name in table if str(name).startswith("model_")]
    for (crystal, labels), of_case in table.groupby(["crystal", "labels"], sort=False):
        kept = of_case[of_case["becomes"] == ""]
        row: dict[str, object] = {
            "crystal": crystal,
            "labels": labels,
            "volumes": len(kept),
        }
        if len(kept) >= 5:
            found = {
                name: fit_birch_murnaghan(
                    kept["volume"].to_numpy(float), kept[name].to_numpy(float)
                )
                for name in ("dft", *models)
            }
            for place, name in ((3, "V0"), (1, "B0")):
                dft, one = found["dft"][place], found["model_1"][place]
                row[f"{name} DFT"] = dft
                row[f"{name} model"] = one
                others = [found[model][place] for model in models]
                row[f"{name} ±"] = np.std(others, ddof=1) if others[1:] else np.nan
                row[f"{name} error"] = 100.0 * (one / dft - 1.0)
        rows.append(row)
    return pd.DataFrame(rows)
