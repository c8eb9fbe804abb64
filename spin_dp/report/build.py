# SPDX-License-Identifier: LGPL-3.0-or-later
"""The report of a collected data set: tables, verdicts and one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.data_tools.collection.manifest import key_table
from spin_dp.data_tools.collection.output_folder import REPORT
from spin_dp.errors import ConfigError
from spin_dp.files import write_text
from spin_dp.report import summary
from spin_dp.report.dataset import read_dataset
from spin_dp.report.page import render_page
from spin_dp.report.predictions import model_residuals
from spin_dp.report.statistics.counts import coverage_table, quarantine_table
from spin_dp.report.statistics.diagnosis import diagnose
from spin_dp.report.statistics.gaps import blind_floor, gap_table, state_gaps
from spin_dp.report.statistics.residuals import composition_residuals
from spin_dp.report.verdicts import summarise

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import pandas as pd

    from spin_dp.report.statistics.diagnosis import Diagnosis


@dataclass(frozen=True, eq=False)
class Report:
    """What a report says.

    Attributes
    ----------
    path
        The page.
    summary
        Names and values of what the data set holds.
    warnings
        What to know before training, one sentence each.
    verdicts
        What the residuals of each prediction say of bands, one text each; first the
        error that a model without moments cannot avoid, if there is one.
    keys
        Frames of each formula, level and spin-state key, see
        :func:`spin_dp.data_tools.collection.manifest.key_table`.
    gaps
        Energies above the lowest state of the same geometry, see
        :func:`spin_dp.report.statistics.gaps.gap_table`.
    coverage, quarantine
        See :func:`spin_dp.report.statistics.counts.coverage_table` and
        :func:`spin_dp.report.statistics.counts.quarantine_table`.
    diagnoses
        Of the composition fit and of each model.
    """

    path: Path
    summary: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    verdicts: tuple[str, ...]
    keys: pd.DataFrame
    gaps: pd.DataFrame
    coverage: pd.DataFrame
    quarantine: pd.DataFrame
    diagnoses: tuple[Diagnosis, ...]


def write_report(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    models: Sequence[str | os.PathLike[str]] = (),
    *,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Write one page on a data set: its states, gaps, coverage and band diagnosis.

    Parameters
    ----------
    data
        Folder that ``spin-dp collect`` wrote.
    out
        The page; ``report.html`` in that folder if None.
    models
        Models that ``deepmd.infer.DeepPot`` reads, with or without spin.
    seed
        Seed of the permutation tests.
    progress
        Called with what is done, a number and the count.

    Returns
    -------
    Report
        Tables and verdicts of the page.

    Raises
    ------
    DataError
        If the data set is absent or incomplete, or a model cannot be used with it.
    ConfigError
        If the page cannot be written where it shall be.
    """
    folder = Path(data)
    path = folder / REPORT if out is None else Path(out)
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; give a file with --output")
    if out is not None and not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: its folder does not exist; make it first")
    dataset = read_dataset(folder, progress)
    residuals = [composition_residuals(dataset.frames)]
    residuals += [model_residuals(dataset, Path(model), progress) for model in models]
    rng = np.random.default_rng(seed)
    diagnoses = tuple(diagnose(dataset.frames, each, rng) for each in residuals)
    gaps = state_gaps(dataset.frames)
    verdicts = [summarise(diagnosis) for diagnosis in diagnoses]
    floor = blind_floor(dataset.frames)
    if len(gaps):
        verdicts.insert(
            0,
            f"No model without moments can have an energy RMSE below {floor:.0f} "
            "meV/atom on these frames: equal geometries have different energies.",
        )
    report = Report(
        path=path,
        summary=tuple(summary.summary_rows(dataset, gaps)),
        warnings=tuple(summary.warnings(dataset, gaps)),
        verdicts=tuple(verdicts),
        keys=key_table(dataset.frames),
        gaps=gap_table(gaps),
        coverage=coverage_table(dataset.frames),
        quarantine=quarantine_table(dataset.manifest),
        diagnoses=diagnoses,
    )
    write_text(path, render_page(report, dataset, gaps))
    return report
