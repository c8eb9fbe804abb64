# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp states``: which spin state of a structure is lowest."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (typer reads the annotations)
from typing import TYPE_CHECKING, cast

import typer

from spin_dp.cli import question_options as options  # noqa: TC001 (typer reads it)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.search import SearchResult
    from spin_dp.search.chains import Method
    from spin_dp.search.relaxed import Relaxed


_WIDE = 100  # columns of a terminal


def states(
    structure: options.Structure,
    model: options.Model,
    elements: options.VariedElements = None,
    states: options.TriedStates = None,
    moments: options.HeldLabels = None,
    any_charge: options.AnyCharge = False,
    total_moment: options.TotalMoment = None,
    max_excited: options.MaxExcited = None,
    supercell: options.Supercell = (1, 1, 1),
    max_patterns: options.MaxPatterns = 4096,
    calibration: options.Calibration = None,
    search: options.Search = None,
    sweeps: options.SearchSweeps = 100,
    chains: options.Chains = 8,
    temperatures: options.ChainTemperatures = (50.0, 3000.0),
    seed: options.SearchSeed = 1,
    relax: options.RelaxLowest = None,
    relax_number: options.RelaxNumber = 5,
    relax_force: options.RelaxForce = 0.02,
    top: options.PrintedRows = 20,
    output: options.StatesFile = None,
    plot: options.Plot = None,
    structures: options.StructuresFile = None,
) -> None:
    r"""Rank the spin states of a structure by energy, at fixed positions.

    Examples
    --------
    spin-dp states LiNiO2.cif -m lixmo2 --supercell 2 2 1

    spin-dp states LiMnO2.cif -m lixmo2 --states Mn=3+HS --total-moment 0 \
        --plot ladder.png --structures lowest.extxyz

    spin-dp states NMC.cif -m lixmo2 --supercell 3 3 1 --search tempering -o nmc.csv
    """
    from rich.console import Console

    from spin_dp.cli.display import notes, progress_bar
    from spin_dp.cli.words import element_states, listed
    from spin_dp.files import replacing
    from spin_dp.structures import read_structure, repeated

    _check_output(output)
    if search and (any_charge or total_moment is not None or max_excited is not None):
        raise typer.BadParameter(
            "--search keeps the cell neutral, and nothing else: leave out "
            "--any-charge, --total-moment and --max-excited"
        )
    atoms = repeated(read_structure(structure), supercell)
    names = None if elements is None else listed(elements)
    chosen = dict(element_states("--states", word) for word in states or ())
    result = None
    with (
        progress_bar("loading the model") as show,
        notes(Console(stderr=True), "spin_dp.search"),
    ):
        from spin_dp.inference.predictor import SpinDP
        from spin_dp.search import (
            SearchSettings,
            draw_ladder,
            rank_states,
            ranked_frames,
            relax_states,
            search_states,
        )

        opened = SpinDP(model, calibration=calibration)
        show(description="evaluating spin states")
        if search:
            result = search_states(
                atoms,
                opened,
                names,
                states=chosen,
                moments=moments,
                settings=SearchSettings(
                    method=cast("Method", search),
                    sweeps=sweeps,
                    chains=chains,
                    coldest=temperatures[0],
                    hottest=temperatures[1],
                    seed=seed,
                ),
                checkpoint=output and output.with_suffix(".search.json"),
                progress=lambda done, number, lowest: show(
                    completed=done, total=number, description=f"{lowest:.3f} eV"
                ),
            )
            table = result.table
        else:
            table = rank_states(
                atoms,
                opened,
                names,
                states=chosen,
                moments=moments,
                any_charge=any_charge,
                total_moment=total_moment,
                max_excited=max_excited,
                max_patterns=max_patterns,
                progress=lambda done, number: show(completed=done, total=number),
            )
        relaxed = None
        if relax:
            relaxed = relax_states(
                atoms,
                opened,
                table,
                relax_number,
                what=cast("Relaxed", relax),
                max_force=relax_force,
                progress=lambda done, number: show(
                    description="relaxing", completed=done, total=number
                ),
            )
    _print(table, str(atoms.get_chemical_formula()), top, any_charge=any_charge)
    if relaxed is not None:
        _print_relaxed(relaxed[0], relax_force)
    if result is not None:
        _print_search(result)
    if output is not None:
        _write(table, output)
        if result is not None:
            history = output.with_suffix(".search.csv")
            with replacing(history) as part:
                result.history.to_csv(part, index=False)
            print(f"sweep by sweep: {history}")
        print(f"all {len(table)} states: {output}")
    if output is not None and relaxed is not None:
        path = output.with_suffix(".relaxed.csv")
        with replacing(path) as part:
            relaxed[0].to_csv(part, index=False)
        print(f"relaxed: {path}")
    if plot is not None:
        draw_ladder(table, plot)
        print(f"levels: {plot}")
    if structures is not None:
        frames = ranked_frames(atoms, table, top) if relaxed is None else relaxed[1]
        _write_frames(frames, structures)
        print(f"structures: {structures}")


