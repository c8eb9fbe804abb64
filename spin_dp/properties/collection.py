# SPDX-License-Identifier: LGPL-3.0-or-later
"""Properties of several subjects in a folder: what is done is not done again."""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pandas as pd
from ase.io.extxyz import write_extxyz
from matplotlib.figure import Figure

from spin_dp.drawing import plain, save_png
from spin_dp.errors import BackendError, SpinDPError
from spin_dp.files import replacing, write_text
from spin_dp.properties.energies import CalculatorEnergies
from spin_dp.properties.result import OF_SUBJECT
from spin_dp.properties.settings import recorded
from spin_dp.spin_states.key import slug
from spin_dp.stages import Reporter, Stage, prepare_folder, run_stages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from spin_dp.properties.registry import Property
    from spin_dp.properties.result import Result
    from spin_dp.properties.subject import Subject

_WIDTH, _HEIGHT, _COLUMNS = 5.2, 4.2, 3
_PARTS = "parts"


@dataclass(frozen=True)
class Collected:
    """What was found.

    Attributes
    ----------
    results
        By property, in the order of the subjects.
    failures
        Property, subject and reason where there is none.
    """

    results: Mapping[str, Sequence[Result]]
    failures: Sequence[tuple[str, str, str]] = field(default_factory=list)


class _Counted(Reporter):
    """Tells another reporter which of all stages one is."""

    def __init__(self, told: Reporter, number: int, total: int) -> None:
        self._told, self._number, self._total = told, number, total
        self.update = told.update  # type: ignore[method-assign]
        self.end = told.end  # type: ignore[method-assign]

    def begin(self, title: str, number: int, total: int) -> None:  # noqa: ARG002
        self._told.begin(title, self._number, self._total)


def collect_properties(
    properties: Sequence[Property],
    subjects: Sequence[Subject],
    folder: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    fresh: bool = False,
) -> Collected:
    """Calculate properties of subjects, and leave tables and pictures in a folder.

    Subjects that take the geometries of another one (:attr:`Subject.geometries_of`)
    stand behind it, and have no results of properties that keep none. Each result is
    kept in ``parts``, and not calculated again unless structure, labels, model or
    settings changed. Of each property there are ``NAME.json`` (all results),
    ``NAME.csv`` (the table), ``NAME.CURVE.csv`` and ``NAME.png``; relaxed structures in
    ``NAME.extxyz``.

    Parameters
    ----------
    properties
        Of :data:`spin_dp.properties.PROPERTIES`.
    subjects
        Structures in their spin states.
    folder
        New, empty or that of an earlier call.
    settings
        By the name of the property; defaults where there are none.
    reporter
        Told how it goes on.
    fresh
        Whether what an earlier call left is removed.

    Raises
    ------
    ConfigError
        If the folder holds other things.
    SpinDPError
        Whatever fails, if nothing else was asked for.
    """
    prepare_folder(folder, fresh=fresh)
    (folder / _PARTS).mkdir(exist_ok=True)
    told = reporter or Reporter()
    found: dict[str, list[Result]] = {one.name: [] for one in properties}
    failures: list[tuple[str, str, str]] = []
    by_subject: dict[tuple[str, int], Result] = {}
    work = [
        (subject, one)
        for subject in subjects
        for one in properties
        if subject.geometries_of is None or one.result.keeps_geometries()
    ]
    for number, (subject, one) in enumerate(work, start=1):
        chosen = (settings or {}).get(one.name) or one.settings()
        first = subject.geometries_of
        given = None if first is None else by_subject.get((one.name, id(first)))
        if first is not None and given is None:
            reason = f"{first.model} has found no geometries"
            failures.append((one.name, _title(subject), reason))
            continue
        stage = _stage(one, subject, chosen, folder / _PARTS, given)
        try:
            spent = run_stages(folder, [stage], _Counted(told, number, len(work)))
        except SpinDPError as error:
            if len(work) == 1:
                raise
            failures.append((one.name, _title(subject), str(error)))
            continue
        text = stage.products[0].read_text(encoding="utf-8")
        result = one.result.from_json(text)
        result = replace(result, seconds=spent[stage.name])
        by_subject[one.name, id(subject)] = result
        found[one.name].append(result)
    for name, results in found.items():
        if results:
            write_results(name, results, folder)
    return Collected(found, failures)


