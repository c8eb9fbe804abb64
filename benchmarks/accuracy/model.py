# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the benchmark has to know of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.forms import COMPRESSED, FROZEN

if TYPE_CHECKING:
    from spin_dp.training.dp_input import TrainingSettings

SPIN_ELEMENTS = ("Mn", "Co", "Ni", "O")

STOCK_SIZES = {
    "neuron": (25, 50, 100),
    "axis_neuron": 16,
    "fitting_neuron": (240, 240, 240),
}
"""Widths in deepmd-kit's examples of ``se_e2_a``; those of spin-dp are smaller."""

Section = Callable[[Sequence[str], "TrainingSettings"], dict[str, Any]]
"""Makes section ``model`` of dp's input from type map and settings."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model of the benchmark.

    Attributes
    ----------
    name, title
        Name in files and on the command line, and what people read.
    moments
        Whether it reads the moments.
    states
        Whether each spin state of an element is a type of its own.
    fill
        Whether it trains on systems filled up across sizes of cells.
    section
        Section ``model`` of the input; None for what
        :func:`spin_dp.training.write_input` writes: the spin-aware model, or the
        attention-free DPA-1 for a model that reads no moments.
    spin_elements
        Elements whose moments it reads, if any.
    settings
        Fields of :class:`spin_dp.training.dp_input.TrainingSettings` other than the
        defaults.
    overrides
        Merged into the finished input, section by section.
    backend
        Flag of dp.
    files
        Model files that LAMMPS is timed with, of :mod:`benchmarks.forms`.
    weights, optimizer, start_lr
        Loss prefactors, optimizer and start learning rate where it is not tuned.
    """

    name: str
    title: str
    moments: bool = False
    states: bool = False
    fill: bool = False
    section: Section | None = None
    spin_elements: Sequence[str] = SPIN_ELEMENTS
    settings: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    backend: Literal["--pt", "--pt-expt"] = "--pt"
    files: Sequence[str] = (FROZEN, COMPRESSED)
    weights: str = "documented"
    optimizer: str = "Adam"
    start_lr: float = 1e-3
