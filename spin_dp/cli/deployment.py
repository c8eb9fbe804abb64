# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp deploy``, ``compress``, ``compile``: fast forms of a frozen model."""

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
        help="Frozen model, not compressed, or a shipped one (lixmo2): its first.",
        show_default=False,
    ),
]
Digits: TypeAlias = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="Of tables and nets; positions and sums of forces are float64.",
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


def deploy(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Folder of the file to write; that of the model if not given.",
            show_default=False,
        ),
    ] = None,
    precision: Digits = Precision.float32,
    atoms: Annotated[
        int,
        typer.Option(metavar="N", help="Atoms of a process in the runs to come."),
    ] = 1000,
    check: Check = None,
) -> None:
    """Write the form of a frozen model that is fastest in MD on this machine.

    Makes what `spin-dp compress` and, where there is a C++ compiler, `spin-dp compile`
    make, times both in LAMMPS on a cell of so many atoms, and keeps the faster one. Do
    it where, or on the kind of machine where, LAMMPS runs. Example:

    spin-dp deploy run/model.pth --check data
    """
    from rich.console import Console

    from spin_dp.deployment import deploy as write_fastest

    _prepare(check)
    with Console(stderr=True).status("reading the model") as status:
        deployed = write_fastest(
            model,
            output,
            precision=precision.value,
            atoms=atoms,
            progress=status.update,
        )
    if deployed.not_compiled:
        print(f"not compiled: {deployed.not_compiled.splitlines()[0]}")
    for timing in deployed.timings:
        per_atom = f"{1e6 * timing.seconds / deployed.atoms:.3g} μs per atom and step"
        print(f"{timing.form}: {per_atom}, {deployed.atoms} atoms")
    fastest = deployed.timings[0].form
    print(f"model for MD: {deployed.file} ({fastest}, {precision.value})")
    _print_difference(model, deployed.file, check)


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

    _prepare(check)
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
    """Write a frozen model as machine code, for MD.

    The compressed model, compiled for the processor of this machine: do it where, or
    on the kind of machine where, LAMMPS runs. Needs a C++ compiler and half a minute.
    `spin-dp md` and the pair style take the file as they take others. Example:

    spin-dp compile run/model.pth --check data
    """
    from rich.console import Console

    from spin_dp.deployment import compile_model

    _prepare(check)
    with Console(stderr=True).status("compiling, half a minute"):
        written = compile_model(model, output, precision=precision.value)
    print(f"compiled model: {written} ({precision.value})")
    _print_difference(model, written, check)


def _prepare(data: Path | None) -> None:
    """Silence the libraries; refuse what is not there before the work is done."""
    from spin_dp.deployment import split_to_compare

    if data is not None:
        split_to_compare(data)
    for name in ("deepmd", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)  # hints cut the bar


def _print_difference(model: Path, written: Path, data: Path | None) -> None:
    from spin_dp.deployment import compare

    if data is None:
        return
    with progress_bar("comparing") as update:
        largest = compare(
            model,
            written,
            data,
            progress=lambda done, total: update(completed=done, total=total),
        )
    magnetic = "magnetic forces not compared"
    if largest.magnetic_force is not None:
        magnetic = f"{largest.magnetic_force:.2g} eV/μB"
    print(
        f"largest differences on {largest.frames} frames of {data}: "
        f"{largest.energy:.2g} meV/atom, {largest.force:.2g} eV/Å, "
        f"virial {largest.virial:.2g} meV/atom, {magnetic}"
    )
