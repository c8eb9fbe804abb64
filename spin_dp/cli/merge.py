# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp merge``: systems that fill training batches across spin states."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer


def merge(
    systems: Annotated[
        Path,
        typer.Argument(
            help="Folder with deepmd-kit systems at any depth: a result of collect or "
            "a part of it."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Output folder.", show_default=False
        ),
    ],
    fill: Annotated[
        bool,
        typer.Option(
            help="Fill cells of different size up to one with places of type -1, no "
            "atom. For models that do not know them (DPA4C): --no-fill."
        ),
    ] = True,
) -> None:
    """Merge systems so that a training batch holds many spin states.

    deepmd-kit draws a batch from one system. The merged mixed_type systems, one for
    cells of up to 8, 16, 32 ... atoms and each set of labels, hold the same frames;
    train on them.
    Training and validation stay apart, and so do levels of theory whose energies
    cannot be compared: each such group gets a folder of its own.
    """
    from spin_dp.data_tools import merge_systems

    for folder in merge_systems(systems, output, fill=fill):
        print(folder)
