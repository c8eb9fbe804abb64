# SPDX-License-Identifier: LGPL-3.0-or-later
"""How many threads a process takes, and how its memory is kept: environment variables.

Tensors are small here: one thread a process is quickest, and processes side by side do
not fight for cores. torch and deepmd-kit read the variables once, when they start.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_THREADS = (
    "OMP_NUM_THREADS",
    "DP_INTRA_OP_PARALLELISM_THREADS",
    "DP_INTER_OP_PARALLELISM_THREADS",
)
# glibc hands large blocks back to the system at once; tensors of some MB then cost page
# faults in every step, up to a fifth of the time.
_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "1000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
}


def default_to_one_thread(environment: MutableMapping[str, str] | None = None) -> None:
    """Set one thread where the user has not said how many.

    Parameters
    ----------
    environment
        Variables to complete; None: those of this process, which only counts before
        torch is imported.
    """
    variables = os.environ if environment is None else environment
    for name in _THREADS:
        variables.setdefault(name, "1")


def process_environment(threads: int | None = None) -> dict[str, str]:
    """Return the environment in which a process of small tensors is quickest.

    Parameters
    ----------
    threads
        Threads of the process; None: those of the environment, else one.

    Returns
    -------
    dict
        All variables of this process, completed.
    """
    variables = _MEMORY | os.environ
    if threads is None:
        default_to_one_thread(variables)
    else:
        variables |= dict.fromkeys(_THREADS, str(threads))
    return variables


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
