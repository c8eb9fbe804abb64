# SPDX-License-Identifier: LGPL-3.0-or-later
"""The moments that are written as labels: those of DFT, or those of the spin states.

Nominal labels give every metal site the mean moment of its spin state, along the
direction of its own, and all other atoms none. They are what MD can start from without
a DFT calculation of that very structure. Beside DFT moments they are written as
``initial_spin``, from which a model can learn to predict the converged ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from spin_dp.spin_states.catalogue import SpinState
from spin_dp.spin_states.key import unpaired_electrons

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from spin_dp.data_tools.collection.summary import Summary
    from spin_dp.data_tools.frame import Array, Frame
    from spin_dp.data_tools.naming.classify import FrameState

Labels = Literal["dft", "nominal"]


def catalogue_by_level(states: pd.DataFrame) -> dict[tuple[str, str], SpinState]:
    """Return each state at each site level, with its moment.

    Parameters
    ----------
    states
        Table of :meth:`spin_dp.data_tools.naming.classify.SpinStates.table`.

    Returns
    -------
    dict
        By site level and name; the moment is zero where the sites have no sign.
    """
    return {
        (row["site_level"], row["state"]): SpinState(
            row["state"],
            row["mean"] if unpaired_electrons(row["state"]) else 0.0,
            row["lowest"],
            row["highest"],
            int(row["sites"]),
        )
        for row in states.to_dict("records")
    }


def nominal_vectors(
    frame: Frame,
    summary: Summary,
    state: FrameState,
    site_levels: Mapping[str, str],
    states: Mapping[tuple[str, str], SpinState],
) -> Array:
    """Return the nominal moment of each atom.

    Parameters
    ----------
    frame, summary, state
        The frame, its summary and its spin state.
    site_levels
        Site level of each of its metals.
    states
        What :func:`catalogue_by_level` gives.

    Returns
    -------
    ndarray
        Along the DFT moment of each metal site, zero for all other atoms, (nloc, 3),
        μB.
    """
    sites = summary.sites
    lengths = np.linalg.norm(sites.moments, axis=1)
    nominal = np.array(
        [
            states[site_levels[element], label].moment
            for element, label in zip(sites.elements, state.labels, strict=True)
        ]
    )
    scale = np.divide(nominal, lengths, out=np.zeros_like(nominal), where=lengths > 0.0)
    vectors = np.zeros_like(frame.moments)
    vectors[sites.indices] = sites.moments * scale[:, None]
    return vectors


def with_nominal_moments(frame: Frame, vectors: Array) -> Frame:
    """Return the frame with nominal moments.

    Parameters
    ----------
    frame
        The frame.
    vectors
        What :func:`nominal_vectors` gives, (nloc, 3), μB.

    Returns
    -------
    Frame
        Without magnetic forces: those belong to the DFT moments.
    """
    return replace(frame, moments=vectors, magnetic_forces=None)
