# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp redox``: which ions change their charge while lithium leaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from spin_dp.cli import question_options as options  # noqa: TC001 (typer reads it)

if TYPE_CHECKING:
    from spin_dp.search import Redox
    from spin_dp.search.relaxed import Relaxed


def redox(
    structure: options.Structure,
    model: options.Model,
    output: options.OutputFolder = Path("redox"),
    supercell: options.Supercell = (1, 1, 1),
    ion: options.LeavingIon = "Li",
    shares: options.Shares = "1,0.75,0.5,0.25,0",
    arrangements: options.Arrangements = 3,
    states: options.RedoxStates = None,
    relax: options.RelaxArrangements = None,
    seed: options.ArrangementSeed = 1,
) -> None:
    r"""Follow which ions change their charge while lithium leaves.

    The structure is the full crystal. At each content the lowest spin state of a few
    arrangements of vacancies. Example:

    spin-dp redox LiNiO2.cif -m lixmo2 --supercell 2 2 1 --states Ni=2+,3+LS,4+LS
    """
    from rich.console import Console

    from spin_dp.cli.display import notes, progress_bar
    from spin_dp.cli.words import element_states, numbers
    from spin_dp.structures import read_structure, repeated

    asked = numbers("--shares", shares)
    chosen = dict(element_states("--states", word) for word in states or ())
    atoms = repeated(read_structure(structure), supercell)
    with progress_bar("loading the model") as show, notes(Console(stderr=True)):
        from spin_dp.inference.predictor import SpinDP
        from spin_dp.search import follow_redox

        found = follow_redox(
            atoms,
            SpinDP(model),
            ion=ion,
            shares=asked,
            arrangements=arrangements,
            states=chosen,
            relax=cast("Relaxed | None", relax),
            seed=seed,
            progress=lambda done, number: show(
                description="arrangements", completed=done, total=number
            ),
        )
        _write(found, output)
    _print(found, ion)
    print(f"table, picture and structures: {output}")


def _write(found: Redox, folder: Path) -> None:
    from ase.io.extxyz import write_extxyz

    from spin_dp.files import replacing
    from spin_dp.search import draw_redox

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "redox.csv") as part:
        found.table.to_csv(part, index=False)
    with replacing(folder / "structures.extxyz") as part, part.open("w") as out:
        write_extxyz(out, list(found.frames))
    draw_redox(found, folder / "redox.png")


def _print(found: Redox, ion: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = Table(
        title=f"lowest states while {ion} leaves",
        box=SIMPLE_HEAD,
        caption="e⁻: electrons that metals lost, gained; |m|: mean moment of anions",
    )
    for name in ("x", "e⁻ lost", "gained", "|m|/μB"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("sites", overflow="fold")
    for row in found.lowest.to_dict("records"):
        sites = [
            f"{row[f'n {name}']} {name}" for name in found.states if row[f"n {name}"]
        ]
        shown.add_row(
            f"{row['x']:g}",
            f"{row['oxidised']:g}",
            f"{row['reduced']:g}",
            f"{row['oxygen_moment']:.3f}",
            ", ".join(sites),
        )
    Console().print(shown)
