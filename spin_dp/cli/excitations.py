# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp excitations``: what it costs to flip, excite or charge single ions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spin_dp.cli import question_options as options  # noqa: TC001 (typer reads it)

if TYPE_CHECKING:
    import pandas as pd


def excitations(
    structure: options.Structure,
    model: options.Model,
    moments: options.StartLabels = None,
    order: options.StartOrder = None,
    supercell: options.SupercellOfSites = (1, 1, 1),
    kinds: options.ChangeKinds = "flip,spin,transfer",
    reach: options.TransferReach = 3.5,
    top: options.PrintedChanges = 10,
    output: options.ChangesFile = None,
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
