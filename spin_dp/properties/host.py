# SPDX-License-Identifier: LGPL-3.0-or-later
"""The packages that do the work, and what is repaired around them."""

from __future__ import annotations

import importlib
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

# What they say about themselves and each other, and what results say in numbers.
_CHATTER = (DeprecationWarning, FutureWarning, ImportWarning, PendingDeprecationWarning)
_OF_NUMBERS = r"(matcalc|phonopy|pymatgen|symfc)\b"
_ROUNDING = "logm result may be inaccurate"  # by 1e-13, of every deformed cell


def package(name: str) -> Any:  # noqa: ANN401 - packages without types
    """Return an optional package.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    with quiet():
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"this property needs the package {name.partition('.')[0]}: "
                "pip install 'spin-dp[properties]'"
            ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what packages say about their own future and ways."""
    with warnings.catch_warnings():
        for kind in _CHATTER:
            warnings.simplefilter("ignore", kind)
        warnings.filterwarnings("ignore", category=Warning, module=_OF_NUMBERS)
        warnings.filterwarnings("ignore", message=_ROUNDING)
        yield
