# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp run``: properties of a structure in its spin states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from spin_dp.cli import run_options as options  # noqa: TC001 (typer reads it)
from spin_dp.cli.question_options import Supercell  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from spin_dp.inference.predictor import SpinDP
    from spin_dp.properties import Property, Result, Subject
    from spin_dp.properties.energies import LabelMode as How

_ALL = "all"


def run(
    properties: options.Names = None,
    structure: options.Structure = None,
    list_them: options.ListThem = False,
    model: options.Models = None,
    against: options.Against = None,
    single_points: options.SinglePoints = False,
    labels: options.Labels = None,
    order: options.Order = None,
    lowest: options.Lowest = None,
    label_mode: options.LabelMode = None,
    supercell: Supercell = (1, 1, 1),
    settings: options.Settings = None,
    output: options.Output = None,
    report: options.Page = True,
    fresh: options.Fresh = False,
) -> None:
    r"""Calculate properties of a structure in one or several spin states.

    Examples
    --------
    spin-dp run --list

    spin-dp run elasticity LiNiO2.cif -m lixmo2 --labels Ni=3+LS --labels Ni=3+HS

    spin-dp run relaxation,eos LiMnO2.cif -m lixmo2 --labels Mn=3+HS --against gpaw

    spin-dp run eos,barrier LiCoO2.cif -m lixmo2 --against gpaw --single-points

    spin-dp run all LiCoO2.cif -m lixmo2 --lowest 3 -o LiCoO2
    """
    from spin_dp.properties import PROPERTIES, find_property
    from spin_dp.structures import read_structure, repeated

    if list_them:
        _print_list(properties)
        return
    if properties is None or structure is None or not model:
        raise typer.BadParameter(
            "expected a property, a structure and a model: spin-dp run relaxation "
            "LiNiO2.cif -m lixmo2 (spin-dp run --list shows the properties)"
        )
    if lowest is not None and labels:
        raise typer.BadParameter("give --labels or --lowest, not both")
    if single_points and not against:
        raise typer.BadParameter(
            "--single-points: expected --against, which says what gives the energies"
        )
    names = [word.strip() for word in properties.split(",") if word.strip()]
    everything = names == [_ALL]
    asked = list(PROPERTIES.values() if everything else map(find_property, names))
    chosen = _settings(asked, settings or [])
    atoms = repeated(read_structure(structure), supercell)
    if everything:
        asked = [one for one in asked if one.suits(atoms.get_chemical_symbols())]
    if single_points:
        _check_geometries(asked, everything=everything)
    folder = output or Path(f"properties-{structure.stem}")
    _calculate(
        asked,
        chosen,
        folder,
        atoms,
        title=structure.name,
        models=model,
        against=against or [],
        single_points=single_points,
        labels=labels,
        order=order,
        lowest=lowest,
        label_mode=label_mode,
        report=report,
        fresh=fresh,
    )


def _calculate(
    asked: Sequence[Property],
    chosen: dict[str, Any],
    folder: Path,
    atoms: Atoms,
    *,
    title: str,
    models: list[Path],
    against: list[str],
    single_points: bool,
    labels: list[str] | None,
    order: str | None,
    lowest: int | None,
    label_mode: options.Mode | None,
    report: bool,
    fresh: bool,
) -> None:
    from rich.console import Console

    from spin_dp.cli.display import notes, progress_bar, stage_bars
    from spin_dp.properties.collection import collect_properties

    err = Console(stderr=True)
    with progress_bar("loading the model"), notes(err, "spin_dp.deployment"):
        from spin_dp.deployment import fast_models
        from spin_dp.inference.predictor import SpinDP

        opened = SpinDP(fast_models(models))
        subjects = _subjects(
            atoms,
            opened,
            [str(word) for word in models],
            against,
            folder / "dft",
            single_points=single_points,
            labels=labels,
            order=order,
            lowest=lowest,
            label_mode=cast("How | None", label_mode and label_mode.value),
        )
    with stage_bars() as reporter, notes(err, "spin_dp.properties"):
        found = collect_properties(
            asked, subjects, folder, settings=chosen, reporter=reporter, fresh=fresh
        )
    for results in found.results.values():
        if results:
            _print(results)
    print(f"tables and pictures: {folder}")
    if report:
        from spin_dp.properties.page import write_page

        print(f"page: {write_page(folder, title, found.failures)}")
    for name, subject, reason in found.failures:
        err.print(f"spin-dp: no {name} of {subject}: {reason}", markup=False)
    if found.failures:
        raise typer.Exit(1)


