# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the questions can be told: ``states``, ``excitations``, ``exchange``, ``redox``.

First what several of them have, then what is one verb's own, by the panels of its help.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

_WHICH, _RELAX, _OUTPUT = "Which states", "Relax", "Output"
_SEARCH = "Search, where there are too many to try them all"
_FIT, _ORDER = "Fit", "Ordering temperature"

Structure = Annotated[
    Path,
    typer.Argument(help="Structure file of any format that ASE or pymatgen reads."),
]

Model = Annotated[
    list[Path],
    typer.Option(
        "-m",
        "--model",
        help="Model file, .pth or .pt2, or a shipped model, lixmo2; repeat it for "
        "the spread of an ensemble, whose first model decides.",
        show_default=False,
    ),
]


# Options of several verbs that mean something else in each.
_supercell = partial(typer.Option, "--supercell")
_labels = partial(
    typer.Option, "--moments", "--labels", metavar="LABELS", show_default=False
)
_states = partial(typer.Option, "--states", metavar="EL=S,S")
_relax = partial(typer.Option, "--relax", metavar="WHAT", show_default=False)

Supercell = Annotated[tuple[int, int, int], _supercell(help="Repetitions of the cell.")]

OutputFolder = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Output folder.")
]

# states

VariedElements = Annotated[
    str | None,
    typer.Option(
        "--elements",
        metavar="EL,EL",
        help="Elements whose states are varied; all with spin states if left out.",
        rich_help_panel=_WHICH,
    ),
]

TriedStates = Annotated[
    list[str] | None,
    _states(
        help="States to try, e.g. Mn=3+HS,4+, or moments in μB, Mn=3.7,1.9; repeat it "
        "for each element. All that the model knows if left out.",
        rich_help_panel=_WHICH,
    ),
]

HeldLabels = Annotated[
    str | None,
    _labels(
        help="Labels of metals that are not varied, e.g. 'Ni=2+'; what the structure "
        "carries if left out.",
        rich_help_panel=_WHICH,
    ),
]

AnyCharge = Annotated[
    bool,
    typer.Option(
        "--any-charge",
        help="Try states whose charges do not add up, too.",
        rich_help_panel=_WHICH,
    ),
]

TotalMoment = Annotated[
    float | None,
    typer.Option(
        metavar="N",
        help="Only states with so many unpaired electrons up more than down: 0 for "
        "antiferromagnets.",
        rich_help_panel=_WHICH,
        show_default=False,
    ),
]

MaxExcited = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Only states with at most so many sites off the usual state of their "
        "charge.",
        rich_help_panel=_WHICH,
        show_default=False,
    ),
]

MaxPatterns = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=1,
        help="Most assignments to evaluate; of more, likely ones.",
    ),
]

Calibration = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Calibration of these models; the one beside them if left out.",
    ),
]

Search = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="tempering (chains at temperatures from cold to hot that exchange "
        "them) or annealing (chains that cool).",
        rich_help_panel=_SEARCH,
        show_default=False,
    ),
]

SearchSweeps = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Of each chain; in each as many moves are tried as there are sites.",
        rich_help_panel=_SEARCH,
    ),
]

Chains = Annotated[
    int,
    typer.Option(metavar="N", help="Number of chains.", rich_help_panel=_SEARCH),
]

ChainTemperatures = Annotated[
    tuple[float, float],
    typer.Option(metavar="COLD HOT", help="Of the chains, K.", rich_help_panel=_SEARCH),
]

SearchSeed = Annotated[
    int, typer.Option(help="Of the random numbers.", rich_help_panel=_SEARCH)
]

RelaxLowest = Annotated[
    str | None,
    _relax(
        help="Relax the lowest states, each by itself, and rank them anew: atoms, or "
        "cell, which is both.",
        rich_help_panel=_RELAX,
    ),
]

RelaxNumber = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="How many states.", rich_help_panel=_RELAX),
]

RelaxForce = Annotated[
    float,
    typer.Option(
        metavar="EV/Å",
        help="Largest force where a relaxation ends.",
        rich_help_panel=_RELAX,
    ),
]

PrintedRows = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="Rows to print.", rich_help_panel=_OUTPUT),
]

