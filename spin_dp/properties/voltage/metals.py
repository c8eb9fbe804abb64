# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energies of the metals that voltages are counted from, by level of theory.

They are in ``metals.json`` beside this package, each with the script that made it; a
model does not know them, and an energy of another level or program is off by volts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spin_dp import pretrained
from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spin_dp.inference.predictor import SpinDP

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
    levels = _levels(model)
    known = metal_records()
    for level in levels:
        if element in known.get(level, {}):
            return float(known[level][element]["free_energy"])
    told = ", ".join(levels) or "a level of theory that its file does not say"
    raise ConfigError(
        f"{model.info.path} is of {told}, for which the energy of {element} metal is "
        "not known; give it in eV an atom at the level of the training data "
        "(setting metal_energy)."
    )


def _levels(model: SpinDP) -> list[str]:
    """Return the levels of the data of a shipped model; none of another."""
    stem = model.info.path.stem
    for name in pretrained.names():
        shipped = pretrained.find_model(name)
        # Compiled forms that are kept have the name of the model and a hash.
        if any(stem.startswith(file.stem) for file in shipped.files):
            return list(shipped.record["data"]["levels"])
    return []
