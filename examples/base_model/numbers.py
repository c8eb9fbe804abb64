# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tables of all pages that speak of the shipped model, made anew.

Each benchmark and example is its own command and leaves its tables as markdown; here
they run one after the other, and go into their pages (:mod:`examples.pages`). What is
said below the tables is for people to write.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from examples.pages import fill_page
from spin_dp.errors import BackendError, unknown
from spin_dp.pretrained import RECORD
from spin_dp.stages import Reporter, Stage, prepare_folder, run_stages

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
_TWIN_STEPS = "10000"


@dataclass(frozen=True)
class Numbers:
    """Tables of one page.

    Attributes
    ----------
    name
        Of its folder of results.
    page
        Below the root of the project.
    commands
        Arguments of Python, ``{frames}`` and ``{out}`` filled in, one after the other.
    tables
        Parts of the page that they leave as ``NAME.md``.
    needs
        A package without which they are left out; of DFT see :func:`make_numbers`.
    """

    name: str
    page: str
    commands: tuple[tuple[str, ...], ...]
    tables: tuple[str, ...]
    needs: str = ""

    def stage(self, frames: Path, folder: Path, model: str) -> Stage:
        """Return the stage that runs the commands and fills the page."""
        out = folder / self.name

        def run(reporter: Reporter) -> None:
            out.mkdir(parents=True, exist_ok=True)
            for done, command in enumerate(self.commands):
                reporter.update(self.name, done, len(self.commands))
                words = [word.format(frames=frames, out=out) for word in command]
                _run(words, out / "log")
            fill_page(ROOT / self.page, out)

        return Stage(
            name=self.name,
            title=self.page,
            run=run,
            products=[out / f"{table}.md" for table in self.tables],
            clears=[out],
            settings={"model": model, "commands": [list(c) for c in self.commands]},
        )


def _benchmark(name: str, *words: str) -> tuple[str, ...]:
    return ("-m", f"benchmarks.{name}", "{frames}", "-o", "{out}", *words)


def _example(name: str) -> tuple[str, ...]:
    return (f"examples/{name}/run.py", "-o", "{out}")


_CLI = ("-c", "import sys; from spin_dp.cli.app import main; sys.exit(main())")
PAGES = (
    Numbers(
        "state_order",
        "benchmarks/state_order/README.md",
        (_benchmark("state_order"),),
        ("free", "all"),
    ),
    Numbers(
        "charge_order",
        "benchmarks/charge_order/README.md",
        (_benchmark("charge_order"),),
        ("metals",),
    ),
    Numbers(
        "properties",
        "examples/properties/README.md",
        (_example("properties"),),
        ("summary",),
    ),
    Numbers(
        "migration",
        "examples/migration/README.md",
        (_example("migration"),),
        ("barriers",),
    ),
    Numbers(
        "spin_states",
        "examples/spin_states/README.md",
        (_example("spin_states"),),
        ("summary",),
    ),
    Numbers(
        "voltages",
        "benchmarks/voltages/README.md",
        (
            _benchmark("voltages"),
            (
                *(*_CLI, "init", "{out}/twin", "--data", "{out}/data", "--blind"),
                *("--steps", _TWIN_STEPS),
            ),
            (*_CLI, "train", "{out}/twin"),
            _benchmark("voltages", "--blind", "{out}/twin/model.pth"),
        ),
        ("steps", "crystals"),
    ),
    Numbers(
        "universal",
        "benchmarks/universal/README.md",
        (_benchmark("universal"),),
        ("results",),
        needs="chgnet",
    ),
)


def of_dft(python: str) -> tuple[Numbers, ...]:
    """Return what needs GPAW.

    Parameters
    ----------
    python
        Python that has it.
    """
    return tuple(
        Numbers(
            f"against_dft-{what}",
            "benchmarks/against_dft/README.md",
            (
                (
                    *("-m", "benchmarks.against_dft", what, "-o", "{out}"),
                    *("--gpaw-python", python),
                ),
            ),
            (what,),
        )
        for what in ("volumes", "gamma", "barriers")
    )


def make_numbers(
    frames: Path,
    folder: Path,
    model: Path,
    *,
    gpaw_python: str = "",
    only: str = "",
    reporter: Reporter | None = None,
) -> None:
    """Run what is not done for this model, and fill the pages.

    Parameters
    ----------
    frames
        Folder with frames.
    folder
        Gets a folder for each page; goes on there.
    model
        Folder of the shipped model.
    gpaw_python
        Python that has GPAW; without it pages that need DFT stay.
    only
        Names of pages, with commas; empty: all.
    reporter
        Told how it goes on.

    Raises
    ------
    ConfigError
        If there is no page of a name.
    BackendError
        If a command fails.
    """
    known = {
        one.name: one for one in (*PAGES, *(of_dft(gpaw_python) if gpaw_python else ()))
    }
    names = [name.strip() for name in only.split(",") if name.strip()] or list(known)
    strange = [name for name in names if name not in known]
    if strange:
        raise unknown("page", strange[0], known)
    prepare_folder(folder)
    digest = hashlib.sha256((model / RECORD).read_bytes()).hexdigest()[:16]
    stages = [
        known[name].stage(frames.resolve(), folder.resolve(), digest)
        for name in names
        if not known[name].needs or find_spec(known[name].needs) is not None
    ]
    run_stages(folder, stages, reporter or Reporter())


def _run(words: Sequence[str], log: Path) -> None:
    with log.open("a", encoding="utf-8") as out:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise BackendError(f"python {' '.join(words)}: {''.join(last)} ({log})")
