# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp states``: which spin state of a structure is lowest."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd


def states(
    structure: Annotated[
        Path,
        typer.Argument(help="Structure file of any format that ASE or pymatgen reads."),
    ],
    model: Annotated[
        Path,
        typer.Option("-m", "--model", help="Frozen model.", show_default=False),
    ],
    elements: Annotated[
        str | None,
        typer.Option(
            metavar="EL,EL",
            help="Elements whose moments are varied; all magnetic ones if left out.",
        ),
    ] = None,
    levels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EL=M,M",
            help="Sizes of moments to try in μB, e.g. Mn=3.7,1.9; repeat it for each "
            "element. Left out: usual ones of Mn, Co and Ni in PBE+U.",
        ),
    ] = None,
    supercell: Annotated[
        tuple[int, int, int], typer.Option(help="Repetitions of the cell.")
    ] = (1, 1, 1),
    max_patterns: Annotated[
        int, typer.Option(metavar="N", min=1, help="Largest number of patterns.")
    ] = 512,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="Rows to print.")] = 20,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="CSV", help="Write all states to this file."
        ),
    ] = None,
) -> None:
    """Rank the spin states of a structure by energy, at fixed positions."""
    from rich.console import Console

    from spin_dp.files import replacing
    from spin_dp.structures import read_structure, structure_moments

    atoms = read_structure(structure)
    own = structure_moments(atoms)
    if own is not None:  # a repeated cell keeps initial moments only
        atoms.arrays.pop("initial_magmoms", None)
        atoms.set_initial_magnetic_moments(own)
    atoms = atoms.repeat(supercell)
    names = None if elements is None else _names(elements)
    sizes = None if not levels else dict(_level(word) for word in levels)
    with Console(stderr=True).status("loading the model and evaluating spin states"):
        from spin_dp.predictor import SpinDP
        from spin_dp.states import rank_states

        table = rank_states(
            atoms, SpinDP(model), names, levels=sizes, max_patterns=max_patterns
        )
    _print(table, str(atoms.get_chemical_formula()), top)
    if output is not None:
        with replacing(output) as temporary:
            table.drop(columns="pattern").to_csv(temporary, index=False)
        print(f"all {len(table)} states: {output}")


def _names(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _level(word: str) -> tuple[str, list[float]]:
    element, _, numbers = word.partition("=")
    try:
        return element.strip(), [float(number) for number in numbers.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"--levels {word!r}: expected an element and its moments, e.g. Mn=3.7,1.9"
        ) from None


def _print(table: pd.DataFrame, formula: str, top: int) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=f"spin states of {formula}, lowest first")
    for name in ("#", "order", "moments / μB", "total / μB"):
        shown.add_column(name, justify="left" if name == "order" else "right")
    shown.add_column("E / eV per f.u.", justify="right")
    shown.add_column("above lowest / meV per f.u.", justify="right")
    shown.add_column("patterns", justify="right")
    shown.add_column("max |F_m| / eV/μB", justify="right")
    for row in table.head(top).itertuples():
        shown.add_row(
            str(row.rank),
            str(row.order),
            _shorten(str(row.moments)),
            f"{row.total_moment:+.2f}",
            f"{row.energy_per_fu:.4f}",
            f"{row.above_lowest:.1f}",
            str(row.degeneracy),
            f"{row.max_magnetic_force:.2f}",
        )
    console = Console()
    console.print(shown)
    if len(table) > top:
        console.print(f"{len(table) - top} more; --top {len(table)} shows all.")


def _shorten(moments: str, most: int = 8) -> str:
    words = moments.split()
    if len(words) <= most:
        return moments
    return f"{' '.join(words[:most])} ... ({len(words)} sites)"
