# SPDX-License-Identifier: LGPL-3.0-or-later
"""Which candidates go to DFT.

A candidate is left out where the models agree about it (below the band of deviations:
known already), where it is not physical (atoms too near each other; above the band also
an odd volume), and where it copies a frame that is known or chosen: nearly the same
fingerprint (:mod:`spin_dp.data_tools.selection.features`), which symmetry, supercells
and reversal of all moments do not change, or nearly the same time of the same run.

Of the rest the compositions, then the spin states of sites, then the spin states of
frames get one frame each, those with the fewest known frames first; what is left goes
to spin states in proportion to how doubtful and how rare they are. Within a spin state
the frame is taken that is farthest from known and chosen frames of its composition,
times its deviation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.campaign.choice_settings import ChoiceSettings
from spin_dp.campaign.described import (
    Description,
    canonical,
    describe_candidates,
    describe_known,
)
from spin_dp.campaign.screening import Screened, check_cells, screen
from spin_dp.data_tools.selection.choice import Coverage, neediest
from spin_dp.errors import ConfigError
from spin_dp.spin_states.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.campaign.candidate import Candidate

    Floats = NDArray[np.float64]
    Group = tuple[str, str]

COPY = "copy of a known or chosen frame"
NEIGHBOUR = "neighbour in time of a chosen frame"
FULL = "others were wanted more"

COLUMNS = (
    *("run", "step", "temperature", "formula", "state", "force_deviation"),
    *("magnetic_deviation", "distance", "known", "reason", "why"),
)


@dataclass(frozen=True, eq=False)
class Choice:
    """The candidates that go to DFT, and why not the others.

    Attributes
    ----------
    candidates
        Those chosen, most wanted first.
    table
        One row for each of them: run, step, temperature (K), formula, spin state,
        deviations (eV/Å, eV/μB), distance to the nearest frame of the composition that
        was known or chosen before (inf without), number of known frames in that state,
        reason and why it was chosen.
    left_out
        Number of candidates left out by cause; with those chosen they are all.
    states
        One row for each composition and spin state of the candidates: frames known,
        candidates that were worth choosing, frames chosen.
    missing
        States of the catalogue that no frame chosen shows.
    """

    candidates: tuple[Candidate, ...]
    table: pd.DataFrame
    left_out: dict[str, int]
    states: pd.DataFrame
    missing: tuple[str, ...]


def choose(
    candidates: Sequence[Candidate],
    known: Sequence[Atoms],
    n: int,
    settings: ChoiceSettings | None = None,
    *,
    catalogue: Catalogue | None = None,
) -> Choice:
    """Choose the candidates that are most worth a DFT calculation.

    Parameters
    ----------
    candidates
        From any number of runs; their order does not matter.
    known
        Frames that are labelled already, with their moments.
    n
        Frames to choose; fewer are chosen where there are not so many.
    settings
        Limits and method; the defaults if None.
    catalogue
        Spin states that are known, and their moments; nominal ones if None.

    Returns
    -------
    Choice
        The frames, and reasons.

    Raises
    ------
    ConfigError
        If n is not positive, or a cell is too large for DFT.
    DataError
        If a candidate has no finite deviation or no collinear labels.
    """
    if n < 1:
        raise ConfigError(f"frames to choose: expected at least 1, got {n}.")
    settings = settings or ChoiceSettings()
    catalogue = catalogue or Catalogue()
    check_cells({c.run: len(c.atoms) for c in candidates}, settings.most_atoms)
    members = canonical(candidates)
    described = describe_candidates(members, catalogue)
    of_known = describe_known(known, catalogue)
    screened = screen(members, described, of_known, settings)
    picker = _Picker(members, described, of_known, screened, settings)
    while len(picker.chosen) < n and picker.pick():
        pass
    return picker.result(catalogue)


class _Picker:
    """Takes one candidate after the other."""

    def __init__(
        self,
        members: Sequence[Candidate],
        described: Sequence[Description],
        known: Sequence[Description],
        screened: Screened,
        settings: ChoiceSettings,
    ) -> None:
        self.members, self.described = members, described
        self.screened, self.settings = screened, settings
        self.chosen: list[int] = []
        self.rows: list[dict[str, object]] = []
        self.is_open = screened.is_wanted.copy()
        self.left_out = Counter(screened.left_out)
        self.doubt = settings.doubt(
            np.array([c.force_deviation for c in members]),
            np.array([c.magnetic_deviation for c in members]),
        )
        self.runs = np.array([c.run for c in members], dtype=object)
        self.steps = np.array([c.step for c in members], dtype=np.int64)
        self.known = Counter(d.group for d in known)
        self.known_sites = Counter(s for d in known for s in set(d.sites))
        self._cover(known)
        self._close(self.is_open & (self.distances < settings.least_distance), COPY)
        self._share_out()
        rng = np.random.default_rng(settings.seed)
        self.lots = rng.permutation(len(members))

    def _cover(self, known: Sequence[Description]) -> None:
        """Measure how far candidates are from the known frames of the composition."""
        self.distances = np.full(len(self.members), np.inf)
        self.coverage: dict[str, tuple[NDArray[np.int64], Coverage]] = {}
        for formula in sorted({d.formula for d in self.described}):
            here = [d.formula == formula for d in self.described]
            rows = np.flatnonzero(here)
            points = np.stack([self.described[i].point for i in rows.tolist()])
            others = [d.point for d in known if d.formula == formula]
            coverage = Coverage(points, np.stack(others) if others else None)
            self.coverage[formula] = (rows, coverage)
            self.distances[rows] = coverage.distances

    def _share_out(self) -> None:
        """Give each spin state of a composition its weight."""
        wanted = np.flatnonzero(self.is_open).tolist()
        self.groups: list[Group] = sorted({self.described[i].group for i in wanted})
        number = {group: k for k, group in enumerate(self.groups)}
        self.group_of = np.array(
            [number.get(d.group, -1) for d in self.described], dtype=np.int64
        )
        self.available = np.array(
            [self.is_open[self.group_of == k].sum() for k in range(len(self.groups))]
        )
        self.rarity = np.array([(1 + self.known[g]) ** -0.5 for g in self.groups])
        doubt = np.array(
            [
                self.doubt[self.is_open & (self.group_of == k)].mean()
                for k in range(len(self.groups))
            ]
        )
        has_doubt = self.settings.method in ("both", "deviation") and doubt.any()
        weights = self.rarity * doubt if has_doubt else self.rarity
        self.weights = weights / weights.sum() if len(weights) else weights
        self.sites_of = [
            {
                s
                for i in wanted
                if self.group_of[i] == k
                for s in self.described[i].sites
            }
            for k in range(len(self.groups))
        ]
        self.given = np.zeros(len(self.groups), dtype=np.int64)

    def pick(self) -> bool:
        """Choose one more; False if there is none."""
        if not self.is_open.any():
            return False
        if self.settings.method == "random":
            where, why = self.is_open, "drawn at random"
        else:
            group, why = self._next_group()
            where = self.is_open & (self.group_of == group)
        index = self._best(np.flatnonzero(where))
        self._take(index, why)
        return True

    def _next_group(self) -> tuple[int, str]:
        """Return the spin state that is to get a frame, and why."""
        is_open = np.array(
            [
                bool(self.is_open[self.group_of == k].any())
                for k in range(len(self.groups))
            ]
        )
        formulas = np.array([formula for formula, _ in self.groups], dtype=object)
        here = {self.described[i].formula for i in self.chosen}
        seen = {site for i in self.chosen for site in self.described[i].sites}
        unseen = [sites - seen for sites in self.sites_of]
        for is_first, why in (
            (~np.isin(formulas, list(here)), "first of its composition"),
            (np.array([bool(sites) for sites in unseen]), "first with a site in {}"),
            (self.given == 0, "first of its spin state"),
        ):
            if (is_open & is_first).any():
                group = self._rarest(is_open & is_first)
                return group, why.format(", ".join(sorted(unseen[group])))
        total = len(self.chosen) + 1
        group = neediest(total * self.weights - self.given, self.available, is_open)
        return group, "share of its spin state"

    def _rarest(self, among: NDArray[np.bool_]) -> int:
        places = np.flatnonzero(among)
        return int(places[np.argmax(self.rarity[places])])

    def _best(self, places: NDArray[np.int64]) -> int:
        """Return the candidate that the method wants most; the first on ties."""
        method = self.settings.method
        if method == "random":
            return int(places[self.lots[places].argmin()])
        distances, doubt = self.distances[places], self.doubt[places]
        if method == "deviation":
            return int(places[doubt.argmax()])
        if not np.isfinite(distances).all():  # nothing is known of the composition
            distances = np.ones(len(places))
            if method == "farthest":
                points = np.stack([self.described[i].point for i in places])
                apart = np.linalg.norm(points - points.mean(axis=0), axis=1)
                return int(places[apart.argmin()])
        score = distances if method == "farthest" else distances * doubt
        return int(places[score.argmax()])

    def _take(self, index: int, why: str) -> None:
        member, described = self.members[index], self.described[index]
        self.rows.append(
            {
                "run": member.run,
                "step": member.step,
                "temperature": member.temperature,
                "formula": described.formula,
                "state": described.state,
                "force_deviation": member.force_deviation,
                "magnetic_deviation": member.magnetic_deviation,
                "distance": float(self.distances[index]),
                "known": self.known[described.group],
                "reason": member.reason,
                "why": why + self.screened.notes.get(index, ""),
            }
        )
        self.chosen.append(index)
        self.is_open[index] = False
        self.given[self.group_of[index]] += 1
        rows, coverage = self.coverage[described.formula]
        coverage.add(int(np.searchsorted(rows, index)))
        self.distances[rows] = coverage.distances
        near = (self.runs == member.run) & (
            np.abs(self.steps - member.step) < self.settings.steps_apart
        )
        self._close(self.is_open & near, NEIGHBOUR)
        is_copy = self.distances < self.settings.least_distance
        self._close(self.is_open & is_copy, COPY)

    def _close(self, where: NDArray[np.bool_], cause: str) -> None:
        self.left_out[cause] += int(where.sum())
        self.is_open &= ~where

    def result(self, catalogue: Catalogue) -> Choice:
        """Return what was chosen."""
        left_out = self.left_out + Counter({FULL: int(self.is_open.sum())})
        shown = {site for i in self.chosen for site in self.described[i].sites}
        all_groups = sorted({d.group for d in self.described})
        taken = Counter(self.described[i].group for i in self.chosen)
        worth = dict(zip(self.groups, self.available.tolist(), strict=True))
        states = pd.DataFrame(
            [
                (*group, self.known[group], worth.get(group, 0), taken[group])
                for group in all_groups
            ],
            columns=["formula", "state", "known", "candidates", "chosen"],
        )
        return Choice(
            candidates=tuple(self.members[i] for i in self.chosen),
            table=pd.DataFrame(self.rows, columns=list(COLUMNS)),
            left_out={k: left_out[k] for k in sorted(left_out) if left_out[k]},
            states=states,
            missing=tuple(
                state.name for state in catalogue.states if state.name not in shown
            ),
        )
