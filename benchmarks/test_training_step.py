# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time and memory of a training step by model."""

import pytest

from benchmarks.training_step import make_step, peak_memory, sections

LARGER = (2, 2, 1)
"""Repetitions of the cells for memory, 160 atoms a batch."""


@pytest.mark.parametrize("name", list(sections()))
@pytest.mark.benchmark(group="training step, 40 atoms, 1 thread")
def test_training_step(benchmark, name):
    benchmark.pedantic(make_step(name), rounds=15, warmup_rounds=3)


@pytest.mark.parametrize("name", list(sections()))
@pytest.mark.benchmark(group="memory of a training step, 160 atoms")
def test_training_memory(benchmark, name):
    """The peak is in ``extra_info``; the time is that of the whole process."""
    peak = benchmark.pedantic(peak_memory, args=(name, LARGER), rounds=1)
    benchmark.extra_info["peak_mb"] = round(peak)
