# SPDX-License-Identifier: LGPL-3.0-or-later
"""The errors that spin-dp raises on purpose.

SpinDPError
    ConfigError (ValueError)      a setting is missing, unknown or contradictory
    DataError   (ValueError)      a file or array does not hold what it should
      ShapeError                  an array has the wrong shape
    BackendError (RuntimeError)   deepmd-kit or LAMMPS is absent or failed
OutsideTrainingData (UserWarning)   a model is asked for what it has not seen
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class SpinDPError(Exception):
    """Base of every error that spin-dp raises on purpose."""


class ConfigError(SpinDPError, ValueError):
    """A setting is missing, unknown or contradictory."""


class DataError(SpinDPError, ValueError):
    """A file or array does not hold what it should."""


class ShapeError(DataError):
    """An array has the wrong shape."""


class BackendError(SpinDPError, RuntimeError):
    """deepmd-kit or LAMMPS is absent or failed."""


class OutsideTrainingData(UserWarning):
    """A model is asked for what its training data do not show; it extrapolates."""


def unknown(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for an unknown name, with the nearest known one.

    Parameters
    ----------
    kind
        What the name stands for, e.g. ``"element"``.
    name
        The name that was given.
    known
        The names that would have been accepted.

    Returns
    -------
    ConfigError
        To be raised by the caller.
    """
    choices = sorted(known)
    near = get_close_matches(name, choices, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(choices)}"
    return ConfigError(f"unknown {kind} {name!r}; {hint}")
