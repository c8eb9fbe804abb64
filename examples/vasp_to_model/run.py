# SPDX-License-Identifier: LGPL-3.0-or-later
"""From a folder of VASP runs to a trained model, in Python.

``python run.py FOLDER -o OUT``; README.md says the same in commands. Without a folder
the frames in ``examples/gpaw`` are taken.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from spin_dp.data_tools import Rules, collect, merge_systems
from spin_dp.report import write_report
from spin_dp.training import train
from spin_dp.training.dp_input import TrainingSettings, write_input

FRAMES = Path(__file__).resolve().parents[1] / "gpaw"
MAGNETIC_MUB = 0.5


def main(out: Path, source: Path = FRAMES, n_steps: int = 4000) -> Path:
    """Collect, report, merge, train and freeze.

    Parameters
    ----------
    out
        Folder for everything that is made; a second run goes on.
    source
        Folder with VASP runs, or anything else that ``spin-dp collect`` reads.
    n_steps
        Training steps.

    Returns
    -------
    Path
        The frozen model.
    """
    report = collect(
        [source], out / "data", rules=Rules(validation=0.1, stationary_moments=True)
    )
    page = write_report(report.out).path
    print(f"{report.n_kept} of {report.n_read} frames kept; look at {page}")

    merged = out / "merged"
    systems = merge_systems(report.out, merged)
    training = most_frames(
        [s for s in systems if s.is_relative_to(merged / "training")]
    )
    validation = merged / "validation" / training.relative_to(merged / "training")
    magnetic = report.states.loc[report.states["mean"] > MAGNETIC_MUB, "element"]
    type_map = next(training.rglob("type_map.raw")).read_text().split()
    made = write_input(
        out / "model" / "input.json",
        type_map=type_map,
        training=training,
        validation=validation if validation.is_dir() else None,
        spin_elements=[element for element in type_map if element in set(magnetic)],
        settings=TrainingSettings(steps=n_steps),
    )
    frozen = train(made)
    print(f"trained on {training}: {frozen}")
    return frozen


def most_frames(systems: list[Path]) -> Path:
    """Return the folder with most frames.

    Levels of theory that must not be trained on together lie in folders of their own.
    """
    frames: Counter[Path] = Counter()
    for system in systems:
        frames[system.parent] += len(np.load(system / "set.000" / "energy.npy"))
    return frames.most_common(1)[0][0]


def command(
    source: Annotated[Path, typer.Argument(help="Folder with VASP runs.")] = FRAMES,
    out: Annotated[Path, typer.Option("-o", help="Output folder.")] = Path("out"),
    steps: Annotated[int, typer.Option(help="Training steps.")] = 4000,
) -> None:
    """Go from a folder of VASP runs to a trained model."""
    main(out, source, steps)


if __name__ == "__main__":
    typer.run(command)
