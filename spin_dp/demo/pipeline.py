# SPDX-License-Identifier: LGPL-3.0-or-later
"""The stages of the demonstration and what each of them writes."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from spin_dp import evaluation
from spin_dp.crystals import layered_oxide
from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.demo import summary
from spin_dp.demo.ladder import plot_spin_states
from spin_dp.demo.origins import with_origins
from spin_dp.demo.plots import MODEL_TITLES, plot_learning_curves, plot_md
from spin_dp.demo.ranking import rank_held_out
from spin_dp.demo.side_by_side import side_by_side
from spin_dp.demo.watched import Outcome, fast_form, run_watched
from spin_dp.errors import DataError
from spin_dp.evaluation.parity_plot import plot_parity
from spin_dp.files import write_text
from spin_dp.stages import Reporter, Stage, prepare_folder, run_stages
from spin_dp.training import read_learning_curve, train_together
from spin_dp.training.dp_input import TrainingSettings, write_input
from spin_dp.training.output import error_note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

SPIN_ELEMENTS = ("Mn", "Co", "Ni", "O")
MODELS = ("spin_aware", "spin_blind")


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Settings of the demonstration.

    Attributes
    ----------
    validation, seed
        Share of the geometries held out, and the seed of the draw.
    crystals
        Layered oxides that the MD is run of, at the same time.
    md_steps, timestep, temperature
        Length of each run, fs, K.
    repeats
        Copies of the 24-atom layered cell.
    training
        Settings of both models.
    """

    validation: float = 0.2
    seed: int = 0
    crystals: tuple[str, ...] = ("LiNiO2", "Li0.5MnO2")
    md_steps: int = 5000
    timestep: float = 1.0
    temperature: float = 600.0
    repeats: tuple[int, int, int] = (4, 2, 1)
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(steps=2500)
    )


def run_demo(
    source: Path,
    out: Path,
    *,
    settings: DemoSettings | None = None,
    fresh: bool = False,
    reporter: Reporter | None = None,
) -> Path:
    """Go the whole way: frames, models, tests, MD, spin states, summary.

    Parameters
    ----------
    source
        Folder with the reference frames.
    out
        Output folder: new, empty, or that of an earlier run, which is continued.
    settings
        The defaults if None.
    fresh
        Remove what an earlier run left and start over.
    reporter
        Told how it goes on.

    Returns
    -------
    Path
        ``out/summary.md``.

    Raises
    ------
    DataError
        If there are no frames in ``source``.
    ConfigError
        If ``out`` holds other things.
    BackendError
        If dp or LAMMPS fails.
    """
    demo = _Demo(source, out, settings or DemoSettings())
    demo.prepare(fresh=fresh)
    seconds = run_stages(out, demo.stages(), reporter or Reporter())
    return demo.write_summary(seconds)


