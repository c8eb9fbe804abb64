# SPDX-License-Identifier: LGPL-3.0-or-later
"""Each named spin state of an element as an atom type of its own.

The names are those of ``spin-dp collect``. A site without a sure name, or in a state
that no training frame has, takes the state of its element whose mean moment is nearest.
Up and down are one type: this is what a species can tell.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from spin_dp.data_tools.systems.note import NOTE
from spin_dp.data_tools.systems.system import find_systems, open_system
from spin_dp.data_tools.systems.writing import SystemWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from spin_dp.evaluation import LabelledSystem

Sites = dict[tuple[str, int], dict[str, list[str]]]
"""Types of the metal atoms by system and frame, then by element, in order of atoms."""

_SURE = re.compile(r"([A-Z][a-z]?)(\d)\+(\w*)")
_SPLIT = "training"


def type_name(state: str) -> str | None:
    """Return the atom type of a state, ``Mn3+HS`` -> ``Mn_3HS``; None if unsure."""
    match = _SURE.fullmatch(state)
    return f"{match[1]}_{match[2]}{match[3]}" if match else None


def name_sites(sites: pd.DataFrame) -> pd.Series[str]:
    """Return the type of each site."""
    named = sites["state"].map(type_name)
    size = sites["moment"].abs()
    known = named.notna() & sites["system"].str.startswith(f"{_SPLIT}/")
    means: dict[str, dict[str, float]] = {}
    for (element, name), moments in size[known].groupby([sites["element"], named]):
        means.setdefault(str(element), {})[str(name)] = float(moments.mean())

    def choose(element: str, name: object, moment: float) -> str:
        of_element = means.get(element, {element: 0.0})
        if isinstance(name, str) and name in of_element:
            return name
        return min(of_element, key=lambda state: abs(of_element[state] - moment))

    rows = zip(sites["element"], named, size, strict=True)
    return pd.Series([choose(*row) for row in rows], index=sites.index, dtype=str)


def read_sites(data: Path) -> Sites:
    """Return the types of the metal atoms of a collected folder."""
    table = pd.read_csv(data / "sites.csv.gz")
    found: Sites = {}
    # Atoms are counted as in the source; systems sort them by element, and keep the
    # order within one.
    table = table.assign(type=name_sites(table)).sort_values("atom", kind="stable")
    rows = zip(
        table["system"], table["index"], table["element"], table["type"], strict=True
    )
    for system, index, element, name in rows:
        of_frame = found.setdefault((str(system), int(index)), {})
        of_frame.setdefault(str(element), []).append(str(name))
    return found


def symbols_of(
    symbols: Sequence[str], types: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Return the symbols of a frame with its metals replaced by their types."""
    left = {element: iter(names) for element, names in types.items()}
    return tuple(next(left[s]) if s in left else s for s in symbols)


def write_states(data: Path, out: Path) -> None:
    """Write the training systems of a collected folder with types for spin states."""
    sites = read_sites(data)
    systems = [open_system(folder) for folder in find_systems(data / _SPLIT)]
    type_map = state_type_map(systems[0].elements, sites)
    for number, system in enumerate(systems):
        name = system.folder.relative_to(data).as_posix()
        frames: dict[tuple[str, ...], list[int]] = {}
        for index in range(system.n_frames):
            symbols = symbols_of(system.symbols, sites.get((name, index), {}))
            frames.setdefault(symbols, []).append(index)
        for part, (symbols, indices) in enumerate(frames.items()):
            target = out / f"{number}-{part}"
            types = [type_map.index(symbol) for symbol in symbols]
            writer = SystemWriter(target, type_map, types, len(indices))
            for label in system.labels:
                writer.append(label, system.label(label)[indices])
            shutil.copy2(system.folder / NOTE, target)


def state_type_map(elements: Sequence[str], sites: Sites) -> list[str]:
    """Return elements without states, then the states that training frames have."""
    used = {
        (elements.index(element), name)
        for (system, _), of_frame in sites.items()
        if system.startswith(f"{_SPLIT}/")
        for element, names in of_frame.items()
        for name in names
    }
    metals = {elements[number] for number, _ in used}
    return [e for e in elements if e not in metals] + [name for _, name in sorted(used)]


def frames_of(system: LabelledSystem, sites: Sites) -> list[LabelledSystem]:
    """Return the frames of a system one by one, with types for spin states."""
    return [
        replace(
            system,
            symbols=symbols_of(system.symbols, sites.get((system.name, index), {})),
            positions=system.positions[index : index + 1],
            cells=system.cells[index : index + 1],
            energies=system.energies[index : index + 1],
            forces=system.forces[index : index + 1],
            moments=system.moments[index : index + 1],
            virials=None,
            magnetic_forces=None,
            initial_moments=None,
        )
        for index in range(len(system.energies))
    ]
