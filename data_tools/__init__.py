# SPDX-License-Identifier: LGPL-3.0-or-later
"""Data tools: read DFT outputs, name spin states, write deepmd-kit systems."""

from spin_dp.data_tools.batches import merge_systems
from spin_dp.data_tools.collect import CollectReport, collect
from spin_dp.data_tools.extxyz import read_extxyz
from spin_dp.data_tools.frame import Frame, Rejected
from spin_dp.data_tools.level import Level
from spin_dp.data_tools.outcar import read_outcar
from spin_dp.data_tools.sources import find_files, read_file
from spin_dp.data_tools.spin_key import SpinKey, spin_key
from spin_dp.data_tools.systems import write_system

__all__ = [
    "CollectReport",
    "Frame",
    "Level",
    "Rejected",
    "SpinKey",
    "collect",
    "find_files",
    "merge_systems",
    "read_extxyz",
    "read_file",
    "read_outcar",
    "spin_key",
    "write_system",
]