def _print_relaxed(table: pd.DataFrame, force: float) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    changes = bool(table["becomes"].any())
    shown = Table(
        title="relaxed, lowest first",
        box=SIMPLE_HEAD,
        caption="ΔE per formula unit, before and after; V per formula unit"
        + ("; →: what a state becomes that does not hold" if changes else ""),
    )
    shown.add_column("#", justify="right")
    shown.add_column("state", overflow="fold", min_width=24)
    shown.add_column("order")
    for name in ("before/meV", "ΔE/meV", "V/Å³"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in table.to_dict("records"):
        shown.add_row(
            str(row["rank"]),
            _untagged(row["state"])
            + (f"\n→ {_untagged(row['becomes'])}" if row["becomes"] else ""),
            str(row["order"]),
            f"{row['vertical']:.1f}",
            f"{row['above_lowest']:.1f}",
            f"{row['volume_per_fu']:.2f}",
        )
    Console().print(shown)
    if not table["converged"].all():
        left = ", ".join(str(k) for k in table.loc[~table["converged"], "rank"])
        print(f"not relaxed to {force:g} eV/Å: {left}")


def _print_search(result: SearchResult) -> None:
    """Say how sure the lowest state is."""
    shares = ", ".join(f"{kind} {x:.0%}" for kind, x in result.accepted.items())
    print(f"accepted: {shares}")
    sweeps = len(result.history)
    print(f"lowest since sweep {result.found_at + 1} of {sweeps}")
    if 2 * (result.found_at + 1) > sweeps:
        print("that is late: search longer (--sweeps), or with other seeds (--seed)")


def _check_output(output: Path | None) -> None:
    if output is not None and output.suffix not in (".csv", ".json"):
        raise typer.BadParameter(
            f"--output {output}: expected a file .csv or .json, got {output.suffix!r}"
        )


def _write(table: pd.DataFrame, output: Path) -> None:
    from spin_dp.files import replacing

    with replacing(output) as temporary:
        if output.suffix == ".json":
            rows = table.assign(moments=table["moments"].map(lambda m: m.tolist()))
            rows.to_json(temporary, orient="records", indent=1)
        else:
            texts = table["moments"].map(_moments_text)
            table.assign(moments=texts).to_csv(temporary, index=False)


def _write_frames(frames: list[Atoms], path: Path) -> None:
    from ase.io.extxyz import write_extxyz

    from spin_dp.files import replacing

    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as out:
        write_extxyz(out, frames)


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
    console = Console()
    # What everybody wants to see comes first in a narrow window.
    has_groups = console.width >= _WIDE and bool(
        (~head["space_group"].str.match(r"1\.|$")).any()
    )
    shown = Table(
        title=f"spin states of {formula}, lowest first",
        box=SIMPLE_HEAD,
        caption="E and ΔE per formula unit; M: total moment"
        + ("; |F_m|: largest magnetic force, eV/μB" if has_force else "")
        + (f"; ±: {table.attrs['interval']}" if has_spread else "")
        + ("; group: magnetic space group (BNS)" if has_groups else "")
        + ("; q: charge of the cell" if any_charge else "")
        + ("; ×: equal by symmetry" if has_twins else "")
        + ("; →: what a state becomes that does not hold" if changes else ""),
    )
    shown.add_column("#", justify="right")
    shown.add_column("state", overflow="fold", min_width=24)
    shown.add_column("order")
    if has_groups:
        shown.add_column("group", no_wrap=True)
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
            *([str(row.space_group)] if has_groups else []),
            *([f"{row.charge:+.0f}"] if any_charge else []),
            f"{row.total_moment:+.2f}",
            f"{row.energy_per_fu:.4f}",
            f"{row.above_lowest:.1f}"
            + (f" ± {row.above_lowest_interval:.1f}" if has_spread else ""),
            *([f"{row.max_magnetic_force:.2f}"] if has_force else []),
            *([str(row.degeneracy)] if has_twins else []),
        )
    console.print(shown)
    lowest = table.iloc[0]
    console.print(f"lowest: --moments '{lowest['labels']}'", soft_wrap=True)
    if len(table) > top:
        console.print(f"{len(table) - top} more; --top {len(table)} shows all.")
