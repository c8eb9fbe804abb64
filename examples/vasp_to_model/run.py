# SPDX-License-Identifier: LGPL-3.0-or-later
"""From a folder of VASP runs to a trained model, in Python.

``python run.py FOLDER -o OUT``; README.md says the same in commands. Without a folder
the frames in ``examples/gpaw`` are taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spin_dp.data_tools import Rules, collect
from spin_dp.data_tools.collection.collected import open_collected
from spin_dp.report import write_report
from spin_dp.training import train
from spin_dp.training.folder import make_training_folder

FRAMES = Path(__file__).resolve().parents[1] / "gpaw"


def main(out: Path, source: Path = FRAMES, n_steps: int = 3000) -> Path:
    """Collect, report, write the input, train and freeze.

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

    # Levels of theory that conflict are not mixed: take that of most frames.
    kept = open_collected(report.out).kept
    made = make_training_folder(
        report.out,
        out / "model",
        level=str(kept["level"].mode()[0]),
        steps=n_steps,
        force=True,
    )
    print(f"moments of {', '.join(made.spin_elements)} on {made.data.levels[0]}")
    return train(made.input_json)


def command(
    source: Annotated[Path, typer.Argument(help="Folder with VASP runs.")] = FRAMES,
    out: Annotated[Path, typer.Option("-o", help="Output folder.")] = Path("out"),
    steps: Annotated[int, typer.Option(help="Training steps.")] = 3000,
) -> None:
    """Go from a folder of VASP runs to a trained model."""
    main(out, source, steps)


if __name__ == "__main__":
    typer.run(command)
