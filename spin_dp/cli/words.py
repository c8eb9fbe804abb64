# SPDX-License-Identifier: LGPL-3.0-or-later
"""How options with lists in them are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import typer

from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def listed(text: str) -> list[str]:
    """Return the words between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(option: str, text: str, *, least: int = 1) -> list[float]:
    """Return the numbers between commas.

    Raises
    ------
    typer.BadParameter
        If a word is no number, or there are too few.
    """
    try:
        found = [float(word) for word in listed(text)]
    except ValueError as error:
        raise typer.BadParameter(
            f"{option} {text!r}: expected numbers, divided by commas"
        ) from error
    if len(found) < least:
        raise typer.BadParameter(f"{option} {text!r}: expected {least} numbers or more")
    return found


def element_states(option: str, word: str) -> tuple[str, list[str]]:
    """Return ``("Ni", ["3+LS", "4+LS"])`` of ``Ni=3+LS,4+LS``.

    Raises
    ------
    typer.BadParameter
        If it is not like that.
    """
    element, equals, values = word.partition("=")
    if not (element and equals and listed(values)):
        raise typer.BadParameter(
            f"{option} {word!r}: expected an element and its states or moments, e.g. "
            "Mn=3+HS,4+"
        )
    return element.strip(), listed(values)


def pairs(option: str, text: str, kind: Callable[[str], T]) -> dict[str, T]:
    """Return ``{"zz": 0.02}`` of ``zz=0.02``; words are divided by commas or blanks.

    Raises
    ------
    ConfigError
        If a word is not like that.
    """
    found: dict[str, T] = {}
    for word in text.replace(",", " ").split():
        name, equals, value = word.partition("=")
        try:
            if not (name and equals and value):
                raise ValueError
            found[name] = kind(value)
        except ValueError as error:
            what = "STATE" if kind is str else "NUMBER"
            raise ConfigError(
                f"{option}: expected NAME={what},NAME={what}, got {word!r}."
            ) from error
    return found
