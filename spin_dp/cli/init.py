# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp init``: a folder ready for ``dp --pt train``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from spin_dp.training.folder import TrainingFolder

_DATA, _MODEL, _TRAINING = "Data", "Model", "Training"
_FINE_TUNING = "Fine-tuning"


class Size(StrEnum):
    """Widths of the nets."""

    small = "small"
    medium = "medium"
    large = "large"


class Precision(StrEnum):
    """Numbers of the nets."""

    float64 = "float64"
    float32 = "float32"


def init(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder to train in; made if need be.",
            show_default=False,
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="Frames to train on: a result of collect, select or merge.",
            rich_help_panel=_DATA,
        ),
    ] = Path("data"),
    level: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Level of theory to train on, where the data hold some whose energies "
            "cannot be compared; with all levels that agree with it.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    no_merge: Annotated[
        bool,
        typer.Option(
            "--no-merge",
            help="Train on the systems as they are. dp draws a batch from one system, "
            "so each batch then holds one spin state; else they are merged into "
            "DIR/systems, see spin-dp merge.",
            rich_help_panel=_DATA,
        ),
    ] = False,
    magnetic: Annotated[
        str | None,
        typer.Option(
            metavar="Mn,Ni,...",
            help="Elements whose moments the model reads; found in the data if left "
            "out.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    min_moment: Annotated[
        float,
        typer.Option(
            metavar="MU_B",
            help="Elements with a larger moment in some training frame are magnetic.",
            rich_help_panel=_MODEL,
        ),
    ] = 0.1,
    size: Annotated[
        Size,
        typer.Option(
            help="Widths of the nets: small for hundreds of frames, large (25-50-100 / "
            "240-240-240) for tens of thousands.",
            rich_help_panel=_MODEL,
        ),
    ] = Size.small,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Of the nets; geometry and energies are float64 in both.",
            rich_help_panel=_MODEL,
        ),
    ] = Precision.float64,
    blind: Annotated[
        bool,
        typer.Option(
            "--blind",
            help="The spin-blind twin: same nets, frames and schedule, no moments.",
            rich_help_panel=_MODEL,
        ),
    ] = False,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Fine-tune this model: a checkpoint, a frozen model, or a shipped one "
            "(lixmo2). Nets as wide, its repulsion, a low learning rate, and its "
            "weights to start from.",
            rich_help_panel=_FINE_TUNING,
            show_default=False,
        ),
    ] = None,
    no_repulsion: Annotated[
        bool,
        typer.Option(
            "--no-repulsion",
            help="Leave out the repulsion of nuclei at short range (ZBL), which is a "
            "term of the energy otherwise.",
            rich_help_panel=_MODEL,
        ),
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Training steps; by the number of frames if left out.",
            rich_help_panel=_TRAINING,
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Frames a batch, or auto:N for at least N atoms a batch; some frames "
            "of the average cell if left out.",
            rich_help_panel=_TRAINING,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="Seed of weights and batches; models for a deviation differ in it.",
            rich_help_panel=_TRAINING,
        ),
    ] = 1,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an older input.json.")
    ] = False,
) -> None:
    """Write an input.json for dp --pt train, filled in from collected frames.

    The folder then holds input.json and the merged systems, all that dp needs. The file
    is an ordinary deepmd-kit input, to be edited by hand. Examples:

    spin-dp init run --data data

    spin-dp init twin --data data --blind

    spin-dp init tuned --data data --like lixmo2

    spin-dp init big --data data --size large --precision float32 --steps 400000
    """
    from dataclasses import replace

    from spin_dp.training.dp_input import TrainingSettings
    from spin_dp.training.folder import SIZES, make_training_folder

    settings = replace(
        TrainingSettings(),
        **SIZES[size],
        seed=seed,
        precision=precision.value,
        repulsion=not no_repulsion,
    )
    elements = None
    if magnetic is not None:
        elements = [word.strip() for word in magnetic.split(",") if word.strip()]
    made = make_training_folder(
        data,
        folder,
        settings=settings,
        steps=steps,
        batch_size=batch_size,
        magnetic=elements,
        threshold=min_moment,
        level=level,
        blind=blind,
        like=like,
        merge=not no_merge,
        force=force,
    )
    _print_report(made)
    if like is not None:
        print(f"the training starts from {like}")


def _print_report(made: TrainingFolder) -> None:
    from rich.console import Console
    from rich.table import Table

    found, atoms, largest = made.data, made.data.atoms(), made.data.largest_moments()
    table = Table(title=f"training frames of {found.folder}")
    table.add_column("element")
    for column in ("atoms", "largest moment, μB"):
        table.add_column(column, justify="right")
    table.add_column("moments")
    for element in found.type_map:
        moment = f"{largest[element]:.2f}" if element in largest else ""
        use = "read" if element in made.spin_elements else "not read"
        table.add_row(element, str(atoms[element]), moment, use if moment else "")
    console = Console()
    console.print(table)
    n_states = _count_states(made)
    print(
        f"{found.frames('training')} training and {found.frames('validation')} "
        f"validation frames{n_states}; {len(made.systems)} systems to train on"
    )
    if found.others:
        print(f"left out, another level of theory: {', '.join(found.others)}")
    absent = [element for element in found.type_map if not atoms[element]]
    if absent:
        print(f"in the type map without a training frame: {', '.join(absent)}")
    settings = made.settings
    print(
        f"{made.input_json}: {settings.steps} steps of batches {settings.batch_size}, "
        f"each frame about {made.passes:.0f} times; seed {settings.seed}"
    )
    folder = made.input_json.parent
    print(
        f"next:\n  spin-dp train {folder}\n"
        f"  spin-dp test -m {folder / 'model.pth'} {found.folder}"
    )


def _count_states(made: TrainingFolder) -> str:
    from spin_dp.data_tools.collection.output_folder import MANIFEST

    if not (made.data.folder / MANIFEST).is_file():
        return ""
    from spin_dp.data_tools.collection.collected import read_manifest

    manifest = read_manifest(made.data.folder)
    kept = manifest[manifest["level"].isin(made.data.levels) & (manifest["key"] != "")]
    n_states = len(kept[["formula", "key"]].drop_duplicates())
    return f" of {kept['formula'].nunique()} compositions in {n_states} spin states"