StatesFile = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write all states to this file, .csv or .json.",
        rich_help_panel=_OUTPUT,
        show_default=False,
    ),
]

Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="PNG",
        help="Draw the energies as levels.",
        rich_help_panel=_OUTPUT,
        show_default=False,
    ),
]

StructuresFile = Annotated[
    Path | None,
    typer.Option(
        metavar="EXTXYZ",
        help="Write the structure in each printed state, with moments and names of "
        "states, for md and other programs.",
        rich_help_panel=_OUTPUT,
        show_default=False,
    ),
]

# excitations

StartLabels = Annotated[
    str | None,
    _labels(
        help="The state to start from, 'Ni=3+LS' or by atom; what the structure "
        "carries if left out.",
    ),
]

StartOrder = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Magnetic ordering of it: FM, AFM, AFM-001."),
]

SupercellOfSites = Annotated[
    tuple[int, int, int],
    _supercell(help="Repetitions of the cell: images of a site change with it."),
]

ChangeKinds = Annotated[
    str,
    typer.Option(
        metavar="KINDS",
        help="flip (a moment turns round), spin (another state of the same "
        "charge), transfer (an electron goes to another site).",
    ),
]

TransferReach = Annotated[
    float, typer.Option(metavar="Å", help="Electrons go to sites not farther away.")
]

PrintedChanges = Annotated[
    int, typer.Option(metavar="N", min=1, help="Rows to print of each kind.")
]

ChangesFile = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="CSV",
        help="Write all changes to this file.",
        show_default=False,
    ),
]

# exchange

UnsignedLabels = Annotated[
    str | None,
    _labels(
        help="Spin states, 'Mn=3+HS', or moments, 'Mn=3.7'; what the structure carries "
        "if left out. Signs do not count.",
    ),
]

ShellCutoff = Annotated[
    float,
    typer.Option(
        metavar="Å", help="Largest distance of a shell.", rich_help_panel=_FIT
    ),
]

FitSupercell = Annotated[
    tuple[int, int, int] | None,
    _supercell(
        help="Repetitions of the cell; the smallest that tells all shells well apart "
        "if left out.",
        rich_help_panel=_FIT,
    ),
]

Patterns = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=4,
        help="Number of patterns; four for each constant, 24 at least, if left out.",
        rich_help_panel=_FIT,
        show_default=False,
    ),
]

Noncollinear = Annotated[
    bool,
    typer.Option(
        "--noncollinear", help="Random directions, not signs.", rich_help_panel=_FIT
    ),
]

Biquadratic = Annotated[
    bool,
    typer.Option(
        "--biquadratic",
        help="Fit (e_i.e_j)² of each shell, too, to random directions.",
        rich_help_panel=_FIT,
    ),
]

FitSeed = Annotated[
    int, typer.Option(help="Of patterns and sampling.", rich_help_panel=_FIT)
]

Ordering = Annotated[
    bool,
    typer.Option(
        "--ordering/--no-ordering",
        help="Sample the constants by Monte Carlo.",
        rich_help_panel=_ORDER,
    ),
]

LatticeSizes = Annotated[
    str,
    typer.Option(
        metavar="L,L",
        help="Spins along each direction, two sizes or more.",
        rich_help_panel=_ORDER,
    ),
]

SpinSweeps = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Of Monte Carlo at each temperature, after a quarter of it.",
        rich_help_panel=_ORDER,
    ),
]

SpinTemperatures = Annotated[
    str | None,
    typer.Option(
        metavar="K,K",
        help="First and last of 24; around what a mean field says if left out.",
        rich_help_panel=_ORDER,
        show_default=False,
    ),
]

# redox

LeavingIon = Annotated[str, typer.Option(metavar="EL", help="Element that leaves.")]

Shares = Annotated[
    str, typer.Option(metavar="X,X", help="Shares of the ions that are left.")
]

Arrangements = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Arrangements of the vacancies at each share: the first one spread, "
        "others drawn.",
    ),
]

RedoxStates = Annotated[
    list[str] | None,
    _states(
        help="States that an element may be in, Ni=2+,3+LS,4+LS; repeat it for each. "
        "All that the model knows if left out.",
    ),
]

RelaxArrangements = Annotated[
    str | None,
    _relax(help="Relax atoms, or cell, in the lowest state of each arrangement."),
]

ArrangementSeed = Annotated[int, typer.Option(help="Of the arrangements.")]
