# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energies of the metals that voltages are counted from, by level of theory.

They are in ``metals.json`` beside this package, each with the script that made it; a
model does not know them, and an energy of another level or program is off by volts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase.build import bulk

from spin_dp import pretrained
from spin_dp.dft import EngineCalculator
from spin_dp.errors import ConfigError
from spin_dp.properties.energies import ModelEnergies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase.calculators.calculator import Calculator

    from spin_dp.inference.predictor import SpinDP
    from spin_dp.properties.energies import Energies

_SCALES = (0.85, 1.15)  # of the lattice constant of ASE's reference state
_FILE = Path(__file__).parents[1] / "metals.json"


def metal_records() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return what is known of each metal, by level of theory and element.

    ``free_energy`` and ``energy`` (at zero smearing) in eV an atom, lattice, settings
    and ``made_by``.
    """
    return dict(json.loads(_FILE.read_text(encoding="utf-8")))


def metal_energy(element: str, model: SpinDP) -> float:
    """Return the energy of a metal at the level of a model's data, eV an atom.

    The free energy, as models learn free energies, to which the forces belong.

    Parameters
    ----------
    element
        The metal.
    model
        A shipped one, in any of its forms.

    Raises
    ------
    ConfigError
        If the level of the model, or the metal at it, is not known.
    """
    return _recorded(
        element,
        _levels(model),
        str(model.info.path),
        "give it in eV an atom at the level of the training data (setting "
        "metal_energy)",
    )


def metal_energy_by(energies: Energies, element: str) -> float:
    """Return the energy of a metal by what gives energies of its oxides, eV an atom.

    Of models, and of DFT engines, whose k-points are too few for a metal, the one that
    is known of their level; any other calculator is asked for ASE's reference crystal,
    at the volume where it has the lowest energy.

    Parameters
    ----------
    energies
        Of a :class:`spin_dp.properties.Subject`.
    element
        The metal.

    Raises
    ------
    ConfigError
        If the level, or the metal at it, is not known, or the calculator finds no
        minimum.
    """
    if isinstance(energies, ModelEnergies):
        return metal_energy(element, energies.model)
    calculator = energies.calculator()
    if isinstance(calculator, EngineCalculator):
        level = calculator.engine.level([element])
        return _recorded(
            element,
            [] if level is None else [level.id],
            energies.name,
            "ask for voltages in Python, with metal_energy of at_same_geometries",
        )
    return _calculated(element, calculator, energies.name)


def _recorded(element: str, levels: Sequence[str], whose: str, advice: str) -> float:
    """Return the energy that is known at one of some levels."""
    known = metal_records()
    for level in levels:
        if element in known.get(level, {}):
            return float(known[level][element]["free_energy"])
    told = ", ".join(levels) or "a level of theory that is not known"
    raise ConfigError(
        f"{whose} is of {told}, for which the energy of {element} metal is not known; "
        f"{advice}."
    )


def _calculated(element: str, calculator: Calculator, whose: str) -> float:
    """Return the lowest energy over the volume of the metal's crystal."""
    from scipy.optimize import minimize_scalar

    crystal = bulk(element)

    def energy(scale: float) -> float:
        atoms = crystal.copy()
        atoms.set_cell(scale * crystal.cell.array, scale_atoms=True)
        atoms.calc = calculator
        return float(atoms.get_potential_energy()) / len(atoms)

    found = minimize_scalar(
        energy, bounds=_SCALES, method="bounded", options={"xatol": 1e-3}
    )
    if not _SCALES[0] + 0.01 < found.x < _SCALES[1] - 0.01:
        raise ConfigError(
            f"{whose} has no crystal of {element} metal within 15 % of its known "
            "lattice constant; give the energy of the metal (metal_energy)."
        )
    return float(found.fun)


def _levels(model: SpinDP) -> list[str]:
    """Return the levels of the data of a shipped model; none of another."""
    stem = model.info.path.stem
    for name in pretrained.names():
        shipped = pretrained.find_model(name)
        # Compiled forms that are kept have the name of the model and a hash.
        if any(stem.startswith(file.stem) for file in shipped.files):
            return list(shipped.record["data"]["levels"])
    return []
