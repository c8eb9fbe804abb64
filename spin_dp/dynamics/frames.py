# SPDX-License-Identifier: LGPL-3.0-or-later
"""The frames of a run, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ase.io

from spin_dp.errors import DataError
from spin_dp.lammps_interface.job import TRAJECTORY_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ase import Atoms


def trajectory_of(run: Path) -> Path:
    """Return the trajectory of a run.

    Parameters
    ----------
    run
        Output folder of ``spin-dp md``, or a trajectory in extended XYZ.

    Raises
    ------
    DataError
        If there is none.
    """
    path = run / TRAJECTORY_FILE if run.is_dir() else run
    if not path.is_file():
        raise DataError(
            f"{path}: no such trajectory; give the output folder of spin-dp md, which "
            f"has {TRAJECTORY_FILE} once the run has ended."
        )
    return path


def read_trajectory(
    run: Path, progress: Callable[[int], None] | None = None
) -> Iterator[Atoms]:
    """Go through the frames of a run, one at a time.

    Parameters
    ----------
    run
        As for :func:`trajectory_of`.
    progress
        Called with the number of frames read.

    Raises
    ------
    DataError
        If there is no trajectory, or it cannot be read.
    """
    path = trajectory_of(run)
    frames = ase.io.iread(path, index=":", format="extxyz")
    number = 0
    while True:
        try:
            atoms = next(frames)
        except StopIteration:
            return
        except Exception as error:  # ASE's reader raises what it likes
            raise DataError(
                f"{path}: frame {number} cannot be read as extended XYZ ({error})."
            ) from error
        number += 1
        yield atoms
        if progress is not None:
            progress(number)


def time_of(atoms: Atoms) -> float | None:
    """Return the time of a frame of a run, ps; None where it says none."""
    time = atoms.info.get("time_fs")
    return None if time is None else float(time) * 1e-3