def _stage(
    one: Property,
    subject: Subject,
    settings: Any,  # noqa: ANN401 - each property has its own
    folder: Path,
    given: Result | None,
) -> Stage:
    """Return the stage of a property; of one that is given, at its geometries."""
    product = folder / f"{one.name}-{_file_name(subject)}.json"
    first = subject.geometries_of

    def run(reporter: Reporter) -> None:
        with _told_by(subject):
            if given is None:
                result = one.calculate(subject, settings, reporter.update)
            else:
                result = given.at_same_geometries(subject, reporter.update)
        write_text(product, result.to_json())

    return Stage(
        name=f"{one.name} {product.stem}",
        title=f"{one.name}: {_title(subject)}",
        run=run,
        products=[product],
        settings={
            "settings": recorded(settings),
            "subject": fingerprint(subject),
            **({} if first is None else {"geometries of": fingerprint(first)}),
            "version": version("spin-dp"),
        },
    )


@contextmanager
def _told_by(subject: Subject) -> Iterator[None]:
    """Say who failed where a calculator of others raises an error of its own."""
    try:
        yield
    except SpinDPError:
        raise
    except Exception as error:
        if not isinstance(subject.energies, CalculatorEnergies):
            raise
        raise BackendError(
            f"{subject.model} failed: {type(error).__name__}: {error}"
        ) from error


def fingerprint(subject: Subject) -> dict[str, str]:
    """Return what the results of a subject depend on, but for settings."""
    atoms = subject.atoms
    digest = hashlib.sha256(atoms.get_chemical_formula("reduce").encode())
    for array in (
        atoms.positions,
        atoms.cell.array,
        atoms.get_initial_magnetic_moments(),
    ):
        digest.update((array.round(8) + 0.0).tobytes())
    return {
        **subject.identity,
        "structure": digest.hexdigest()[:16],
        "energies": subject.energies.digest,
    }


def _title(subject: Subject) -> str:
    state = subject.spin_state.partition("#")[0]
    return f"{subject.formula} {state}, {subject.model}"


def _file_name(subject: Subject) -> str:
    name = f"{subject.formula}-{slug(subject.spin_state)}-{subject.label_mode}-"
    first = subject.geometries_of
    at = "" if first is None else f"-at-{first.model}"
    return re.sub(r"[^\w,.+~-]", "_", name + subject.model + at)


def write_results(name: str, results: Sequence[Result], folder: Path) -> None:
    """Write the files of one property, see :func:`collect_properties`."""
    texts = ",\n".join(result.to_json().strip() for result in results)
    write_text(folder / f"{name}.json", f"[\n{texts}\n]\n")
    table = pd.concat([result.table() for result in results], ignore_index=True)
    with replacing(folder / f"{name}.csv") as part:
        table.to_csv(part, index=False)
    for curve in results[0].curves():
        rows = pd.concat([_with_subject(one, curve) for one in results])
        with replacing(folder / f"{name}.{curve}.csv") as part:
            rows.to_csv(part, index=False)
    structures = []
    for one in results:
        for frame in one.frames():
            frame.info.update({key: getattr(one, key) for key in OF_SUBJECT})
            structures.append(frame)
    if structures:
        path = folder / f"{name}.extxyz"
        with replacing(path) as part, part.open("w", encoding="utf-8") as out:
            write_extxyz(out, structures)
    save_png(draw_results(results), folder / f"{name}.png")


def _with_subject(result: Result, curve: str) -> pd.DataFrame:
    table = result.curves()[curve]
    whose = {name: getattr(result, name) for name in OF_SUBJECT}
    return table.assign(**whose)[[*OF_SUBJECT, *table.columns]]


def draw_results(results: Sequence[Result]) -> Figure:
    """Draw results of one property: into one picture, or side by side."""
    if results[0].overlay:
        figure = Figure(figsize=(1.4 * _WIDTH, _HEIGHT), layout="constrained")
        axes = figure.subplots()
        for result in results:
            result.plot(axes)
        plain(axes)
        return figure
    columns = min(_COLUMNS, len(results))
    rows = -(-len(results) // columns)
    size = (_WIDTH * columns, _HEIGHT * rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, result in zip(grid, results, strict=False):
        result.plot(axes)
    for axes in grid[len(results) :]:
        axes.set_visible(False)
    return figure


def side_by_side(results: Sequence[Result]) -> pd.DataFrame:
    """Return values of one property, a row each, with a column for each result.

    Parameters
    ----------
    results
        Of one property.

    Returns
    -------
    pandas.DataFrame
        Index ``quantity`` and ``unit``; columns ``formula``, ``spin_state``,
        ``label_mode`` and ``model``, and below each ``value`` and ``spread``.
    """
    parts = {}
    for result in results:
        rows = result.table().set_index(["quantity", "unit"])
        key = tuple(getattr(result, name) for name in OF_SUBJECT)
        parts[key] = rows[["value", "spread"]]
    return pd.concat(parts, axis=1, names=list(OF_SUBJECT), sort=False)