class _Demo:
    """The stages as methods; files are the only thing that passes between them."""

    def __init__(self, source: Path, out: Path, settings: DemoSettings) -> None:
        self.source, self.out, self.settings = source, out, settings
        self.data = out / "data"
        self.tables = out / "tables"
        self.md = out / "md"
        self.outcomes = self.md / "outcomes.json"
        self.models = {name: out / f"{name}.pth" for name in MODELS}

    def prepare(self, *, fresh: bool) -> None:
        """Check source and output folder before anything is written."""
        if not any(self.source.glob("*.extxyz")):
            raise DataError(
                f"{self.source}: expected the reference frames (*.extxyz), found none. "
                "Give their folder with --data."
            )
        prepare_folder(self.out, fresh=fresh)

    def stages(self) -> list[Stage]:
        """Return the stages in order."""
        settings = self.settings
        frames = self.tables / "frames.csv"
        return [
            Stage(
                name="collect",
                title="Sort the DFT frames by spin state",
                settings={
                    "files": _fingerprints(self.source),
                    "validation": settings.validation,
                    "seed": settings.seed,
                },
                products=[self.data / "manifest.csv"],
                clears=[self.data],
                run=self.collect,
            ),
            Stage(
                name="train",
                title="Train the spin-aware model and its spin-blind twin",
                settings=asdict(settings.training),
                products=list(self.models.values()),
                clears=[*self.models.values(), self.out / "training"],
                run=self.train,
            ),
            Stage(
                name="test",
                title="Test both models on held-out geometries",
                settings={"quantities": evaluation.QUANTITIES},
                products=[
                    frames,
                    *(self.out / f"{name}.png" for name in _TEST_PICTURES),
                ],
                run=self.test,
            ),
            Stage(
                name="md",
                title=f"Run labelled MD of {' and '.join(settings.crystals)} in LAMMPS",
                settings={
                    name: getattr(settings, name)
                    for name in (
                        *("crystals", "md_steps", "timestep", "temperature"),
                        "repeats",
                    )
                },
                products=[self.outcomes, self.out / "md.png"],
                clears=[self.md],
                run=self.run_md,
            ),
            Stage(
                name="states",
                title="Rank the spin states of held-out geometries",
                products=[self.tables / "states.csv"],
                run=self.rank,
            ),
        ]

    def collect(self, reporter: Reporter) -> None:
        """Read the frames and write systems."""
        from spin_dp.data_tools import Rules, collect

        def show(path: Path, number: int, count: int) -> None:
            reporter.update("files", number, count, path.name)

        report = collect(
            [self.source],
            self.data,
            rules=Rules(
                validation=self.settings.validation,
                seed=self.settings.seed,
                stationary_moments=True,
            ),
            progress=show,
        )
        note = f"{report.n_kept} frames kept, {report.n_quarantined} quarantined"
        reporter.update("files", report.n_sources, report.n_sources, note)

    def train(self, reporter: Reporter) -> None:
        """Train both models at the same time, on batches of many spin states."""
        from spin_dp.data_tools import merge_systems

        type_map = next(self.data.rglob("type_map.raw")).read_text().split()
        merged = self.out / "training" / "merged"
        for split in ("training", "validation"):
            merge_systems(self.data / split, merged / split)
        inputs = {
            name: write_input(
                self.out / "training" / name / "input.json",
                type_map=type_map,
                training=merged / "training",
                validation=merged / "validation",
                spin_elements=SPIN_ELEMENTS if name == "spin_aware" else (),
                settings=self.settings.training,
            )
            for name in MODELS
        }

        def show(name: str, step: int, total: int, errors: dict[str, float]) -> None:
            reporter.update(name.replace("_", "-"), step, total, error_note(errors))

        for name, frozen in train_together(inputs, progress=show).items():
            shutil.copyfile(frozen, self.models[name])

    def test(self, reporter: Reporter) -> None:
        """Evaluate both models and draw what they make of the held-out frames."""
        self.tables.mkdir(exist_ok=True)
        manifest = open_collected(self.data).manifest
        parts: dict[str, pd.DataFrame] = {}
        for split in ("training", "validation"):
            systems = evaluation.read_systems(self.data, split)

            def show(done: int, total: int, split: str = split) -> None:
                reporter.update(f"{split} systems", done, total)

            frames = evaluation.evaluate(self.models, systems, manifest, progress=show)
            if split == "validation":
                named = {summary.BY_NAME: self.models["spin_aware"]}
                by_name = evaluation.evaluate(named, systems, manifest, labels=True)
                new = by_name.columns.difference(frames.columns)
                frames = frames.join(by_name[new])  # rows in the same order
            parts[split] = with_origins(frames, manifest)
        held_out = parts["validation"]
        scores = {name: evaluation.score(held_out, name) for name in MODELS[::-1]}
        plot_parity(
            self.out / "parity.png",
            parts["training"],
            held_out,
            scores,
            titles=MODEL_TITLES,
        )
        curves = {
            name: read_learning_curve(self.out / "training" / name / "lcurve.out")
            for name in MODELS
        }
        plot_learning_curves(self.out / "learning_curves.png", curves)
        plot_spin_states(self.out / "spin_states.png", held_out, MODELS)
        by_state = evaluation.per_state(held_out, MODELS)
        by_state.to_csv(self.tables / "per_state.csv", index=False)
        by_formula = evaluation.per_formula(held_out, MODELS)
        by_formula.to_csv(self.tables / "per_formula.csv", index=False)
        everything = pd.concat([p.assign(split=s) for s, p in parts.items()])
        everything.to_csv(self.tables / "frames.csv", index=False)

    def run_md(self, reporter: Reporter) -> None:
        """Run the labelled MD of all crystals at the same time, and draw it."""
        from spin_dp.lammps_interface import MDSettings

        settings = self.settings
        self.md.mkdir(exist_ok=True)
        model = fast_form(self.models["spin_aware"], self.md)
        run = MDSettings(
            ensemble="nvt",
            temperature=settings.temperature,
            steps=settings.md_steps,
            timestep=settings.timestep,
            dump_every=50,
            restart_every=1000,
        )

        def move(crystal: str, check: Callable[[], None]) -> Outcome:
            def show(step: int, total: int, kelvin: float) -> None:
                check()
                reporter.update(crystal, step, total, f"{kelvin:.0f} K")

            atoms = layered_oxide(crystal, settings.repeats)
            return run_watched(atoms, model, self.md / crystal, run, progress=show)

        outcomes = side_by_side(move, settings.crystals, len(settings.crystals))
        found = dict(zip(settings.crystals, outcomes, strict=True))
        plot_md(
            self.out / "md.png",
            {
                crystal: pd.read_csv(self.md / crystal / "thermo.csv")
                for crystal in found
            },
            temperature=settings.temperature,
            atoms={name: outcome.atoms for name, outcome in found.items()},
        )
        records = {crystal: outcome.record() for crystal, outcome in found.items()}
        write_text(self.outcomes, json.dumps(records, indent=2) + "\n")

    def rank(self, reporter: Reporter) -> None:
        """Rank the spin states of all held-out geometries."""

        def show(done: int, total: int) -> None:
            reporter.update("geometries", done, total)

        model = fast_form(self.models["spin_aware"], self.md)
        table = rank_held_out(model, self.data, progress=show)
        table.to_csv(self.tables / "states.csv", index=False)

    def write_summary(self, seconds: Mapping[str, float]) -> Path:
        """Write ``summary.md`` from the products of all stages."""
        frames = pd.read_csv(self.tables / "frames.csv")
        held_out = frames[frames["split"] == "validation"]
        text = summary.render(
            settings=self.settings,
            scores={
                name: evaluation.score(held_out, name)
                for name in (*MODELS, summary.BY_NAME)
            },
            by_origin={
                str(origin): {name: evaluation.score(rows, name) for name in MODELS}
                for origin, rows in held_out.groupby("origin")
            },
            manifest=open_collected(self.data).manifest,
            per_formula=pd.read_csv(self.tables / "per_formula.csv"),
            per_state=pd.read_csv(self.tables / "per_state.csv"),
            states=pd.read_csv(self.tables / "states.csv"),
            outcomes={
                crystal: Outcome(**record)
                for crystal, record in json.loads(self.outcomes.read_text()).items()
            },
            temperature=self.settings.temperature,
            seconds={stage.title: seconds[stage.name] for stage in self.stages()},
        )
        path = self.out / "summary.md"
        write_text(path, text)
        return path


_TEST_PICTURES = ("parity", "learning_curves", "spin_states")


def _fingerprints(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        for file in sorted(folder.glob("*.extxyz"))
    }
