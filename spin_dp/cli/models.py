# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp models``: the models that ship with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Model whose card is printed; a list of all if left out.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """List the models that ship with spin-dp, or print the card of one.

    Their names stand for model files in all verbs. Examples:

    spin-dp models

    spin-dp models lixmo2
    """
    from rich.console import Console
    from rich.markdown import Markdown

    from spin_dp.pretrained import card

    if name is None:
        _print_list(Console())
    else:
        Console().print(Markdown(card(name)))


def _print_list(console: Console) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from spin_dp.pretrained import find_model, names

    table = Table(title="models that ship with spin-dp", box=SIMPLE_HEAD)
    for column in ("name", "elements"):
        table.add_column(column, no_wrap=True)
    for column in ("models", "MB", "frames"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("spin states", overflow="fold")
    shipped = [find_model(word) for word in names()]
    for model in shipped:
        table.add_row(
            model.name,
            " ".join(model.record["type_map"]),
            str(len(model.files)),
            f"{model.size / 1e6:.1f}",
            str(model.record["data"]["frames"]),
            ", ".join(state.name for state in model.states.states if state.is_usual),
        )
    console.print(table)
    for model in shipped:
        print(f"card: {model.card}")
