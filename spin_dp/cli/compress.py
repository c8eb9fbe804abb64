# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp compress``: the fast form of a frozen model."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import Annotated

import typer

from spin_dp.cli.display import progress_bar
from spin_dp.cli.init import Precision


def compress(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL.pth",
            help="Frozen model, not compressed.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.pth",
            help="The file to write; MODEL.compressed.pth if not given.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Of tables and nets; distances and sums of forces are float64 anyway."
        ),
    ] = Precision.float32,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Result of collect: compare both models on its validation frames.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the fast form of a frozen model, for MD.

    Radial nets become tables, and slopes are computed without recording a graph; in
    single precision forces change by some 10⁻⁶ eV/Å. The file runs wherever the frozen
    model does. It cannot be trained on. Example:

    spin-dp compress run/model.pth --check data
    """
    import logging

    from spin_dp.compression import compare
    from spin_dp.compression import compress as write_compressed

    logging.getLogger("deepmd").setLevel(logging.ERROR)  # hints cut the bar
    written = write_compressed(model, output, precision=precision.value)
    print(f"compressed model: {written} ({precision.value})")
    if check is None:
        return
    with progress_bar("comparing") as update:
        found = compare(
            model,
            written,
            check,
            progress=lambda done, total: update(completed=done, total=total),
        )
    print(
        f"largest differences on {found.frames} frames of {check}: "
        f"{found.energy:.2g} meV/atom, {found.force:.2g} eV/Å, "
        f"{found.magnetic_force:.2g} eV/μB"
    )
