# SPDX-License-Identifier: LGPL-3.0-or-later
"""One generation: train, test, explore, choose, label, learn.

Files are all that passes between the stages, so each can be gone on with by another
process on another day.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp import evaluation
from spin_dp.campaign.choice import choose
from spin_dp.campaign.ensemble import fast_forms, train_ensemble
from spin_dp.campaign.exploring import deviation_table, explore_all, run_table
from spin_dp.campaign.known import known_frames
from spin_dp.campaign.pages import AFTER, BEFORE, doubtful_share
from spin_dp.campaign.plan import plan_runs
from spin_dp.campaign.record import OUTCOMES, write_table
from spin_dp.campaign.requests import (
    OUTCOME_COLUMNS,
    as_requests,
    outcome_row,
    read_requests,
    write_requests,
)
from spin_dp.campaign.starts import StartSettings, find_starts
from spin_dp.data_tools import Rules, collect
from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.data_tools.collection.output_folder import LEVELS
from spin_dp.data_tools.systems.system import TRAINING, VALIDATION
from spin_dp.dft import Status, run_requests
from spin_dp.errors import ConfigError
from spin_dp.evaluation import MEV_PER_EV, read_system
from spin_dp.files import replacing
from spin_dp.inference.predictor import SpinDP
from spin_dp.pretrained import resolve_all
from spin_dp.stages import Stage
from spin_dp.training.data import look_through
from spin_dp.training.output import error_note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spin_dp.campaign.exploring import Explored
    from spin_dp.campaign.record import CampaignFolder, GenerationFolder
    from spin_dp.campaign.settings import CampaignSettings
    from spin_dp.dft import Engine, Progress
    from spin_dp.stages import Reporter

LEARNT_COLUMNS = (
    *("formula", "key", "request", "force_deviation"),
    *("energy_error", "force_error", "moment_error"),
)


class Waiting(Exception):
    """DFT runs wait for results that somebody else makes."""


@dataclass(frozen=True)
class Generation:
    """What one generation does.

    Attributes
    ----------
    place
        Its folder.
    campaign
        Folder of the campaign.
    settings
        Those that it was begun with.
    engine
        What labels frames.
    """

    place: GenerationFolder
    campaign: CampaignFolder
    settings: CampaignSettings
    engine: Engine

    @property
    def models(self) -> list[Path]:
        """Frozen models, present once trained."""
        count = range(self.settings.training.models)
        return [self.place.training / f"model-{k}" / "model.pth" for k in count]

    @property
    def earlier(self) -> Generation | None:
        """The generation before."""
        number = self.place.number
        if not number:
            return None
        place = self.campaign.generation(number - 1)
        settings = place.fixed_settings(self.settings)
        return Generation(place, self.campaign, settings, self.engine)

    def doubtful_share(self) -> float:
        """Return the share of explored frames that the models disagree about."""
        return doubtful_share(self.place.read("runs"))

    def learning(self) -> list[Stage]:
        """Return the stages that make the models of all frames so far."""
        return [
            Stage(
                name="train",
                title=f"Train {self.settings.training.models} models",
                run=self.train,
                products=self.models,
            ),
            Stage(
                name="test",
                title="Test them on held-out geometries",
                run=self.test,
                products=[self.place.table("errors")],
            ),
        ]

    def exploring(self) -> list[Stage]:
        """Return the stages after :meth:`learning` that find where models fail."""
        explore = Stage(
            name="explore",
            title="Explore by labelled MD",
            run=self.explore,
            products=[self.place.table("runs"), self.place.table("deviations")],
        )
        return [*self.learning(), explore]

    def labelling(self, budget: int | None) -> list[Stage]:
        """Return the stages after :meth:`exploring` that put DFT to what was found.

        Parameters
        ----------
        budget
            DFT runs that are left; None for any number.
        """
        return [
            *self.exploring(),
            Stage(
                name="choose",
                title="Choose frames for DFT",
                run=lambda reporter: self.choose(reporter, budget),
                products=[self.place.requests, self.place.table("choice")],
            ),
            Stage(
                name="label",
                title=f"Run DFT ({self.engine.name})",
                run=self.label,
                products=[self.place.folder / OUTCOMES],
            ),
            Stage(
                name="collect",
                title="Take the new frames in",
                run=self.collect,
                products=[self.place.table("learnt")],
            ),
        ]

    def train(self, reporter: Reporter) -> None:
        """Train the ensemble, from the models of the generation before if there are."""

        def show(name: str, step: int, total: int, errors: dict[str, float]) -> None:
            reporter.update(name, step, total, error_note(errors))

        earlier = self.earlier
        if earlier is not None:
            parents = earlier.models
        else:
            parents = parent_models(self.settings.start.model)
        train_ensemble(
            self.campaign.data,
            self.place.training,
            self.settings.training,
            seed=self.settings.seed,
            parents=parents,
            progress=show,
        )
        n_frames = look_through(self.campaign.data).frames(TRAINING)
        write_table(self.place.table("training"), pd.DataFrame([{"frames": n_frames}]))

    def test(self, reporter: Reporter) -> None:
        """Compare the first model, and that of the generation before, with DFT."""
        models = {AFTER: self.models[0]}
        if self.earlier is not None:
            models = {BEFORE: self.earlier.models[0], **models}
        table = pd.DataFrame()
        if look_through(self.campaign.data).of(VALIDATION):
            frames = evaluation.evaluate(
                models,
                evaluation.read_systems(self.campaign.data, VALIDATION),
                open_collected(self.campaign.data).manifest,
                progress=lambda done, total: reporter.update("systems", done, total),
            )
            table = evaluation.per_formula(frames, list(models))
        write_table(self.place.table("errors"), table)

    def explore(self, reporter: Reporter) -> None:
        """Run MD with all models and note where they differ."""
        explored = self._explored(reporter)
        write_table(self.place.table("runs"), run_table(explored))
        low, high = self.settings.choice.force
        band = pd.DataFrame([{"low": low, "high": high}])
        write_table(self.place.table("band"), band)
        write_table(self.place.table("deviations"), deviation_table(explored))

    def _explored(self, reporter: Reporter) -> list[Explored]:
        """Return what the runs found; those that are finished are only read."""
        return explore_all(
            plan_runs(self.settings, self.campaign.data, self.place.number),
            fast_forms(self.models),
            self.place.exploration,
            self.settings,
            progress=lambda done, total: reporter.update("MD runs", done, total),
        )

    def choose(self, reporter: Reporter, budget: int | None) -> None:
        """Choose frames and starts, no more than the budget allows."""
        settings = self.settings.choice
        candidates = [c for one in self._explored(reporter) for c in one.candidates]
        known = known_frames(self.campaign.data)
        model = SpinDP(self.models[0])
        chosen = choose(
            candidates,
            known,
            settings.frames if budget is None else min(settings.frames, budget),
            self.settings.choice_rules(),
            catalogue=model.states,
        )
        starts = find_starts(
            chosen.candidates, known, model, StartSettings(share=settings.more_states)
        )
        prefix = f"{self.campaign.folder.name}-{self.place.number:02d}"
        requests = as_requests(starts, prefix, budget)
        write_table(self.place.table("choice"), chosen.table)
        left_out = pd.DataFrame(
            chosen.left_out.items(), columns=["cause", "candidates"]
        )
        write_table(self.place.table("left_out"), left_out)
        write_requests(self.place.requests, requests)

    def label(self, reporter: Reporter) -> None:
        """Run DFT; what it ends in is what will be learnt."""
        requests = read_requests(self.place.requests)
        work, hours = self.settings.work, self.settings.budget.hours

        def show(now: Progress) -> None:
            left = "" if now.left is None else f", {now.left / 60:.0f} min left"
            note = f"{now.running} in work{left}"
            reporter.update("DFT runs", now.done, now.total, note)

        outcomes = run_requests(
            requests,
            self.engine,
            self.place.dft,
            workers=work.workers,
            threads=work.threads,
            scheduler=work.scheduler,
            max_hours=None
            if hours is None
            else max(0.0, hours - self.campaign.seconds() / 3600.0),
            progress=show,
        )
        waiting = sum(outcome.status is Status.WAITING for outcome in outcomes)
        if waiting and not self.engine.runs:
            raise Waiting
        states = SpinDP(self.models[0]).states
        rows = [
            outcome_row(request, outcome, states)
            for request, outcome in zip(requests, outcomes, strict=True)
        ]
        table = pd.DataFrame(rows, columns=list(OUTCOME_COLUMNS))
        write_table(self.place.folder / OUTCOMES, table)

    def collect(self, reporter: Reporter) -> None:
        """Take the new frames in, and say how wrong the models were about them."""
        take_in(self.campaign, self.settings, reporter)
        rows = new_rows(open_collected(self.campaign.data).kept, self.place.dft)
        errors = pd.DataFrame(columns=list(LEARNT_COLUMNS))
        if len(rows):
            errors = self._errors_of(rows)
        write_table(self.place.table("learnt"), errors)

    def _errors_of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the errors of the first model on frames of the data, a row each."""
        data = self.campaign.data
        systems = [read_system(data, name) for name in sorted(set(rows["system"]))]
        frames = evaluation.evaluate(
            {BEFORE: self.models[0]}, systems, open_collected(data).manifest
        )
        places = rows[["system", "index", "source"]].astype({"index": "int64"})
        frames = frames.merge(places, on=["system", "index"])
        requests = [request_of(source, self.place.dft) for source in frames["source"]]
        chosen = self.place.outcomes().set_index("request")["force_deviation"]
        per_atom = (frames[f"energy_{BEFORE}"] - frames["energy"]) / frames["natoms"]
        return pd.DataFrame(
            {
                "formula": frames["formula"],
                "key": frames["key"],
                "request": requests,
                "force_deviation": chosen.reindex(requests).to_numpy(),
                "energy_error": MEV_PER_EV * per_atom,
                "force_error": MEV_PER_EV * frames[f"force_error_{BEFORE}"],
                "moment_error": frames[f"moment_error_{BEFORE}"],
            }
        )


