# SPDX-License-Identifier: LGPL-3.0-or-later
"""The stages from the shipped frames to the base model in the package."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from examples.base_model.answering import (
    CHOICE,
    HARD,
    WATCHED_PS,
    choose,
    read_choice,
)
from examples.base_model.card import render
from examples.base_model.frames import HELD_OUT, collect_frames, geometry_names
from examples.base_model.record import make_record, spread_rows
from spin_dp.data_tools.systems.system import VALIDATION
from spin_dp.evaluation.ensemble_test import run_ensemble_test, write_calibration
from spin_dp.files import replaced_folder, write_text
from spin_dp.inference.calibration import CALIBRATION_FILE
from spin_dp.pretrained import CARD, RECORD
from spin_dp.stages import Reporter, Stage, prepare_folder, run_stages
from spin_dp.training import MODEL, TrainingSettings, train_together
from spin_dp.training.folder import SIZES, make_training_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COMMAND = "make basemodel"


@dataclass(frozen=True, kw_only=True)
class BaseModelSettings:
    """Settings of the base model.

    Attributes
    ----------
    size, steps
        Widths of the nets as in ``spin-dp init --size``; training steps, which have to
        grow with the number of frames.
    force, virial
        Loss prefactors at start and end. MD and relaxed cells are what the model is
        for, so both weigh more than by default.
    seeds
        One a model; they differ in nothing else.
    held_out
        Share of the geometries of each composition that no model sees, those that the
        model before did not see among them.
    together
        Models that are trained, and runs of MD, at the same time.
    """

    size: str = "small"
    steps: int = 30_000
    force: tuple[float, float] = (20.0, 4.0)
    virial: tuple[float, float] = (1.0, 1.0)
    seeds: tuple[int, ...] = (1, 2, 3, 4)
    held_out: float = HELD_OUT
    together: int = 2


class Build:
    """The stages as methods; files are all that passes between them.

    Parameters
    ----------
    sources
        Folders with frames.
    folder
        Where it works; an earlier run goes on.
    target
        Folder of the shipped model, ``spin_dp/pretrained/lixmo2``.
    settings
        What is trained.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        folder: Path,
        target: Path,
        settings: BaseModelSettings,
    ) -> None:
        self.sources, self.folder, self.target = sources, folder, target
        self.settings = settings
        self.data, self.md = folder / "data", folder / "md"

    def run(self, reporter: Reporter | None = None) -> None:
        """Run what is not done yet."""
        prepare_folder(self.folder)
        run_stages(self.folder, self.stages(), reporter or Reporter())

    def training(self, seed: int) -> Path:
        """Return where the model of a seed is trained."""
        return self.folder / f"seed-{seed}"

    def stages(self) -> list[Stage]:
        """Return the stages in order."""
        chosen = self.settings
        folders = [self.training(seed) for seed in chosen.seeds]
        models = [folder / MODEL for folder in folders]
        return [
            Stage(
                name="collect",
                title="Collect the frames",
                settings={
                    "files": file_hashes(self.sources),
                    "held_out": chosen.held_out,
                },
                products=[self.data / "manifest.csv"],
                clears=[self.data],
                run=self.collect,
            ),
            Stage(
                name="train",
                title="Train the models",
                settings={
                    name: value
                    for name, value in asdict(chosen).items()
                    if name in ("size", "steps", "force", "virial", "seeds")
                },
                products=models,
                clears=folders,
                run=self.train,
            ),
            Stage(
                name="choose",
                title="Run MD with each model to choose which one answers",
                settings={"conditions": HARD, "ps": WATCHED_PS},
                products=[self.md / CHOICE],
                clears=[self.md],
                run=self.choose,
            ),
            Stage(
                name="ship",
                title="Test the models and write record and card",
                settings={"target": str(self.target)},
                products=[
                    self.target / name for name in (RECORD, CARD, CALIBRATION_FILE)
                ],
                run=self.ship,
            ),
        ]

    def collect(self, reporter: Reporter) -> None:
        """Read all frames and hold some geometries out."""
        reporter.update("frames", 0, 1)
        collect_frames(
            self.sources, self.data, self.settings.held_out, self.held_out_before()
        )
        reporter.update("frames", 1, 1)

    def held_out_before(self) -> list[str]:
        """Return the geometries that the model to be replaced did not see either.

        What is held out stays so while frames grow, and models can be compared.
        """
        record = self.target / RECORD
        if not record.is_file():
            return []
        held_out = json.loads(record.read_text(encoding="utf-8"))["data"]["held_out"]
        present = set(geometry_names(self.sources))
        return [name for name in held_out if name in present]

    def train(self, reporter: Reporter) -> None:
        """Train the models, some at the same time; goes on after a kill."""
        chosen = self.settings
        inputs = {}
        for seed in chosen.seeds:
            folder = self.training(seed)
            settings = replace(
                TrainingSettings(force=chosen.force, virial=chosen.virial, seed=seed),
                **SIZES[chosen.size],
            )
            inputs[folder.name] = make_training_folder(
                self.data, folder, settings=settings, steps=chosen.steps, force=True
            ).input_json

        def show(name: str, step: int, total: int, errors: dict[str, float]) -> None:
            force = errors.get("rmse_fr_val")
            note = "" if force is None else f"{1000 * force:.0f} meV/Å"
            reporter.update(name, step, total, note)

        names = list(inputs)
        for start in range(0, len(names), chosen.together):
            part = {name: inputs[name] for name in names[start:][: chosen.together]}
            train_together(part, progress=show)

    def choose(self, reporter: Reporter) -> None:
        """Find which model answers; see :mod:`examples.base_model.answering`."""
        choose(
            {seed: self.training(seed) / MODEL for seed in self.settings.seeds},
            self.data,
            self.md,
            jobs=self.settings.together,
            progress=reporter.update,
        )

    def ship(self, reporter: Reporter) -> None:
        """Test the models, then write weights, record and card together."""
        name = self.target.name
        choice = read_choice(self.md)
        with replaced_folder(self.target) as folder:
            models = []
            for number, chosen in enumerate(choice, start=1):
                models.append(folder / f"{name}-{number}.pth")
                without_paths(self.training(chosen.seed) / MODEL, models[-1])
            reporter.update("test", 0, 1)
            record = make_record(
                name,
                models,
                self.data,
                file_hashes(self.sources),
                {**asdict(self.settings), "command": COMMAND},
            )
            for entry, chosen in zip(record["models"], choice, strict=True):
                entry |= {"seed": chosen.seed, "held": chosen.held, "runs": chosen.runs}
            reporter.update("calibrate", 0, 1)
            tested = run_ensemble_test(models, self.data, split=VALIDATION, labels=True)
            write_calibration(tested, self.folder / "calibration", self.data)
            shutil.copy(self.folder / "calibration" / CALIBRATION_FILE, folder)
            record["calibration"] = spread_rows(tested.table)
            write_record(folder, record)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record and the card that it makes into a folder."""
    text = json.dumps(record, ensure_ascii=False, indent=1)
    write_text(folder / RECORD, text + "\n")
    write_text(folder / CARD, render(record))


def without_paths(model: Path, target: Path) -> None:
    """Copy a frozen model without the places of its source code on this machine."""
    with zipfile.ZipFile(model) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            if not item.filename.endswith(".debug_pkl"):
                # Time of the copy left out, too: equal weights make equal files.
                new.writestr(zipfile.ZipInfo(item.filename), old.read(item.filename))


def file_hashes(sources: Sequence[Path]) -> Mapping[str, str]:
    """Return the first 16 digits of the SHA-256 of each file of frames."""
    return {
        f"{folder.name}/{file.relative_to(folder).as_posix()}": hashlib.sha256(
            file.read_bytes()
        ).hexdigest()[:16]
        for folder in sources
        for file in sorted(folder.rglob("*.extxyz"))
    }
