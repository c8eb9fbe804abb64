# SPDX-License-Identifier: LGPL-3.0-or-later
"""What ``spin-dp md`` can be told, by the panels of its help."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_LABELS, _ENSEMBLE, _OUTPUT, _RUN = "Labels", "Ensemble", "Output", "Run"
_START = "Start"
_WATCH = "Watch: where the model no longer knows"
_MOVES = "Labels that move"


class LabelsMove(StrEnum):
    """What becomes of labels."""

    held = "held"
    adiabatic = "adiabatic"
    monte_carlo = "monte-carlo"
    relaxed = "relaxed"


Structure = Annotated[
    Path,
    typer.Argument(help="Structure file of any format that ASE or pymatgen reads."),
]

Model = Annotated[
    list[Path],
    typer.Option(
        "-m",
        "--model",
        help="Model file, .pth or .pt2, or a shipped model, lixmo2: its ensemble, "
        "compiled at the first use. Several models, each with -m, watch how far "
        "they differ, and the first one moves the atoms.",
        show_default=False,
    ),
]

Output = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="DIR", help="Output folder."),
]

Moments = Annotated[
    str | None,
    typer.Option(
        "--moments",
        "--labels",
        metavar="LABELS",
        help="Spin states by element or atom, 'Mn=3+HS' or 'Ni=2+ Mn=-4+ 5=4+' (- "
        "for down), or moments in μB, 'Mn=3.7' or one number per atom, or a file "
        "of one or three numbers a row; what the structure carries if left out.",
        rich_help_panel=_LABELS,
    ),
]

Order = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Magnetic ordering of the supercell: FM, AFM, AFM-001; random signs or "
        "random-directions, drawn with --seed.",
        rich_help_panel=_LABELS,
    ),
]

Balance = Annotated[
    str | None,
    typer.Option(
        metavar="STATES",
        help="State that sites change to, as many as make the supercell neutral, "
        "drawn with --seed: 'Ni=4+LS'.",
        rich_help_panel=_LABELS,
        show_default=False,
    ),
]

Ensemble = Annotated[
    str, typer.Option(help="nve, nvt or npt.", rich_help_panel=_ENSEMBLE)
]

Temperature = Annotated[
    float,
    typer.Option(
        metavar="K",
        help="Of thermostat and first velocities.",
        rich_help_panel=_ENSEMBLE,
    ),
]

FinalTemperature = Annotated[
    float | None,
    typer.Option(
        metavar="K",
        help="Of the thermostat at the end, towards which it goes evenly.",
        rich_help_panel=_ENSEMBLE,
        show_default=False,
    ),
]

Steps = Annotated[int, typer.Option(help="Number of time steps.", rich_help_panel=_RUN)]

Timestep = Annotated[
    float,
    typer.Option(metavar="FS", help="Time step in fs.", rich_help_panel=_ENSEMBLE),
]

Pressure = Annotated[
    float | None,
    typer.Option(
        metavar="BAR",
        help="Of npt and of --relax cell; 0 if left out.",
        rich_help_panel=_ENSEMBLE,
    ),
]

CellChange = Annotated[
    str,
    typer.Option(
        help="What npt and --relax cell change: iso, aniso or tri.",
        rich_help_panel=_ENSEMBLE,
    ),
]

Supercell = Annotated[
    tuple[int, int, int],
    typer.Option(help="Repetitions of the cell.", rich_help_panel=_START),
]

Vacancies = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBERS",
        help="Atoms taken out of the supercell, 'Li=0.5' (a share) or 'Li=6,O=1'; "
        "labels by atom are then those of what is left.",
        rich_help_panel=_START,
        show_default=False,
    ),
]

Spread = Annotated[
    bool,
    typer.Option(
        "--spread",
        help="Take out atoms that are far from each other, not any ones.",
        rich_help_panel=_START,
    ),
]

Relax = Annotated[
    str,
    typer.Option(
        help="What is relaxed before the first step: no, atoms, or cell, which is "
        "both. With --steps 0 nothing else is done.",
        rich_help_panel=_START,
    ),
]

RelaxForce = Annotated[
    float,
    typer.Option(
        metavar="EV/Å",
        help="Largest component of a force where a relaxation ends.",
        rich_help_panel=_START,
    ),
]

Strain = Annotated[
    str | None,
    typer.Option(
        metavar="STRAIN",
        help="Strain of the cell at the end of the run, reached evenly, as "
        "'zz=0.02' or 'xx=0.01,xy=-0.01'; nve and nvt.",
        rich_help_panel=_RUN,
        show_default=False,
    ),
]

Ranks = Annotated[
    int, typer.Option(help="Number of MPI processes.", rich_help_panel=_RUN)
]

ThermoEvery = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Steps between lines of energies.",
        rich_help_panel=_OUTPUT,
    ),
]

DumpEvery = Annotated[
    int,
    typer.Option(metavar="N", help="Steps between frames.", rich_help_panel=_OUTPUT),
]

RestartEvery = Annotated[
    int,
    typer.Option(
        metavar="N", help="Steps between restart files.", rich_help_panel=_OUTPUT
    ),
]

Seed = Annotated[
    int,
    typer.Option(help="Seed of all random numbers.", rich_help_panel=_START),
]

Predict = Annotated[
    bool,
    typer.Option(
        help="Let the model predict the moments of sites that are labelled by name "
        "or not at all, in the structure to start from.",
        rich_help_panel=_LABELS,
    ),
]

HowLabelsMove = Annotated[
    LabelsMove | None,
    typer.Option(
        help="held: moments as they are at the start. adiabatic: states by name, "
        "whose moments follow the positions. monte-carlo: such states, moved "
        "between segments of the run. relaxed: moments that go to zero magnetic force "
        "there, for models that learnt no states. If left out, adiabatic where all "
        "sites are labelled by name and the model learnt states, else held.",
        rich_help_panel=_LABELS,
        show_default=False,
    ),
]

RelaxedEvery = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Steps between relaxations of moments, with --labels-move relaxed.",
        rich_help_panel=_LABELS,
    ),
]

McEvery = Annotated[
    int,
    typer.Option(metavar="N", help="Steps between visits.", rich_help_panel=_MOVES),
]

McTrials = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Moves tried in a visit; one for each site if left out.",
        rich_help_panel=_MOVES,
        show_default=False,
    ),
]

McMoves = Annotated[
    str,
    typer.Option(
        metavar="KINDS",
        help="exchange (states of two sites of an element), flip, spin (another "
        "state of the same charge), transfer (an electron goes to another site), "
        "rotate, vacancy (an alkali ion goes to an empty octahedron), antisite (it "
        "changes places with a metal); with shares, 'exchange=2,flip'.",
        rich_help_panel=_MOVES,
    ),
]

McReach = Annotated[
    float,
    typer.Option(
        metavar="Å",
        help="Exchanges and transfers are between sites not farther apart.",
        rich_help_panel=_MOVES,
    ),
]

McStates = Annotated[
    str | None,
    typer.Option(
        metavar="STATES",
        help="States that sites may be in, 'Ni=3+LS,4+LS Mn=4+'; all whose charge "
        "is known if left out.",
        rich_help_panel=_MOVES,
        show_default=False,
    ),
]

McTemperature = Annotated[
    float | None,
    typer.Option(
        metavar="K",
        help="Of the moves; that of the run if left out.",
        rich_help_panel=_MOVES,
        show_default=False,
    ),
]

WatchEvery = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Steps between looks at the limits below; with several models each "
        "costs an evaluation of all.",
        rich_help_panel=_WATCH,
    ),
]

ForceLimits = Annotated[
    tuple[float, float],
    typer.Option(
        metavar="LOW HIGH",
        help="Of the largest deviation of a force between models, eV/Å: worth a "
        "calculation by DFT above LOW, stop above HIGH.",
        rich_help_panel=_WATCH,
    ),
]

MagneticLimits = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="LOW HIGH",
        help="The same of magnetic forces, eV/μB, for models that were trained on "
        "them; they do not count if left out.",
        rich_help_panel=_WATCH,
    ),
]

Shortest = Annotated[
    float | None,
    typer.Option(
        metavar="Å",
        help="Shortest distance of two atoms; 0.8 of that of their elements in the "
        "model's training data, at least 1 Å, if left out.",
        rich_help_panel=_WATCH,
    ),
]

MaxTemperature = Annotated[
    float | None,
    typer.Option(
        metavar="K",
        help="Highest temperature; if left out, twice that of the thermostat, its "
        "fluctuations and 300 K, and none in nve.",
        rich_help_panel=_WATCH,
    ),
]

NoStop = Annotated[
    bool,
    typer.Option(
        "--no-stop",
        help="Go on where a limit is exceeded, and only say so.",
        rich_help_panel=_WATCH,
    ),
]

DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Write the input deck and stop.", rich_help_panel=_RUN
    ),
]
