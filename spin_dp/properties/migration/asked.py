# SPDX-License-Identifier: LGPL-3.0-or-later
"""Barriers and networks of a structure, by settings, as ``spin-dp run`` asks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.properties.migration.barrier import migration_barrier
from spin_dp.properties.migration.ends import given_ends, hop_ends
from spin_dp.properties.migration.hops import HopNetwork, find_hops
from spin_dp.properties.migration.network import MigrationNetwork, migration_network
from spin_dp.properties.migration.settings import (
    BarrierSettings,
    HopSettings,
    NetworkSettings,
)
from spin_dp.properties.relaxation import RelaxationSettings, relaxed
from spin_dp.structures import NO_STATE, SPIN_STATES, read_structure

if TYPE_CHECKING:
    from spin_dp.properties.migration.result import Barrier
    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

log = logging.getLogger(__name__)


def barrier(
    subject: Subject,
    settings: BarrierSettings | None = None,
    progress: Progress | None = None,
) -> Barrier:
    """Return the barrier of a hop of a crystal, or between two given structures.

    Parameters
    ----------
    subject
        The crystal; or the structure before the hop, where the settings name that after
        it, which carries its own labels or else gets those of the subject.
    settings
        None: the shortest hop, with one site emptied where all are full.
    progress
        Called as ``progress(what, done, total)``.

    Raises
    ------
    ConfigError
        If there is no such hop.
    DataError, BackendError
        As :func:`migration_barrier`.
    """
    chosen = settings or BarrierSettings()
    if chosen.final:
        after = read_structure(Path(chosen.final))
        if after.has(SPIN_STATES) or len(after) != len(subject.atoms):
            final = subject.relabelled(after)
        else:
            labelled = subject.atoms.copy()
            labelled.set_cell(after.cell)
            labelled.positions = after.positions
            final = subject.carrying(labelled)
        ends = given_ends(subject, final)
    else:
        crystal = _at_rest(subject, chosen)
        network = hops_of(crystal, chosen)
        for number, hop in enumerate(network.hops):
            log.info(
                "hop %d%s: %s, %.2f Å, %d in the cell",
                *(number, " (this one)" * (number == chosen.hop)),
                *(hop.way, hop.distance, hop.copies),
            )
        ends = hop_ends(
            crystal,
            network,
            chosen.hop,
            electron=chosen.electron,  # type: ignore[arg-type]  # it is checked
            holes=chosen.hole_states,
            width=chosen.width,
        )
    found = migration_barrier(
        ends,
        chosen.band(subject.label_mode),
        electron=chosen.electron,
        progress=progress,
    )
    subject.energies.warn_outside(found.images[found.top])
    return found


def network(
    subject: Subject,
    settings: NetworkSettings | None = None,
    progress: Progress | None = None,
) -> MigrationNetwork:
    """Return the network of all hops of a crystal.

    Parameters
    ----------
    subject, settings, progress
        As for :func:`barrier`.

    Raises
    ------
    ConfigError, DataError, BackendError
        As :func:`migration_network`.
    """
    chosen = settings or NetworkSettings()
    crystal = _at_rest(subject, chosen)
    return migration_network(crystal, hops_of(crystal, chosen), chosen, progress)


def hops_of(subject: Subject, settings: HopSettings | None = None) -> HopNetwork:
    """Return the hops of a labelled crystal that neither symmetry nor spins make equal.

    Parameters
    ----------
    subject, settings
        As for :func:`barrier`.

    Raises
    ------
    ConfigError, DataError
        As :func:`find_hops`.
    """
    chosen = settings or HopSettings()
    names = [
        "" if name == NO_STATE else str(name)
        for name in subject.atoms.arrays[SPIN_STATES]
    ]
    moments = subject.atoms.get_initial_magnetic_moments()
    collinear = moments if moments.ndim == 1 else moments[:, 2]
    signs = [
        int(np.sign(moment)) if name else 0
        for name, moment in zip(names, collinear, strict=True)
    ]
    return find_hops(
        subject.atoms,
        ion=chosen.ion,
        vacancies=None if chosen.vacancies == "auto" else chosen.vacancies,  # type: ignore[arg-type]
        reach=chosen.reach,
        kinds=[name.removeprefix("-") for name in names],
        signs=signs,
    )


def _at_rest(subject: Subject, settings: HopSettings) -> Subject:
    if settings.relax == "no":
        return subject
    return relaxed(subject, RelaxationSettings(what=settings.relax, max_force=0.01))
