# SPDX-License-Identifier: LGPL-3.0-or-later
"""The size of the benchmark: systems, MD, rounds, students."""

from __future__ import annotations

from dataclasses import dataclass, field

from spin_dp.campaign.choice_settings import ChoiceSettings
from spin_dp.training.dp_input import TrainingSettings

STRATEGIES = ("random", "both", "deviation", "farthest")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of the benchmark.

    Attributes
    ----------
    systems
        Files of ``examples/gpaw`` whose frames MD starts from.
    states
        Most spin states of a system.
    pool_temperatures, test_temperature
        Of the MD runs, K.
    steps, timestep, every
        Length of a run, its time step in fs, steps between frames of the pool.
    rattled, amplitude
        Rattled frames of each spin state in the pool, standard deviation in Å.
    begin, add, rounds
        Labels at the start, added each round, number of rounds.
    models
        Students of an ensemble.
    teacher, student
        Settings of the trainings.
    choice
        Limits of the choice; the method is that of the strategy.
    """

    systems: tuple[str, ...] = (
        *("LiNiO2_8", "Li05NiO2", "LiMnO2_8", "Li05MnO2", "LiCoO2_8", "Li05CoO2"),
    )
    states: int = 3
    pool_temperatures: tuple[float, ...] = (300.0, 600.0, 1000.0)
    test_temperature: float = 1000.0
    steps: int = 500
    timestep: float = 2.0
    every: int = 20
    rattled: int = 10
    amplitude: float = 0.05
    begin: int = 40
    add: int = 30
    rounds: int = 3
    models: int = 2
    teacher: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(steps=1500)
    )
    student: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            steps=2000,
            batch_size="auto:32",
            neuron=(6, 12, 24),
            axis_neuron=6,
            fitting_neuron=(32, 32),
            warmup=200,
            checkpoints=1,
        )
    )
    choice: ChoiceSettings = field(
        default_factory=lambda: ChoiceSettings(
            force_band=(0.05, 3.0), magnetic_band=(0.05, 1.0), steps_apart=20
        )
    )
