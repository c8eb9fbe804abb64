# SPDX-License-Identifier: LGPL-3.0-or-later
"""The ``spin-dp`` application: collects the verbs and turns errors into one line."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from spin_dp.cli.analyse import analyse
from spin_dp.cli.collect import collect
from spin_dp.cli.demo import demo
from spin_dp.cli.deployment import compile_for_here, compress, deploy
from spin_dp.cli.diffusion import diffusion
from spin_dp.cli.exchange import exchange
from spin_dp.cli.excitations import excitations
from spin_dp.cli.init import init
from spin_dp.cli.learn import learn
from spin_dp.cli.md import md
from spin_dp.cli.merge import merge
from spin_dp.cli.models import models
from spin_dp.cli.redox import redox
from spin_dp.cli.report import report
from spin_dp.cli.run import run
from spin_dp.cli.select import select
from spin_dp.cli.states import states
from spin_dp.cli.test import measure
from spin_dp.cli.train import train
from spin_dp.errors import SpinDPError
from spin_dp.threads import default_to_one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INTERRUPTED = 130  # 128 and the number of SIGINT

app = typer.Typer(
    name="spin-dp",
    help="Spin-aware Deep Potentials for transition-metal oxide cathodes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"spin-dp {version('spin-dp')}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print version."
        ),
    ] = False,
) -> None:
    """Spin-aware Deep Potentials for transition-metal oxide cathodes."""


_VERBS: dict[str, dict[str, Callable[..., None]]] = {
    "First steps": {"demo": demo},
    "Data": {"collect": collect, "report": report, "select": select, "merge": merge},
    "Model": {
        "models": models,
        "init": init,
        "train": train,
        "test": measure,
        "learn": learn,
        "deploy": deploy,
        "compress": compress,
        "compile": compile_for_here,
    },
    "Simulation": {"md": md, "analyse": analyse, "diffusion": diffusion},
    "Questions": {
        "states": states,
        "excitations": excitations,
        "exchange": exchange,
        "redox": redox,
        "run": run,
    },
}
"""Panels of the help, in the order of the work."""

for _panel, _verbs in _VERBS.items():
    for _name, _verb in _verbs.items():
        app.command(_name, rich_help_panel=_panel)(_verb)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        Arguments without the program name; the process's own when None.

    Returns
    -------
    int
        0 done, 1 a :class:`spin_dp.errors.SpinDPError`, 2 wrong usage, 3 a run that
        was stopped where it left what the model knows.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    default_to_one_thread()
    try:
        app(args=arguments)  # leaves by SystemExit, also when all is well
    except SystemExit as leaving:
        if leaving.code == _INTERRUPTED:
            print("spin-dp: interrupted; the same command goes on", file=sys.stderr)
        return leaving.code if isinstance(leaving.code, int) else 0
    except SpinDPError as error:
        if "--debug" in arguments:
            raise
        print(f"spin-dp: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if "--debug" in arguments or error.filename is None:
            raise
        print(f"spin-dp: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0
