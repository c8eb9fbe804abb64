# SPDX-License-Identifier: LGPL-3.0-or-later
"""Results of one property beside each other, as text for terminal and page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spin_dp.properties.result import Result


def headings(results: Sequence[Result]) -> list[str]:
    """Return the heading of each result: what sets it apart from the others."""
    several_modes = len({one.label_mode for one in results if one.label_mode != "free"})
    several_formulas = len({one.formula for one in results})
    found = []
    for one in results:
        words = [one.spin_state.partition("#")[0], one.model]
        if several_formulas > 1:
            words.insert(0, one.formula)
        if several_modes > 1:
            words.append(one.label_mode)
        found.append("\n".join(words))
    # Two orderings of one set of states differ by their tags.
    if len(set(found)) < len(found):
        found = [
            f"{head}\n#{one.spin_state.partition('#')[2]}"
            for head, one in zip(found, results, strict=True)
        ]
    return found


def cells(results: Sequence[Result]) -> Iterator[tuple[str, list[str]]]:
    """Go through the values: name with unit, and what each result has, with ±.

    The last row is the time that each took, where it is known.
    """
    for one in results[0].values():
        unit, name, digits = (one.metadata[key] for key in ("unit", "name", "digits"))
        row = [
            _number(
                float(getattr(result, one.name)),
                (result.spread or {}).get(one.name),
                digits,
            )
            for result in results
        ]
        yield f"{name}, {unit}" if unit else name, row
    if any(one.seconds is not None for one in results):
        times = (math.nan if one.seconds is None else one.seconds for one in results)
        yield "time, s", [_number(seconds, None, 1) for seconds in times]


def remarks(results: Sequence[Result]) -> list[str]:
    """Return what must be known of results, a sentence each."""
    said = []
    if any(one.spread for one in results):
        said.append("±: standard deviation over the models of the ensemble")
    said += [
        f"{one.spin_state}, {one.model}: becomes {one.becomes}"
        for one in results
        if one.becomes
    ]
    said += [
        f"{one.spin_state}, {one.model}: at the geometries of {one.geometries}"
        for one in results
        if one.geometries
    ]
    for one in results:
        said += [f"{one.spin_state}, {one.model}: {text}" for text in one.remarks()]
    return said


def _number(number: float, spread: float | None, digits: int) -> str:
    if not math.isfinite(number):
        return "-"
    text = f"{number:.{digits}f}"
    if spread is not None and math.isfinite(spread):
        text += f" ± {spread:.{digits}f}"
    return text