def take_in(
    campaign: CampaignFolder, settings: CampaignSettings, reporter: Reporter
) -> None:
    """Collect the frames at hand and those of all generations into the data.

    Raises
    ------
    ConfigError
        If levels of theory do not go together.
    """
    start = settings.start
    dft = [one.dft for one in campaign.generations() if one.dft.is_dir()]

    def show(path: Path, number: int, count: int) -> None:
        reporter.update("files", number, count, path.name)

    report = collect(
        [*start.data, *map(str, dft)],
        campaign.data,
        type_map=start.type_map,
        rules=Rules(
            validation=start.validation,
            seed=settings.seed,
            stationary_moments=start.stationary_moments,
        ),
        progress=show,
    )
    if len(set(report.level_groups.values())) > 1:
        raise ConfigError(
            f"{campaign.data}: levels of theory that must not be trained on together: "
            f"{', '.join(sorted(report.level_groups))} ({campaign.data / LEVELS} says "
            "how they differ); take one of them out of [start] data, or correct [dft] "
            "and remove the folders dft of the generations that it was wrong in."
        )


def new_rows(kept: pd.DataFrame, dft: Path) -> pd.DataFrame:
    """Return the rows of the manifest whose frames were calculated in a folder."""
    root = dft.resolve()
    is_new = [Path(source).resolve().is_relative_to(root) for source in kept["source"]]
    return kept[np.array(is_new, dtype=bool)]


def request_of(source: str, dft: Path) -> str:
    """Return the request that a source of frames belongs to."""
    return Path(source).resolve().relative_to(dft.resolve()).parts[0]


def parent_models(models: str | Sequence[str] | None) -> list[Path]:
    """Return the files of the models that a campaign begins with."""
    return [] if models is None else resolve_all(models)


def publish(models: Sequence[Path], folder: Path) -> None:
    """Put models where they are looked for, each at once or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, model in enumerate(models):
        with replacing(folder / f"model-{number}.pth") as part:
            shutil.copyfile(model, part)
