# SPDX-License-Identifier: LGPL-3.0-or-later
"""Hops of lithium between sites: which there are, barriers, rates, networks.

>>> subject = Subject.of_model(crystal, SpinDP("lixmo2"), "Co=3+LS")  # doctest: +SKIP
>>> barrier(subject).table()  # doctest: +SKIP
"""

from spin_dp.properties.migration.asked import barrier, hops_of, network
from spin_dp.properties.migration.band import BandSettings
from spin_dp.properties.migration.barrier import migration_barrier
from spin_dp.properties.migration.descriptors import Surroundings, surroundings
from spin_dp.properties.migration.ends import HopEnds, given_ends, hop_ends
from spin_dp.properties.migration.hops import Hop, HopNetwork, find_hops
from spin_dp.properties.migration.modes import Modes, modes_of
from spin_dp.properties.migration.network import MigrationNetwork, migration_network
from spin_dp.properties.migration.rates import attempt_frequency, hop_rate
from spin_dp.properties.migration.result import Barrier
from spin_dp.properties.migration.settings import (
    BarrierSettings,
    HopSettings,
    NetworkSettings,
)
from spin_dp.properties.migration.surface import Surface

__all__ = [
    "BandSettings",
    "Barrier",
    "BarrierSettings",
    "Hop",
    "HopEnds",
    "HopNetwork",
    "HopSettings",
    "MigrationNetwork",
    "Modes",
    "NetworkSettings",
    "Surface",
    "Surroundings",
    "attempt_frequency",
    "barrier",
    "find_hops",
    "given_ends",
    "hop_ends",
    "hop_rate",
    "hops_of",
    "migration_barrier",
    "migration_network",
    "modes_of",
    "network",
    "surroundings",
]
