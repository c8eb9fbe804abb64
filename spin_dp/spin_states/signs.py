# SPDX-License-Identifier: LGPL-3.0-or-later
"""Signs of moments along the axis of a frame.

The axis is that of the largest moment; a site more than 60 degrees off it has none. The
axis may be reversed, and several sites may share the largest moment, so there are
several choices of signs, of which the users of this module take a canonical one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

_OFF_AXIS_COSINE = 0.5
_TIE_MUB = 1.0e-3
_SMALLEST_MUB = 0.5


def sign_choices(
    vectors: npt.NDArray[np.float64], lengths: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.int64]]:
    """Return the signs for each axis in question and for its reversal.

    Parameters
    ----------
    vectors, lengths
        Moments, (ns, 3), and their lengths, (ns,), μB; at least one.

    Returns
    -------
    list of array
        Choices, (ns,) each, of +1, -1 and 0 (off the axis); one of zeros only where no
        moment reaches 0.5 μB.
    """
    largest = float(lengths.max())
    if largest < _SMALLEST_MUB:
        return [np.zeros(len(lengths), dtype=np.int64)]
    safe = np.where(lengths > 0.0, lengths, 1.0)[:, None]
    unit = vectors / safe
    cosines = unit @ unit[lengths >= largest - _TIE_MUB].T  # (sites, axes)
    signs = np.where(np.abs(cosines) >= _OFF_AXIS_COSINE, np.sign(cosines), 0.0)
    distinct = np.unique(signs.astype(np.int64), axis=1).T
    return [choice for signs in distinct for choice in (signs, -signs)]
