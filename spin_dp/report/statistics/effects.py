# SPDX-License-Identifier: LGPL-3.0-or-later
"""How much of a quantity's variance a label explains.

The share is epsilon squared (T. L. Kelley, Proc. Natl Acad. Sci. 21, 554 (1935)), the
eta squared of the analysis of variance corrected for the number of groups: zero on
average where the label means nothing. Its significance comes from permutations.

Within strata (equal geometries) the label's effect is additive: the quantity less the
mean of its stratum is fitted by one number for each label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

PERMUTATIONS = 499
_MOST_LABELS = 100
_BLOCK = 2_000_000


@dataclass(frozen=True, eq=False)
class Effect:
    """Sums of squares of an analysis of variance.

    Attributes
    ----------
    n
        Number of values.
    total, explained
        Sum of squares within strata, and what the labels explain of it.
    df_total, df_explained
        Their degrees of freedom.
    permuted
        ``explained`` for shuffled values, (:data:`PERMUTATIONS`,).
    """

    n: int
    total: float
    explained: float
    df_total: int
    df_explained: int
    permuted: Floats

    @property
    def share(self) -> float:
        """Epsilon squared, 0 to 1; nan if nothing is left to compare with."""
        df_rest = self.df_total - self.df_explained
        if df_rest < 1 or self.df_explained < 1 or self.total <= 0.0:
            return float("nan")
        rest = (self.total - self.explained) / df_rest
        return float(np.clip(1.0 - rest * self.df_total / self.total, 0.0, 1.0))

    @property
    def p_value(self) -> float:
        """How often shuffled values are explained as well."""
        as_good = self.permuted >= self.explained * (1.0 - 1.0e-9)
        return float((1 + as_good.sum()) / (1 + len(self.permuted)))


def effect(
    values: Floats,
    labels: ArrayLike,
    strata: ArrayLike | None = None,
    *,
    rng: np.random.Generator,
) -> Effect:
    """Return how much of the variance of values their labels explain.

    Parameters
    ----------
    values
        The quantity, (n,).
    labels
        Group of each value, (n,). Beyond a hundred the rarest count as one.
    strata
        Values are compared within one stratum only, (n,); None compares all.
    rng
        For the permutations, which stay within strata.

    Returns
    -------
    Effect
        In the square of the values' unit.
    """
    groups, k = _numbered(_common(labels))
    layers, n_layers = _numbered(np.zeros(len(values)) if strata is None else strata)
    sizes = np.bincount(layers)
    centred = values - (np.bincount(layers, weights=values) / sizes)[layers]
    inverse, rank = _inverse(groups, layers, k, sizes)

    def explained(rows: Floats) -> Floats:
        sums = np.stack([np.bincount(groups, weights=r, minlength=k) for r in rows])
        squares: Floats = np.einsum("pk,kl,pl->p", sums, inverse, sums)
        return squares

    return Effect(
        n=len(values),
        total=float(centred @ centred),
        explained=float(explained(centred[None])[0]),
        df_total=len(values) - n_layers,
        df_explained=rank,
        permuted=np.concatenate(
            [explained(rows) for rows in _shuffled(centred, layers, rng)]
        ),
    )


def pooled(effects: Sequence[Effect]) -> Effect | None:
    """Return the effect within all of several sets of values, None for no set."""
    if not effects:
        return None
    return Effect(
        n=sum(e.n for e in effects),
        total=sum(e.total for e in effects),
        explained=sum(e.explained for e in effects),
        df_total=sum(e.df_total for e in effects),
        df_explained=sum(e.df_explained for e in effects),
        permuted=np.sum([e.permuted for e in effects], axis=0),
    )


def _common(labels: ArrayLike) -> ArrayLike:
    """Return the labels, the rarest as one where there are more than a hundred."""
    words = pd.Series(np.asarray(labels)).astype(str)
    names = words.value_counts().index
    if len(names) <= _MOST_LABELS:
        return words
    return words.where(words.isin(names[: _MOST_LABELS - 1]), "others")


def _numbered(labels: ArrayLike) -> tuple[Integers, int]:
    codes, names = pd.factorize(np.asarray(labels))
    return codes.astype(np.int64), len(names)


def _inverse(
    groups: Integers, layers: Integers, k: int, sizes: Integers
) -> tuple[Floats, int]:
    """Return the pseudo-inverse and rank of the labels' normal equations."""
    counts = np.zeros((len(sizes), k))
    np.add.at(counts, (layers, groups), 1.0)
    normal = np.diag(counts.sum(axis=0)) - (counts / sizes[:, None]).T @ counts
    values, vectors = np.linalg.eigh(normal)
    used = values > 1.0e-9 * max(float(values.max()), 1.0)
    inverse: Floats = (vectors[:, used] / values[used]) @ vectors[:, used].T
    return inverse, int(used.sum())


def _shuffled(
    centred: Floats, layers: Integers, rng: np.random.Generator
) -> Iterator[Floats]:
    """Give blocks of rows, in each the values shuffled within their strata."""
    size = max(1, _BLOCK // len(centred))
    order = np.argsort(layers, kind="stable")
    for first in range(0, PERMUTATIONS, size):
        count = min(size, PERMUTATIONS - first)
        # Random numbers added to the stratum sort values at random within it.
        keys = rng.random((count, len(centred))) + layers
        rows = np.empty((count, len(centred)))
        rows[:, order] = centred[np.argsort(keys, axis=1)]
        yield rows
