# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pattern of a frame: which clusters its moments lie in, up and down.

Frames of one composition and level of theory that show one pattern are named together.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from spin_dp.data_tools.naming.cluster_names import ClusterOfFrame
from spin_dp.data_tools.naming.clusters import FINE_MUB, Clusters, find_clusters
from spin_dp.spin_states.signs import sign_choices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from spin_dp.data_tools.naming.sites import Sites

Kind: TypeAlias = tuple[str, int]
"""Element and number of the cluster of a site."""
_TETRAHEDRAL = 4


@dataclass(frozen=True, eq=False)
class FrameMoments:
    """What is known of a frame before its spin state is named.

    Attributes
    ----------
    group
        Composition and level of theory; frames of different groups share no naming.
    site_levels
        Site level of each of its metals.
    sites
        Its metal sites.
    is_held
        Whether moments were held in the calculation.
    run
        Name of the run; frames of one run whose sites stay where they are in the cell
        show one lattice, however it is strained.
    """

    group: tuple[str, str]
    site_levels: Mapping[str, str]
    sites: Sites
    is_held: bool = False
    run: str = ""


@dataclass(frozen=True, eq=False)
class Assigned:
    """A frame with its clusters and signs, and the pattern that it shows.

    Attributes
    ----------
    frame
        The frame.
    lengths, signs, clusters, kinds
        Length of the moment, μB, sign along the axis (+1, -1, 0), number of the
        cluster and kind (element and cluster) of each site, (ns,).
    counts
        Each kind with the number of its sites and of those up less those down.
    pattern
        What frames have in common that are named together.
    """

    frame: FrameMoments
    lengths: npt.NDArray[np.float64]
    signs: npt.NDArray[np.int64]
    clusters: npt.NDArray[np.int64]
    kinds: tuple[Kind, ...]
    counts: tuple[tuple[Kind, int, int], ...]
    pattern: tuple[object, ...]


def cluster_elements(
    frames: Sequence[FrameMoments],
) -> dict[tuple[str, str], Clusters]:
    """Cluster the moments of each element at each site level."""
    lengths: dict[tuple[str, str], list[npt.NDArray[np.float64]]] = defaultdict(list)
    for frame in frames:
        found = np.linalg.norm(frame.sites.moments, axis=1)
        elements = np.array(frame.sites.elements)
        for element in set(frame.sites.elements):
            key = frame.site_levels[element], element
            lengths[key].append(found[elements == element])
    return {
        key: find_clusters(np.concatenate(parts), FINE_MUB)
        for key, parts in lengths.items()
    }


def assign(
    frame: FrameMoments, clusters_of: Mapping[tuple[str, str], Clusters]
) -> Assigned:
    """Find the clusters, signs and pattern of a frame."""
    sites = frame.sites
    lengths = np.linalg.norm(sites.moments, axis=1)
    clusters = np.zeros(len(lengths), dtype=np.int64)
    for element in set(sites.elements):
        own = [i for i, other in enumerate(sites.elements) if other == element]
        found = clusters_of[frame.site_levels[element], element]
        clusters[own] = found.assign(lengths[own])
    kinds = tuple(
        (element, int(cluster))
        for element, cluster in zip(sites.elements, clusters, strict=True)
    )
    signs, counts = max(
        ((signs, _counts(kinds, signs)) for signs in _choices(sites, lengths)),
        key=lambda choice: choice[1],
    )
    whole = sites.total_moment
    pattern = (
        frame.group,
        counts,
        round(whole) if isfinite(whole) else None,
        frame.is_held,
        round(sites.ion_charge) if isfinite(sites.ion_charge) else None,
    )
    return Assigned(frame, lengths, signs, clusters, kinds, counts, pattern)


def _choices(
    sites: Sites, lengths: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.int64]]:
    if not len(lengths):
        return [np.zeros(0, dtype=np.int64)]
    return sign_choices(sites.moments, lengths)


def _counts(
    kinds: Sequence[Kind], signs: npt.NDArray[np.int64]
) -> tuple[tuple[Kind, int, int], ...]:
    """Return each kind with the number of its sites and of those up less down."""
    numbers: dict[Kind, list[int]] = defaultdict(lambda: [0, 0])
    for kind, sign in zip(kinds, signs, strict=True):
        numbers[kind][0] += 1
        numbers[kind][1] += int(sign)
    return tuple(sorted((kind, n, up) for kind, (n, up) in numbers.items()))


def kinds_of(item: Assigned) -> list[Kind]:
    """Return the different kinds of the sites of a frame."""
    return [kind for kind, _, _ in item.counts]


def mean_clusters(members: Sequence[Assigned]) -> list[ClusterOfFrame]:
    """Return the clusters that frames of one pattern show on average."""
    lengths: dict[Kind, list[float]] = defaultdict(list)
    tetrahedral: dict[Kind, list[bool]] = defaultdict(list)
    for item in members:
        fours = item.frame.sites.coordination == _TETRAHEDRAL
        for kind, length, four in zip(item.kinds, item.lengths, fours, strict=True):
            lengths[kind].append(float(length))
            tetrahedral[kind].append(bool(four))
    return [
        ClusterOfFrame(
            element=kind[0],
            tetrahedral=float(np.mean(tetrahedral[kind])) > 0.5,
            moment=float(np.mean(lengths[kind])),
            count=count,
            signed=signed,
        )
        for kind, count, signed in members[0].counts
    ]
