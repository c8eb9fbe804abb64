# SPDX-License-Identifier: LGPL-3.0-or-later
"""One page of all properties in a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spin_dp.drawing import styled, to_svg
from spin_dp.errors import DataError
from spin_dp.files import write_text
from spin_dp.properties.collection import draw_results
from spin_dp.properties.registry import PROPERTIES
from spin_dp.properties.tables import cells, headings, remarks
from spin_dp.report import html

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spin_dp.properties.registry import Property
    from spin_dp.properties.result import Result

PAGE = "report.html"


@dataclass(frozen=True)
class _Part:
    name: str
    title: str
    about: str
    remarks: list[str]
    table: html.Table
    svg: str


def read_results(folder: Path) -> dict[str, list[Result]]:
    """Return the results in a folder of ``spin-dp run``, by property.

    Raises
    ------
    DataError
        If a file holds something else.
    """
    found: dict[str, list[Result]] = {}
    for name, one in PROPERTIES.items():
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            texts = [json.dumps(result) for result in content]
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: not a list of results ({error})") from error
        found[name] = [one.result.from_json(text) for text in texts]
    return found


def write_page(
    folder: Path, structure: str, failures: Sequence[tuple[str, str, str]] = ()
) -> Path:
    """Write ``report.html`` of all properties in a folder; return its path.

    Parameters
    ----------
    folder
        Of :func:`spin_dp.properties.collection.collect_properties`.
    structure
        What the page is called after.
    failures
        Property, subject and reason of what is missing.

    Raises
    ------
    DataError
        If a file of results cannot be read.
    """
    results = read_results(folder)
    every = [one for group in results.values() for one in group]
    with styled():
        parts = [_part(PROPERTIES[name], group) for name, group in results.items()]
    text = html.render(
        "spin_dp.properties",
        "properties.html.j2",
        structure=structure,
        summary=[
            ("formula", ", ".join(dict.fromkeys(one.formula for one in every))),
            (
                "spin states",
                ", ".join(
                    dict.fromkeys(one.spin_state.partition("#")[0] for one in every)
                ),
            ),
            ("energies of", ", ".join(dict.fromkeys(one.model for one in every))),
            ("labels", ", ".join(dict.fromkeys(one.label_mode for one in every))),
        ],
        warnings=[f"No {name} of {who}: {why}" for name, who, why in failures],
        parts=parts,
    )
    path = folder / PAGE
    write_text(path, text)
    return path


def _part(one: Property, results: Sequence[Result]) -> _Part:
    heads = [head.replace("\n", ", ") for head in headings(results)]
    table = html.Table(
        header=["", *heads],
        rows=[[name, *row] for name, row in cells(results)],
        words=[0],
        hidden=0,
    )
    return _Part(
        name=one.name,
        title=one.name.capitalize() if one.name.islower() else one.name,
        about=one.about[0].upper() + one.about[1:],
        remarks=remarks(results),
        table=table,
        svg=to_svg(draw_results(results), one.name, one.about),
    )
