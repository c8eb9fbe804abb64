# SPDX-License-Identifier: LGPL-3.0-or-later
"""Data tools: read DFT outputs, name spin states, write deepmd-kit systems."""

from spin_dp.data_tools.collection.collect import CollectReport, collect
from spin_dp.data_tools.collection.decide import Rules
from spin_dp.data_tools.frame import Frame, Rejected
from spin_dp.data_tools.level import Level
from spin_dp.data_tools.readers.ase_files import read_extxyz
from spin_dp.data_tools.readers.registry import find_sources, read_source
from spin_dp.data_tools.readers.source import ReadOptions, Source
from spin_dp.data_tools.readers.vasp.outcar import read_outcar
from spin_dp.data_tools.selection.select import SelectionReport, select_frames
from spin_dp.data_tools.systems.merging import merge_systems
from spin_dp.data_tools.systems.writing import write_system
from spin_dp.spin_states.pattern import moment_pattern

__all__ = [
    "CollectReport",
    "Frame",
    "Level",
    "ReadOptions",
    "Rejected",
    "Rules",
    "SelectionReport",
    "Source",
    "collect",
    "find_sources",
    "merge_systems",
    "moment_pattern",
    "read_extxyz",
    "read_outcar",
    "read_source",
    "select_frames",
    "write_system",
]
