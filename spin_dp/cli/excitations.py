# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp excitations``: what it costs to flip, excite or charge single ions."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd


def excitations(
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
            "the spread of an ensemble.",
            show_default=False,
        ),
    ],
    moments: Annotated[
        str | None,
        typer.Option(
            "--moments",
            "--labels",
            metavar="LABELS",
            help="The state to start from, 'Ni=3+LS' or by atom; what the structure "
            "carries if left out.",
            show_default=False,
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Magnetic ordering of it: FM, AFM, AFM-001."),
    ] = None,
    supercell: Annotated[
        tuple[int, int, int],
        typer.Option(help="Repetitions of the cell: images of a site change with it."),
    ] = (1, 1, 1),
    kinds: Annotated[
        str,
        typer.Option(
            metavar="KINDS",
            help="flip (a moment turns round), spin (another state of the same "
            "charge), transfer (an electron goes to another site).",
        ),
    ] = "flip,spin,transfer",
    reach: Annotated[
        float, typer.Option(metavar="Å", help="Electrons go to sites not farther away.")
    ] = 3.5,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, help="Rows to print of each kind.")
    ] = 10,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="CSV",
            help="Write all changes to this file.",
            show_default=False,
        ),
    ] = None,
) -> None:
    r"""Tell what single changes of a spin state cost, site by site.

    Each change by itself, all else as it is. Example:

    spin-dp excitations LiNiO2.cif -m lixmo2 --labels Ni=3+LS --supercell 4 4 1
    """
    from rich.console import Console

    from spin_dp.cli.display import notes, progress_bar
    from spin_dp.files import replacing
    from spin_dp.structures import read_structure, repeated

    atoms = repeated(read_structure(structure), supercell)
    with (
        progress_bar("loading the model") as show,
        notes(Console(stderr=True), "spin_dp.search"),
    ):
        from spin_dp.inference.predictor import SpinDP
        from spin_dp.search import site_excitations

        table = site_excitations(
            atoms,
            SpinDP(model),
            moments,
            order=order,
            kinds=[word.strip() for word in kinds.split(",")],
            reach=reach,
            progress=lambda done, number: show(
                description="changes", completed=done, total=number
            ),
        )
    _print(table, str(atoms.get_chemical_formula()), top)
    if output is not None:
        with replacing(output) as part:
            table.to_csv(part, index=False)
        print(f"all {len(table)} changes: {output}")


def _print(table: pd.DataFrame, formula: str, top: int) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    has_spread = bool(table["energy_spread"].notna().any())
    shown = Table(
        title=f"single changes in {formula}",
        box=SIMPLE_HEAD,
        caption="×: equal by symmetry; ΔE of the whole cell"
        + ("; ±: spread of the models" if has_spread else ""),
    )
    shown.add_column("change")
    shown.add_column("site")
    shown.add_column("from → to", overflow="fold")
    for name in ("×", "ΔE/meV"):
        shown.add_column(name, justify="right", no_wrap=True)
    for kind, rows in table.groupby("kind", sort=False):
        for row in rows.head(top).to_dict("records"):
            is_pair = kind == "transfer"
            place = f"{row['site']} → {row['other']}" if is_pair else str(row["site"])
            shown.add_row(
                str(kind),
                place + (f", {row['distance']:.2f} Å" if is_pair else ""),
                f"{row['before']} → {row['after']}",
                str(row["equal"]),
                f"{row['energy']:.1f}"
                + (f" ± {row['energy_spread']:.1f}" if has_spread else ""),
            )
    Console().print(shown)