def _check_geometries(asked: Sequence[Property], *, everything: bool) -> None:
    """Refuse, or of all say, what others cannot give at the model's geometries."""
    from rich.console import Console

    from spin_dp.errors import ConfigError

    names = ", ".join(one.name for one in asked if not one.result.keeps_geometries())
    if not names:
        return
    if not everything:
        raise ConfigError(
            f"--single-points: {names}: no geometries are kept for others; ask for "
            "that without it, in a run of its own."
        )
    Console(stderr=True).print(
        f"spin-dp: --single-points: {names}: of the model only, no geometries are kept",
        markup=False,
    )


def _subjects(
    atoms: Atoms,
    model: SpinDP,
    words: list[str],
    against: list[str],
    dft: Path,
    *,
    single_points: bool,
    labels: list[str] | None,
    order: str | None,
    lowest: int | None,
    label_mode: How | None,
) -> list[Subject]:
    """Return the subjects of all spin states: the model's, then those of others."""
    from spin_dp.properties import Subject
    from spin_dp.properties.rivals import model_name, rival

    starts: list[tuple[Atoms, str | None]] = [
        (atoms, one)
        for one in (labels or [None])  # type: ignore[list-item]
    ]
    if lowest is not None:
        from spin_dp.search import rank_states, ranked_frames

        table = rank_states(atoms, model)
        starts = [(frame, None) for frame in ranked_frames(atoms, table, lowest)]
    subjects = []
    for start, one in starts:
        first = Subject.of_model(
            start,
            model,
            one,
            order=order,
            label_mode=label_mode,
            name=model_name(words),
        )
        others = [
            rival(
                word,
                start,
                one,
                order=order,
                label_mode=label_mode,
                states=model.states,
                folder=dft,
            )
            for word in against
        ]
        if single_points:
            others = [replace(other, geometries_of=first) for other in others]
        subjects += [first, *others]
    return subjects


def _settings(asked: Sequence[Property], words: list[str]) -> dict[str, Any]:
    """Return the settings of each property; a word without a name goes to all."""
    from spin_dp.errors import ConfigError
    from spin_dp.properties.settings import described, parse

    own: dict[str, list[str]] = {one.name: [] for one in asked}
    known = {one.name: {row[0] for row in described(one.settings)} for one in asked}
    for word in words:
        key = word.partition("=")[0].strip().replace("-", "_")
        name, dot, _ = key.partition(".")
        if dot and name not in own:
            raise ConfigError(
                f"--set {word}: {name} is not asked for; asked for: {', '.join(own)}."
            )
        if dot:
            own[name].append(word.partition(".")[2])
            continue
        takers = [name for name in own if key in known[name]]
        # One that nobody knows is told by the first property.
        for name in takers or list(own)[:1]:
            own[name].append(word)
    return {one.name: parse(one.settings, own[one.name], of=one.name) for one in asked}


def _print_list(only: str | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from spin_dp.properties import PROPERTIES, find_property
    from spin_dp.properties.settings import described

    chosen = PROPERTIES.values() if only in (None, _ALL) else [find_property(str(only))]
    table = Table(box=SIMPLE_HEAD, title="properties and their settings (--set)")
    for name in ("", "default", "about"):
        table.add_column(name, overflow="fold")
    for one in chosen:
        table.add_row(f"[bold]{one.name}[/]", "", f"[bold]{one.about}[/]")
        for name, default, about in described(one.settings):
            table.add_row(f"  {name}", default, about)
        table.add_section()
    Console().print(table)


def _print(results: Sequence[Result]) -> None:
    """Print the values of one property, a column for each subject."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from spin_dp.properties.tables import cells, headings, remarks

    shown = Table(
        title=f"{results[0].name} of {results[0].formula}",
        box=SIMPLE_HEAD,
        caption="\n".join(remarks(results)) or None,
    )
    shown.add_column("", overflow="fold", min_width=16)
    for heading in headings(results):
        shown.add_column(heading, justify="right", overflow="fold")
    for name, row in cells(results):
        shown.add_row(name, *row)
    Console().print(shown)
