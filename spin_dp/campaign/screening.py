# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which candidates may be chosen at all: size, deviations, distances."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.neighbours import find_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.campaign.candidate import Candidate
    from spin_dp.campaign.choice_settings import ChoiceSettings
    from spin_dp.campaign.described import Description

KNOWN = "deviations below the band: known already"
CLOSE = "atoms too near each other for DFT"
UNSOUND = "deviations above the band, and not physical"
REPLACED = "not physical; an earlier frame of the run stands in"


@dataclass(frozen=True, eq=False)
class Screened:
    """What :func:`screen` found.

    Attributes
    ----------
    is_wanted
        Which candidates may be chosen, (n,).
    left_out
        Number of the others by cause.
    notes
        What is to be said of a candidate if it is chosen, by its number.
    """

    is_wanted: NDArray[np.bool_]
    left_out: Counter[str]
    notes: dict[int, str]


def check_cells(sizes: Mapping[str, int], most: int) -> None:
    """Refuse cells that are too large for DFT.

    Parameters
    ----------
    sizes
        Number of atoms of the cell of each run, by its name.
    most
        Largest number that goes to DFT.

    Raises
    ------
    ConfigError
        Names the run.
    """
    for run, number in sizes.items():
        if number > most:
            raise ConfigError(
                f"{run}: its cell has {number} atoms, and DFT is to calculate whole "
                f"cells of at most {most}; explore in a smaller cell, or raise "
                "most_atoms."
            )


def shortest_contact(atoms: Atoms, largest: float = 1.0) -> float:
    """Return the shortest distance of two atoms over the sum of their covalent radii.

    Parameters
    ----------
    atoms
        A periodic structure.
    largest
        Up to which share pairs are looked for.

    Returns
    -------
    float
        inf where no pair is so near. Radii: Cordero et al., Dalton Trans. 2832 (2008),
        doi:10.1039/b801115j.
    """
    from ase.data import covalent_radii

    radii = covalent_radii[atoms.numbers]
    reach = 2.0 * largest * float(radii.max())
    pairs = find_pairs(atoms.cell.array, atoms.positions, reach)
    shares = pairs.distances / (radii[pairs.first] + radii[pairs.second])
    return float(shares[shares <= largest].min(initial=np.inf))


def screen(
    members: Sequence[Candidate],
    described: Sequence[Description],
    known: Sequence[Description],
    settings: ChoiceSettings,
) -> Screened:
    """Sort candidates by deviations and distances.

    Where a doubtful frame is not physical, the frame of its run before it that is
    physical stands in for it, though it may be below the band.

    Parameters
    ----------
    members, described
        Candidates in canonical order, and their descriptions.
    known
        Descriptions of labelled frames.
    settings
        Limits.
    """
    causes = [""] * len(members)
    volumes: dict[str, tuple[float, float]] = {}
    for d in known:
        low, high = volumes.get(d.formula, (d.volume, d.volume))
        volumes[d.formula] = (min(low, d.volume), max(high, d.volume))
    contacts = [shortest_contact(m.atoms, settings.sound_contact) for m in members]
    for i, member in enumerate(members):
        force, magnetic = member.force_deviation, member.magnetic_deviation
        is_above = (
            force > settings.force_band[1] or magnetic > settings.magnetic_band[1]
        )
        is_below = (
            force < settings.force_band[0] and magnetic < settings.magnetic_band[0]
        )
        if is_below:
            causes[i] = KNOWN
        elif contacts[i] < settings.contact:
            causes[i] = CLOSE
        elif is_above and not (
            contacts[i] >= settings.sound_contact
            and _is_usual(described[i], volumes, settings.sound_volume)
        ):
            causes[i] = UNSOUND
    is_wanted = np.array([not cause for cause in causes], dtype=np.bool_)
    notes: dict[int, str] = {}
    for i, cause in enumerate(causes):
        if cause not in (CLOSE, UNSOUND):
            continue
        before = _stand_in(i, members, causes, contacts, settings.contact)
        if before is not None and not is_wanted[before]:
            is_wanted[before] = True
            notes[before] = f", in place of step {members[i].step}"
            causes[i] = REPLACED
    left_out = Counter(
        cause for cause, wanted in zip(causes, is_wanted, strict=True) if not wanted
    )
    return Screened(is_wanted, left_out, notes)


def _is_usual(
    described: Description, volumes: Mapping[str, tuple[float, float]], share: float
) -> bool:
    if described.formula not in volumes:
        return True
    low, high = volumes[described.formula]
    return low * (1.0 - share) <= described.volume <= high * (1.0 + share)


def _stand_in(
    index: int,
    members: Sequence[Candidate],
    causes: Sequence[str],
    contacts: Sequence[float],
    contact: float,
) -> int | None:
    """Return the last frame before one in its run that is physical, if there is one.

    Candidates are sorted by run and step.
    """
    for before in range(index - 1, -1, -1):
        if members[before].run != members[index].run:
            return None
        is_earlier = members[before].step < members[index].step
        if is_earlier and causes[before] in ("", KNOWN) and contacts[before] >= contact:
            return before
    return None
