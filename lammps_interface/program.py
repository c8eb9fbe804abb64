# SPDX-License-Identifier: LGPL-3.0-or-later
"""Find the LAMMPS and MPI programs and the environment to start them in."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from spin_dp.errors import BackendError, ConfigError

INSTALL_HINT = 'pip install "deepmd-kit[torch,lmp]" nvidia-cuda-runtime-cu12'

_THREADS = (
    "OMP_NUM_THREADS",
    "DP_INTRA_OP_PARALLELISM_THREADS",
    "DP_INTER_OP_PARALLELISM_THREADS",
)


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


def lammps_command(deck: str, *, ranks: int = 1) -> list[str]:
    """Return the command that runs an input deck.

    Parameters
    ----------
    deck
        Name of the deck.
    ranks
        Number of MPI processes.

    Returns
    -------
    list of str
        Program and arguments; the deck opens its own log file.

    Raises
    ------
    ConfigError
        If the number of processes is not positive.
    BackendError
        If LAMMPS, or for several processes an MPI launcher, is not found.
    """
    if ranks < 1:
        raise ConfigError(f"ranks: expected a positive integer, got {ranks}")
    lmp = find_program("lmp")
    if lmp is None:
        raise BackendError(
            "LAMMPS (the program lmp) was found neither beside "
            f"{sys.executable} nor on the PATH. Install it: {INSTALL_HINT}"
        )
    command = [str(lmp), "-in", deck, "-log", "none"]
    if ranks == 1:
        return command
    launcher = find_program("mpirun", "mpiexec")
    if launcher is None:
        raise BackendError(
            f"ranks={ranks} needs mpirun or mpiexec, found neither beside "
            f"{sys.executable} nor on the PATH. Install it: pip install mpich, "
            "or run with ranks=1"
        )
    return [str(launcher), "-n", str(ranks), *command]


def lammps_environment() -> dict[str, str]:
    """Return the environment for LAMMPS: one thread a process unless the user says."""
    environment = dict(os.environ)
    for name in _THREADS:
        environment.setdefault(name, "1")
    # glibc hands large blocks back to the system at once: page faults in every step.
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", "1000000000")
    environment.setdefault("MALLOC_TRIM_THRESHOLD_", "2000000000")
    return environment
