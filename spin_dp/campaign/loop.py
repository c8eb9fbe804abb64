# SPDX-License-Identifier: LGPL-3.0-or-later
"""Active learning: generation after generation, until there is a reason to stop."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from spin_dp.campaign.generation import Generation, Waiting, publish, take_in
from spin_dp.campaign.pages import write_overview, write_page
from spin_dp.campaign.record import CampaignFolder
from spin_dp.campaign.settings import read_campaign
from spin_dp.data_tools.collection.output_folder import MANIFEST
from spin_dp.dft import open_engine
from spin_dp.stages import Reporter, Stage, run_stages
from spin_dp.training.data import look_through

if TYPE_CHECKING:
    import os

    from spin_dp.campaign.settings import CampaignSettings
    from spin_dp.dft import Engine


class End(StrEnum):
    """Why a campaign stands still."""

    GENERATIONS = "all generations are done"
    RUNS = "the DFT runs of the budget are spent"
    HOURS = "the hours of the budget are spent"
    KNOWN = "the models agree wherever they went"
    NOTHING = "no frame was worth a DFT run"
    WAITING = "DFT runs wait for their results"


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """How a campaign stands.

    Attributes
    ----------
    end
        Why it stands still.
    note
        The same in a sentence, and what can be done.
    folder
        Where everything is.
    page
        Overview of the generations.
    models
        The models of the last training, ``model-0.pth`` and so on.
    generations
        Generations begun.
    dft_runs
        DFT runs that were made.
    hours
        Wall time of all sessions.
    """

    end: End
    note: str
    folder: Path
    page: Path
    models: tuple[Path, ...]
    generations: int
    dft_runs: int
    hours: float


def learn(
    campaign: str | os.PathLike[str],
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Learnt:
    """Run a campaign, or go on with it, until its budget or its aim is reached.

    Everything is kept in the campaign's folder: whatever ends the process, the same
    call goes on, and nothing is calculated twice.

    Parameters
    ----------
    campaign
        The campaign file, see docs/learning.md.
    scheduler, workers
        Instead of those in the file.
    reporter
        Told how it goes on.

    Returns
    -------
    Learnt
        Why it stands still, and what there is.

    Raises
    ------
    DataError
        If a file cannot be read.
    ConfigError
        If the campaign file, the data, the models or the DFT engine do not go together,
        or the folder is not this campaign's.
    BackendError
        If dp, LAMMPS or the engine fails.
    """
    path = Path(campaign)
    settings = read_campaign(path).working(scheduler, workers)
    engine = open_engine(settings.dft, path.resolve().parent)
    folder = CampaignFolder(
        path.resolve().parent / (settings.folder or path.with_suffix("").name)
    )
    with folder.opened(path):
        return _Campaign(folder, settings, engine, reporter or Reporter()).run()


class _Campaign:
    """The loop. What happens next is decided from files alone."""

    def __init__(
        self,
        folder: CampaignFolder,
        settings: CampaignSettings,
        engine: Engine,
        reporter: Reporter,
    ) -> None:
        self.folder, self.settings, self.engine = folder, settings, engine
        self.reporter = reporter

    def run(self) -> Learnt:
        self._begin()
        number = max(0, len(self.folder.generations()) - 1)
        while True:
            end = self._generation(number)
            if end is not None:
                return self._result(end)
            number += 1

    def _begin(self) -> None:
        """Collect the frames at hand; refuse what does not go together."""
        start = self.settings.start
        stage = Stage(
            name="start",
            title="Collect the frames at hand",
            run=lambda reporter: take_in(self.folder, self.settings, reporter),
            products=[self.folder.data / MANIFEST],
            settings=start.model_dump(),
        )
        run_stages(self.folder.folder, [stage], self.reporter)
        usable = look_through(self.folder.data)
        levels = [system.system.note.level for system in usable.systems]
        self.engine.check_level(levels, usable.type_map)
        if self.engine.runs and self.settings.work.scheduler is None:
            self.engine.check()  # now, not after hours of training

    def _generation(self, number: int) -> End | None:
        """Bring a generation as far as it goes; return why the campaign ends there."""
        place = self.folder.generation(number)
        settings = place.fixed_settings(self.settings)
        one = Generation(place, self.folder, settings, self.engine)
        self._do(one, one.learning())
        publish(one.models, self.folder.models)
        end = self._spent(number)
        if end is not None:
            return end
        self._do(one, one.exploring(), told=len(one.learning()))
        if one.doubtful_share() <= self.settings.budget.doubtful:
            return End.KNOWN
        try:
            stages = one.labelling(self._runs_left())
            self._do(one, stages, told=len(one.exploring()))
        except Waiting:
            return End.WAITING
        return End.NOTHING if one.place.outcomes().empty else None

    def _do(self, one: Generation, stages: list[Stage], told: int = 0) -> None:
        """Run stages, and write the pages whatever comes of it."""
        try:
            run_stages(one.place.folder, stages, self.reporter, told=told)
        finally:
            write_page(one.place, self.folder)
            write_overview(self.folder)

    def _spent(self, number: int) -> End | None:
        """Return the limit that is reached before a generation explores."""
        budget = self.settings.budget
        if number >= budget.generations:
            return End.GENERATIONS
        if self._runs_left() == 0 and not self.folder.generation(number).has_chosen:
            return End.RUNS
        if budget.hours is not None and self.folder.seconds() > 3600.0 * budget.hours:
            return End.HOURS
        return None

    def _runs_left(self) -> int | None:
        """Return the DFT runs that are left; None if any number may be made."""
        most = self.settings.budget.dft_runs
        if most is None:
            return None
        return max(0, most - self.folder.n_dft_runs())

    def _result(self, end: End) -> Learnt:
        folder = self.folder
        models = tuple(sorted(folder.models.glob("model-*.pth")))
        return Learnt(
            end=end,
            note=_note(end, folder),
            folder=folder.folder,
            page=folder.page,
            models=models,
            generations=len(folder.generations()),
            dft_runs=folder.n_dft_runs(),
            hours=folder.seconds() / 3600.0,
        )


def _note(end: End, folder: CampaignFolder) -> str:
    """Return the end in a sentence with what can be done."""
    more = f"{end}; raise it in [budget] and give the same command to go on"
    last = folder.generations()[-1]
    return {
        End.GENERATIONS: more,
        End.RUNS: more,
        End.HOURS: more,
        End.KNOWN: f"{end}: go hotter, longer or elsewhere, or take the models as they "
        "are",
        End.NOTHING: f"{end}: {last.table('left_out')} counts why",
        End.WAITING: f"{end} in {last.dft}; give the same command when there are more",
    }[end]
