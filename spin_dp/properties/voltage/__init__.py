# SPDX-License-Identifier: LGPL-3.0-or-later
"""Voltages and phase stability while an ion leaves."""

from spin_dp.properties.voltage.delithiation import VoltageSettings, voltage
from spin_dp.properties.voltage.metals import (
    metal_energy,
    metal_energy_by,
    metal_records,
)
from spin_dp.properties.voltage.profile import Phase, Voltage, voltage_profile
from spin_dp.properties.voltage.stability import compare_crystals

__all__ = [
    "Phase",
    "Voltage",
    "VoltageSettings",
    "compare_crystals",
    "metal_energy",
    "metal_energy_by",
    "metal_records",
    "voltage",
    "voltage_profile",
]
