# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a run of labelled molecular dynamics says of its labels and its model."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.errors import ConfigError, DataError
from spin_dp.lammps_interface.workspace import RECORD_FILE
from spin_dp.sampling.moves import ION_KINDS
from spin_dp.spin_states.key import frame_key
from spin_dp.structures import LABELS, NO_STATE, SPIN_STATES

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

_FIRST_MODEL = re.compile(
    r"^pair_style\s.*?([^\s/]+?)(?:\.compressed)?\.(?:pth|pt2)\b", re.M
)
_CACHED = re.compile(r"-[0-9a-f]{16}$")


def site_states(atoms: Atoms) -> list[str]:
    """Return the states of the sites that have a name."""
    carried = atoms.arrays.get(SPIN_STATES, ())
    names = [str(one).removeprefix("-") for one in carried]
    return [name for name in names if name not in ("", NO_STATE)]


def spin_state(atoms: Atoms) -> str:
    """Return the key of a frame whose sites have names; empty without any."""
    carried = [str(one) for one in atoms.arrays.get(SPIN_STATES, ())]
    named = [one for one in carried if one not in ("", NO_STATE)]
    signs = np.array([-1 if one.startswith("-") else 1 for one in named])
    names = [one.removeprefix("-") for one in named]
    return frame_key(names, signs, "")[0] if names else ""


def label_mode(run: Path) -> str:
    """Return what became of the labels of a run, by its record; empty without one.

    Raises
    ------
    DataError
        If the record cannot be read.
    ConfigError
        If Monte Carlo moved ions.
    """
    record = run / RECORD_FILE
    if not run.is_dir() or not record.is_file():
        return ""
    try:
        moved: Any = json.loads(record.read_text(encoding="utf-8"))["identity"].get(
            "labels_move", "held"
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{record}: not a record of a run ({error!r}).") from error
    if not isinstance(moved, dict):
        return str(moved)
    moves = moved.get("moves")
    if not isinstance(moves, dict):
        return "relaxed"
    ions = [kind for kind in ION_KINDS if moves.get(kind)]
    if ions:
        raise ConfigError(
            f"{run}: Monte Carlo moved the ions themselves ({', '.join(ions)}), which "
            "is no motion in time; run without these moves for diffusion."
        )
    return "monte-carlo"


def model_of_deck(deck: Path) -> str:
    """Return the name of the first model in an input deck; empty without one."""
    text = deck.read_text(encoding="utf-8") if deck.is_file() else ""
    found = _FIRST_MODEL.search(text)
    return "" if found is None else _CACHED.sub("", found[1])


def label_mode_of_frame(atoms: Atoms) -> str:
    """Return ``held`` of a frame whose labels are its moments; else empty."""
    return "" if atoms.has(LABELS) else "held"
