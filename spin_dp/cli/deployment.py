# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp compress`` and ``spin-dp compile``: fast forms of a frozen model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from spin_dp.cli.display import progress_bar
from spin_dp.cli.init import Precision

Model: TypeAlias = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL.pth",
        help="Frozen model, not compressed.",
        show_default=False,
    ),
]
Digits: TypeAlias = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Of tables and nets; distances and sums of forces are float64 anyway.",
    ),
]
Check: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--check",
        metavar="DATA",
        help="Result of collect: compare both models on its validation frames.",
        show_default=False,
    ),
]


def compress(
    model: Model,
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
    precision: Digits = Precision.float32,
    check: Check = None,
) -> None:
    """Write the fast form of a frozen model, for MD.

    Radial nets become tables, and slopes are computed without recording a graph; in
    single precision forces change by some 10⁻⁶ eV/Å. The file runs wherever the frozen
    model does. It cannot be trained on. Example:

    spin-dp compress run/model.pth --check data
    """
    from spin_dp.deployment import compress as write_compressed

    _silence()
    written = write_compressed(model, output, precision=precision.value)
    print(f"compressed model: {written} ({precision.value})")
    _print_difference(model, written, check)


def compile_for_here(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.pt2",
            help="The file to write; MODEL.pt2 if not given.",
            show_default=False,
        ),
    ] = None,
    precision: Digits = Precision.float32,
    check: Check = None,
) -> None:
    """Write a frozen model as machine code: the fastest form for MD.

    The compressed model, compiled for the processor of this machine: do it where, or
    on the kind of machine where, LAMMPS runs. Needs a C++ compiler and about a minute.
    `spin-dp md` and the pair style take the file as they take others. Example:

    spin-dp compile run/model.pth --check data
    """
    from rich.console import Console

    from spin_dp.deployment import compile_model

    _silence()
    with Console(stderr=True).status("compiling, about a minute"):
        written = compile_model(model, output, precision=precision.value)
    print(f"compiled model: {written} ({precision.value})")
    _print_difference(model, written, check)


def _silence() -> None:
    for name in ("deepmd", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)  # hints cut the bar


def _print_difference(model: Path, written: Path, data: Path | None) -> None:
    from spin_dp.deployment import compare

    if data is None:
        return
    with progress_bar("comparing") as update:
        found = compare(
            model,
            written,
            data,
            progress=lambda done, total: update(completed=done, total=total),
        )
    print(
        f"largest differences on {found.frames} frames of {data}: "
        f"{found.energy:.2g} meV/atom, {found.force:.2g} eV/Å, "
        f"{found.magnetic_force:.2g} eV/μB"
    )
