# SPDX-License-Identifier: LGPL-3.0-or-later
"""Naming the spin states of a whole data set.

Moments of each element are clustered over all frames of one site level (what the moment
of that element depends on: program, functional, its U and its pseudopotential). Frames
of one composition and level with the same clusters, signs and total moment are named
together, see :mod:`spin_dp.data_tools.naming.cluster_names`; what the sites of a state
then show on average is expected of it in the next round.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Literal

import numpy as np

from spin_dp.data_tools.naming.cluster_names import (
    AMBIGUOUS_BELOW,
    Expected,
    Naming,
    name_clusters,
    update,
)
from spin_dp.data_tools.naming.cluster_pattern import (
    Assigned,
    FrameMoments,
    Kind,
    assign,
    cluster_elements,
    kinds_of,
    mean_clusters,
)
from spin_dp.data_tools.naming.clusters import COARSE_MUB, find_clusters
from spin_dp.data_tools.naming.runs import OrderingTags
from spin_dp.spin_states.key import (
    frame_key,
    label_rank,
    moment_label,
    unpaired_electrons,
)
from spin_dp.spin_states.nominal import NominalState, has_nominal_states

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd

Certainty = Literal["certain", "ambiguous", "unbalanced", "moments"]
STATE_COLUMNS = (
    *("element", "site_level", "state", "oxidation", "spin", "unpaired", "sites"),
    *("mean", "std", "lowest", "highest"),
)
_ROUNDS = 3
_NEUTRAL_E = 0.5


@dataclass(frozen=True, eq=False)
class FrameState:
    """The spin state of a frame.

    Attributes
    ----------
    key
        The spin-state key, see :mod:`spin_dp.spin_states.key`.
    naming
        ``certain``; ``ambiguous`` if a site could as well be in another state;
        ``unbalanced`` if the oxidation states do not add up to a neutral cell;
        ``moments`` if sites are named by their moments only.
    charge
        Charge of the cell with the nominal oxidation states, e; nan if there are none.
    margin
        Distance of the most doubtful site from the boundary to a cluster of another
        name, μB; inf if there is none.
    labels, signs, clusters, margins
        Label, sign (+1, -1, 0), number of the cluster and margin of each site, (ns,).
    """

    key: str
    naming: Certainty
    charge: float
    margin: float
    labels: tuple[str, ...]
    signs: npt.NDArray[np.int64]
    clusters: npt.NDArray[np.int64]
    margins: npt.NDArray[np.float64]


class SpinStates:
    """The spin states of a data set.

    Parameters
    ----------
    frames
        All frames that shall be named together.
    """

    def __init__(self, frames: Sequence[FrameMoments]) -> None:
        self._clusters = cluster_elements(frames)
        self._assigned = [assign(frame, self._clusters) for frame in frames]
        self._patterns: dict[tuple[object, ...], list[Assigned]] = defaultdict(list)
        for item in self._assigned:
            self._patterns[item.pattern].append(item)
        self._expected: dict[tuple[str, NominalState], Expected] = {}
        for _ in range(_ROUNDS):
            self._names = {
                pattern: self._name(members)
                for pattern, members in self._patterns.items()
            }
            self._expected = self._learn()
        moment_labels = self._moment_labels()
        self._labels = {
            pattern: self._site_labels(members, self._names[pattern], moment_labels)
            for pattern, members in self._patterns.items()
        }
        self._edges = self._edges_between_names()
        self._tags = OrderingTags()

    def frames(self) -> list[FrameState]:
        """Return the spin state of each frame, in order."""
        return [self._state(item) for item in self._assigned]

    def table(self) -> pd.DataFrame:
        """Return the states found, one row for each element, site level and label.

        Returns
        -------
        pandas.DataFrame
            The columns :data:`STATE_COLUMNS`; moments in μB, ``unpaired`` is the
            number nearest to the mean for states named by their moments.
        """
        import pandas as pd

        moments: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        nominal: dict[str, NominalState] = {}
        for item in self._assigned:
            labels = self._labels[item.pattern]
            for kind, length in zip(item.kinds, item.lengths, strict=True):
                label, state = labels[kind]
                site_level = item.frame.site_levels[kind[0]]
                moments[kind[0], site_level, label].append(float(length))
                if state is not None:
                    nominal[label] = state
        rows = []
        for (element, site_level, label), lengths in sorted(
            moments.items(), key=lambda row: (*row[0][:2], label_rank(row[0][2]))
        ):
            state = nominal.get(label)
            rows.append(
                {
                    "element": element,
                    "site_level": site_level,
                    "state": label,
                    "oxidation": state.oxidation if state else "",
                    "spin": state.spin if state else "",
                    "unpaired": state.unpaired if state else round(np.mean(lengths)),
                    "sites": len(lengths),
                    "mean": float(np.mean(lengths)),
                    "std": float(np.std(lengths)),
                    "lowest": min(lengths),
                    "highest": max(lengths),
                }
            )
        return pd.DataFrame(rows, columns=list(STATE_COLUMNS))

    def _name(self, members: Sequence[Assigned]) -> Naming:
        """Name the clusters of frames that show one pattern."""
        first = members[0].frame
        expected = {
            state: value
            for (site_level, state), value in self._expected.items()
            if first.site_levels.get(state.element) == site_level
        }
        totals = [item.frame.sites.total_moment for item in members]
        return name_clusters(
            mean_clusters(members),
            first.sites.ion_charge,
            float(np.mean(totals)),
            expected,
            is_held=first.is_held,
        )

    def _learn(self) -> dict[tuple[str, NominalState], Expected]:
        """Return what the sites with certain names show of each state."""
        moments: dict[tuple[str, NominalState], list[float]] = defaultdict(list)
        for pattern, members in self._patterns.items():
            naming = self._names[pattern]
            if naming.lead < AMBIGUOUS_BELOW:
                continue
            states = dict(zip(kinds_of(members[0]), naming.states, strict=True))
            for item in members:
                for kind, length in zip(item.kinds, item.lengths, strict=True):
                    state = states[kind]
                    if state is not None:
                        site_level = item.frame.site_levels[kind[0]]
                        moments[site_level, state].append(float(length))
        return {
            key: update(key[1], len(found), float(np.mean(found)), float(np.std(found)))
            for key, found in moments.items()
        }

    def _moment_labels(self) -> dict[tuple[str, Kind], str]:
        """Return the labels of sites without a nominal state, by site level and kind.

        They are clustered anew, more coarsely and without the other sites.
        """
        unnamed: dict[tuple[str, str], dict[Kind, list[float]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for pattern, members in self._patterns.items():
            states = dict(
                zip(kinds_of(members[0]), self._names[pattern].states, strict=True)
            )
            for item in members:
                for kind, length in zip(item.kinds, item.lengths, strict=True):
                    if states[kind] is None:
                        level = item.frame.site_levels[kind[0]]
                        unnamed[level, kind[0]][kind].append(float(length))
        labels = {}
        for (level, element), kinds in unnamed.items():
            coarse = find_clusters(np.concatenate(list(kinds.values())), COARSE_MUB)
            for kind, lengths in kinds.items():
                place = coarse.assign(np.array([np.mean(lengths)]))
                labels[level, kind] = moment_label(
                    element, float(coarse.means[place][0])
                )
        return labels

    def _site_labels(
        self,
        members: Sequence[Assigned],
        naming: Naming,
        moment_labels: Mapping[tuple[str, Kind], str],
    ) -> dict[Kind, tuple[str, NominalState | None]]:
        """Return label and nominal state of each kind of site of a pattern."""
        site_levels = members[0].frame.site_levels
        return {
            kind: (
                moment_labels[site_levels[kind[0]], kind]
                if state is None
                else state.name,
                state,
            )
            for kind, state in zip(kinds_of(members[0]), naming.states, strict=True)
        }

    def _edges_between_names(self) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
        """Return the boundaries whose two sides mostly have different names."""
        votes: dict[tuple[str, str, int], dict[str, int]] = defaultdict(
            lambda: defaultdict(int)
        )
        for pattern, members in self._patterns.items():
            levels = members[0].frame.site_levels
            for kind, (label, _) in self._labels[pattern].items():
                count = sum(item.kinds.count(kind) for item in members)
                votes[levels[kind[0]], *kind][label] += count
        names = {key: max(vote, key=vote.__getitem__) for key, vote in votes.items()}
        edges = {}
        for (level, element), clusters in self._clusters.items():
            differ = [
                names.get((level, element, i)) != names.get((level, element, i + 1))
                for i in range(len(clusters.boundaries))
            ]
            edges[level, element] = clusters.boundaries[differ]
        return edges

    def _state(self, item: Assigned) -> FrameState:
        naming = self._names[item.pattern]
        labels = [self._labels[item.pattern][kind][0] for kind in item.kinds]
        signless = frozenset(
            label
            for label, state in self._labels[item.pattern].values()
            if not unpaired_electrons(label)
        )
        signs = np.where([label in signless for label in labels], 0, item.signs)
        tag = self._tags.tag(item.frame, labels, signs)
        key, is_reversed = frame_key(labels, signs, tag)
        margins = self._margins(item)
        return FrameState(
            key=key,
            naming=_certainty(item, naming),
            charge=naming.charge,
            margin=float(margins.min(initial=inf)),
            labels=tuple(labels),
            signs=-signs if is_reversed else signs,
            clusters=item.clusters,
            margins=margins,
        )

    def _margins(self, item: Assigned) -> npt.NDArray[np.float64]:
        margins = np.full(len(item.lengths), inf)
        for i, (element, length) in enumerate(
            zip(item.frame.sites.elements, item.lengths, strict=True)
        ):
            edges = self._edges[item.frame.site_levels[element], element]
            margins[i] = np.abs(edges - length).min(initial=inf)
        return margins


def _certainty(item: Assigned, naming: Naming) -> Certainty:
    nominal = [has_nominal_states(kind[0]) for kind in kinds_of(item)]
    if not any(nominal) or not isfinite(naming.charge):
        return "moments"
    if any(
        known and state is None
        for known, state in zip(nominal, naming.states, strict=True)
    ):
        return "ambiguous"
    return "certain" if abs(naming.charge) < _NEUTRAL_E else "unbalanced"
