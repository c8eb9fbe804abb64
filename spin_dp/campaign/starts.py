# SPDX-License-Identifier: LGPL-3.0-or-later
"""From a chosen geometry to the spin states that DFT starts from.

The label of the MD run comes first. Some geometries get further starts: other orders of
the same states, or other states of the catalogue, at neutral charge. What is worth
knowing is what is low in energy, as far as the model can say, and rare in the data.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from spin_dp.campaign.described import (
    describe_known,
    formula_unit,
    labels_of,
)
from spin_dp.errors import ConfigError
from spin_dp.search.ranking import rank_states
from spin_dp.spin_states.frame_name import name_frame, reduced_key
from spin_dp.spin_states.key import NO_METAL, element_of, is_key, parse_key
from spin_dp.spin_states.labels import Sites, parse_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.campaign.candidate import Candidate
    from spin_dp.inference.predictor import SpinDP

    Floats = NDArray[np.float64]

log = logging.getLogger(__name__)

Landing: TypeAlias = Literal["same", "flipped sign", "other state", "unpolarised"]


@dataclass(frozen=True, kw_only=True)
class StartSettings:
    """How many spin states DFT starts from.

    Attributes
    ----------
    share
        Share of the geometries that get more than one.
    further
        Most further starts of such a geometry.
    gap
        Energy above the lowest state at which a state is worth 1/e, eV per formula
        unit.
    max_patterns
        Most assignments of states that the model evaluates for a geometry.
    """

    share: float = 0.5
    further: int = 1
    gap: float = 0.2
    max_patterns: int = 64

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ConfigError(
                "share of geometries with several spin states: expected 0 to 1, got "
                f"{self.share:g}."
            )
        if self.further < 1:
            raise ConfigError(
                f"further starts: expected at least 1, got {self.further}; for none "
                "set the share to 0."
            )
        if self.max_patterns < 1:
            raise ConfigError(
                f"max_patterns: expected at least 1, got {self.max_patterns}."
            )
        if not self.gap > 0.0:
            raise ConfigError(f"gap: expected more than 0 eV, got {self.gap:g}.")


@dataclass(frozen=True, eq=False)
class Start:
    """One DFT run.

    Attributes
    ----------
    candidate
        The geometry.
    moments
        Moments that the SCF starts from, (n,), μB.
    state
        Key of the spin state that is wanted.
    """

    candidate: Candidate
    moments: Floats
    state: str


def find_starts(
    candidates: Sequence[Candidate],
    known: Sequence[Atoms],
    model: SpinDP,
    settings: StartSettings | None = None,
) -> list[Start]:
    """Return the spin states that DFT starts from at chosen geometries.

    Parameters
    ----------
    candidates
        The geometries, with the labels of their runs.
    known
        Frames that are labelled already, with their moments.
    model
        Says how high states are; its catalogue says what moments they have.
    settings
        How many; the defaults if None.

    Returns
    -------
    list of Start
        Geometry by geometry in the order given, the label of the run first. Geometries
        whose neutral states the model cannot list get no others, with a warning.
    """
    settings = settings or StartSettings()
    counts = Counter(d.group for d in describe_known(known, model.states))
    first = [_label(candidate, model) for candidate in candidates]
    for start in first:
        counts[_group(start)] += 1
    number = round(settings.share * len(candidates))
    others = (
        [_others(start, model, settings) for start in first]
        if number
        else [[] for _ in first]
    )
    further: dict[int, list[Start]] = {}
    while len(further) < number:
        best = _best(others, further, counts)
        if best is None:
            break
        further[best] = []
        for _ in range(settings.further):
            left = [o for o in others[best] if o[1].state not in _states(further[best])]
            if not left:
                break
            start = max(left, key=lambda o: _score(o, counts))[1]
            further[best].append(start)
            counts[_group(start)] += 1
    return [
        start
        for place, label in enumerate(first)
        for start in (label, *further.get(place, ()))
    ]


def landed(wanted: str, found: str) -> Landing:
    """Say where DFT ended that was started in a spin state.

    Parameters
    ----------
    wanted, found
        Keys of the spin state of the start and of the result.

    Returns
    -------
    str
        ``same``; ``flipped sign``: the same states of sites, other signs;
        ``unpolarised``: no moment is left; ``other state``: the rest, states that
        changed places among them.
    """
    if wanted == found:
        return "same"
    if NO_METAL in (wanted, found) or not is_key(found) or "off" in wanted + found:
        return "other state"
    (before, _), (after, _) = parse_key(wanted), parse_key(found)
    if any(sign for _, sign in before) and not any(sign for _, sign in after):
        return "unpolarised"
    labels = Counter(label for label, _ in before)
    if labels != Counter(label for label, _ in after):
        return "other state"
    one_each = len(labels) == len({element_of(label) for label in labels})
    if one_each or Counter(before) != Counter(after):
        return "flipped sign"
    return "other state"


def _label(candidate: Candidate, model: SpinDP) -> Start:
    atoms, moments = candidate.atoms, labels_of(candidate.atoms)
    name = name_frame(
        atoms.get_chemical_symbols(),
        atoms.cell.array,
        atoms.positions,
        moments,
        model.states,
    )
    return Start(candidate, moments, name.key)


def _others(
    label: Start, model: SpinDP, settings: StartSettings
) -> list[tuple[float, Start]]:
    """Return other spin states of a geometry, each with its worth from its energy."""
    atoms = label.candidate.atoms.copy()
    try:
        table = rank_states(atoms, model, max_patterns=settings.max_patterns)
    except ConfigError as error:
        log.warning(
            "%s, step %d: starts from its label only (%s)",
            label.candidate.run,
            label.candidate.step,
            error,
        )
        return []
    sites = Sites(atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions)
    found: dict[str, tuple[float, Start]] = {}
    for row in table.to_dict(orient="records"):
        key = str(row["state"])
        if key in found or label.state in (key, row["becomes"]):
            continue
        lengths = parse_labels(str(row["labels"]), sites, model.states).moments[:, 2]
        worth = float(np.exp(-float(row["above_lowest"]) / (1000.0 * settings.gap)))
        found[key] = (worth, Start(label.candidate, lengths, key))
    return list(found.values())


def _best(
    others: Sequence[Sequence[tuple[float, Start]]],
    taken: dict[int, Any],
    counts: Counter[tuple[str, str]],
) -> int | None:
    """Return the geometry whose best other state is worth most; the first on ties."""
    scores = {
        place: max(_score(option, counts) for option in options)
        for place, options in enumerate(others)
        if options and place not in taken
    }
    return max(scores, key=lambda place: (scores[place], -place), default=None)


def _score(option: tuple[float, Start], counts: Counter[tuple[str, str]]) -> float:
    worth, start = option
    return float(worth * (1 + counts[_group(start)]) ** -0.5)


def _states(starts: Sequence[Start]) -> set[str]:
    return {start.state for start in starts}


def _group(start: Start) -> tuple[str, str]:
    symbols = start.candidate.atoms.get_chemical_symbols()
    return formula_unit(symbols), reduced_key(start.state)
