# SPDX-License-Identifier: LGPL-3.0-or-later
"""What ``spin-dp run`` can be told, by the panels of its help."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_STATES, _WHO, _HOW = "Spin states", "What gives energies", "How"


class Mode(StrEnum):
    """What labels are while atoms move."""

    adiabatic = "adiabatic"
    held = "held"


Names = Annotated[
    str | None,
    typer.Argument(
        metavar="PROPERTY",
        help="One, several with commas, or all; --list shows them.",
        show_default=False,
    ),
]

Structure = Annotated[
    Path | None,
    typer.Argument(
        help="Structure file of any format that ASE or pymatgen reads.",
        show_default=False,
    ),
]

ListThem = Annotated[
    bool,
    typer.Option("--list", help="List properties and their settings, and stop."),
]

Models = Annotated[
    list[Path] | None,
    typer.Option(
        "-m",
        "--model",
        help="Model file, .pth or .pt2, or a shipped model, lixmo2: its ensemble, "
        "compiled at the first use. Several, each with -m, are an ensemble: the first "
        "answers, all give ±.",
        show_default=False,
        rich_help_panel=_WHO,
    ),
]

Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Compare with it: another model; gpaw, at the level of the shipped "
        "frames, or a TOML file of DFT settings; module:Class of an ASE calculator. "
        "Repeat it for more.",
        show_default=False,
        rich_help_panel=_WHO,
    ),
]

SinglePoints = Annotated[
    bool,
    typer.Option(
        "--single-points",
        help="Energies of --against at the geometries of the model, where nothing "
        "relaxes anew: minutes of DFT in the place of hours (relaxation, eos, "
        "barrier, defect, surface, voltage).",
        rich_help_panel=_WHO,
    ),
]

Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels",
        "--moments",
        metavar="LABELS",
        help="Spin state, 'Ni=3+LS', or moments, 'Mn=3.7'; repeat it for several. What "
        "the structure carries if left out.",
        show_default=False,
        rich_help_panel=_STATES,
    ),
]

Order = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Magnetic ordering of the labels: FM, AFM, AFM-001.",
        rich_help_panel=_STATES,
        show_default=False,
    ),
]

Lowest = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="The lowest N spin states at the given positions, in the place of labels.",
        rich_help_panel=_STATES,
        show_default=False,
    ),
]

LabelMode = Annotated[
    Mode | None,
    typer.Option(
        help="adiabatic: sites stay in their states, moments follow the positions. "
        "held: moments stay. If left out, adiabatic where all sites are labelled by "
        "name and the model learnt states.",
        rich_help_panel=_STATES,
        show_default=False,
    ),
]

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the property, points=11; of one of several, eos.points=11. "
        "Repeat it.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]

Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Output folder; what is there is not calculated again. properties-FILE "
        "if left out.",
        show_default=False,
        rich_help_panel=_HOW,
    ),
]

Page = Annotated[
    bool,
    typer.Option(
        "--report/--no-report",
        help="Write report.html, which collects all properties of the folder.",
        rich_help_panel=_HOW,
    ),
]

Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh", help="Remove what an earlier run left.", rich_help_panel=_HOW
    ),
]
