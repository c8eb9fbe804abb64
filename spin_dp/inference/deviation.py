# SPDX-License-Identifier: LGPL-3.0-or-later
"""How far models are apart: spread of numbers, deviation of vectors on atoms.

Two conventions, each where readers expect it. A *spread* is a standard deviation with
Bessel's correction (n - 1 in the denominator): models of other seeds are a sample of
all that could have been trained, and with four of them dividing by n would be 13 % too
small. A *deviation* is that of DP-GEN and of deepmd-kit in LAMMPS (n in the
denominator), so that numbers are those of ``pair_style deepspin`` and limits from the
literature hold: Y. Zhang et al., Comput. Phys. Commun. 253, 107206 (2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def spread(values: Floats) -> Floats:
    """Return the standard deviation over models, with n - 1 in the denominator.

    Parameters
    ----------
    values
        One row for each model, (n_models, ...), at least two.

    Returns
    -------
    ndarray
        (...), in the unit of the values.
    """
    found: Floats = np.std(values, axis=0, ddof=1)
    return found


def vector_spread(vectors: Floats) -> Floats:
    """Return the root mean squared distance from the mean, n - 1 in the denominator.

    Parameters
    ----------
    vectors
        Of each model, (n_models, ..., 3), at least two.

    Returns
    -------
    ndarray
        (...), in the unit of the vectors.
    """
    n = len(vectors)
    return np.asarray(np.sqrt(n / (n - 1)) * deviation(vectors))


def deviation(vectors: Floats) -> Floats:
    """Return the root mean squared distance from the mean over models, as DP-GEN.

    Parameters
    ----------
    vectors
        Of each model, (n_models, ..., 3).

    Returns
    -------
    ndarray
        (...), in the unit of the vectors.
    """
    return np.asarray(np.sqrt(np.var(vectors, axis=0).sum(axis=-1)))
