# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp states``: which spin state of a structure is lowest."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def states(
    structure: Annotated[
        Path,
        typer.Argument(help="Structure file of any format that ASE or pymatgen reads."),
    ],
    model: Annotated[
        list[Path],
        typer.Option(
            "-m",
            "--model",
            help="Model file, .pth or .pt2, or a shipped model, lixmo2; repeat it for "
            "± of ΔE by an ensemble. The first one ranks.",
            show_default=False,
        ),
    ],
    elements: Annotated[
        str | None,
        typer.Option(
            metavar="EL,EL",
            help="Elements whose states are varied; all with spin states if left out.",
        ),
    ] = None,
    states: Annotated[
        list[str] | None,
        typer.Option(
            "--states",
            metavar="EL=S,S",
            help="States to try, e.g. Mn=3+HS,4+, or moments in μB, Mn=3.7,1.9; repeat "
            "it for each element. All that the model knows if left out.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Calibration of these models; the one beside them if left out.",
        ),
    ] = None,
    moments: Annotated[
        str | None,
        typer.Option(
            "--moments",
            "--labels",
            metavar="LABELS",
            help="Labels of metals that are not varied, e.g. 'Ni=2+'; what the "
            "structure carries if left out.",
        ),
    ] = None,
    any_charge: Annotated[
        bool,
        typer.Option(
            "--any-charge", help="Try states whose charges do not add up, too."
        ),
    ] = False,
    supercell: Annotated[
        tuple[int, int, int], typer.Option(help="Repetitions of the cell.")
    ] = (1, 1, 1),
    max_patterns: Annotated[
        int, typer.Option(metavar="N", min=1, help="Most assignments to try.")
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

    from spin_dp.cli.display import notes
    from spin_dp.files import replacing
    from spin_dp.structures import read_structure, repeated

    atoms = repeated(read_structure(structure), supercell)
    names = None if elements is None else _names(elements)
    chosen = dict(_states(word) for word in states or ())
    console = Console(stderr=True)
    with (
        console.status("loading the model and evaluating spin states"),
        notes(console, "spin_dp.search"),
    ):
        from spin_dp.inference.predictor import SpinDP
        from spin_dp.search import rank_states

        table = rank_states(
            atoms,
            SpinDP(model, calibration=calibration),
            names,
            states=chosen,
            moments=moments,
            any_charge=any_charge,
            max_patterns=max_patterns,
        )
    _print(table, str(atoms.get_chemical_formula()), top, any_charge=any_charge)
    if output is not None:
        with replacing(output) as temporary:
            table.assign(moments=table["moments"].map(_moments_text)).to_csv(
                temporary, index=False
            )
        print(f"all {len(table)} states: {output}")


def _names(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _states(word: str) -> tuple[str, list[str]]:
    element, _, values = word.partition("=")
    if not values:
        raise typer.BadParameter(
            f"--states {word!r}: expected an element and its states or moments, e.g. "
            "Mn=3+HS,4+"
        )
    return element.strip(), _names(values)


def _moments_text(moments: NDArray[np.float64]) -> str:
    """Return moments as one number for each atom, or three with commas, in μB."""
    if not moments[:, :2].any():
        return " ".join(f"{m:.4f}" for m in moments[:, 2])
    return " ".join(",".join(f"{x:.4f}" for x in vector) for vector in moments)


def _untagged(key: object) -> str:
    """Return a key without the tag of its ordering, which says nothing to the eye."""
    return str(key).partition("#")[0]


def _print(table: pd.DataFrame, formula: str, top: int, *, any_charge: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    head = table.head(top)
    has_twins = bool((head["degeneracy"] > 1).any())
    changes = bool(head["becomes"].any())
    has_spread = bool(table["above_lowest_interval"].notna().any())
    has_force = bool(table["max_magnetic_force"].notna().any())
    shown = Table(
        title=f"spin states of {formula}, lowest first",
        box=SIMPLE_HEAD,
        caption="E and ΔE per formula unit; M: total moment"
        + ("; |F_m|: largest magnetic force, eV/μB" if has_force else "")
        + (f"; ±: {table.attrs['interval']}" if has_spread else "")
        + ("; q: charge of the cell" if any_charge else "")
        + ("; ×: equal by symmetry" if has_twins else "")
        + ("; →: what a state becomes that does not hold" if changes else ""),
    )
    shown.add_column("#", justify="right")
    shown.add_column("state", overflow="fold", min_width=24)
    shown.add_column("order")
    if any_charge:
        shown.add_column("q/e", justify="right")
    for name in ("M/μB", "E/eV", "ΔE/meV", *(["|F_m|"] if has_force else [])):
        shown.add_column(name, justify="right", no_wrap=True)
    if has_twins:
        shown.add_column("×", justify="right")
    for row in head.itertuples():
        shown.add_row(
            str(row.rank),
            _untagged(row.state)
            + (f"\n→ {_untagged(row.becomes)}" if row.becomes else ""),
            str(row.order),
            *([f"{row.charge:+.0f}"] if any_charge else []),
            f"{row.total_moment:+.2f}",
            f"{row.energy_per_fu:.4f}",
            f"{row.above_lowest:.1f}"
            + (f" ± {row.above_lowest_interval:.1f}" if has_spread else ""),
            *([f"{row.max_magnetic_force:.2f}"] if has_force else []),
            *([str(row.degeneracy)] if has_twins else []),
        )
    console = Console()
    console.print(shown)
    lowest = table.iloc[0]
    console.print(f"lowest: --moments '{lowest['labels']}'", soft_wrap=True)
    if len(table) > top:
        console.print(f"{len(table) - top} more; --top {len(table)} shows all.")
