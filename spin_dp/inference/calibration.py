# SPDX-License-Identifier: LGPL-3.0-or-later
"""What turns a spread of models into an interval: factors found on held-out frames."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2

from spin_dp.errors import ConfigError, DataError
from spin_dp.files import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CALIBRATION_FILE = "calibration.json"
"""Where it is looked for beside the models."""

LEVELS = (0.68, 0.95)
"""Shares of the errors that the stated intervals shall hold."""

DIMENSIONS = {"energy": 1, "gap": 1, "force": 3, "magnetic_force": 1}
"""Quantities with a spread, and along how many axes an error of each may lie: forces
along three, magnetic forces of collinear states along that of the moments."""

NOTHING = 1e-6
"""Smaller is rounding, as of forces that symmetry makes zero; eV, eV/Å, eV/μB."""

DEFAULT_LIMITS = {"force": 0.25, "magnetic_force": 0.5}
"""Largest deviation of an atom that is not warned of where no calibration says
otherwise, eV/Å and eV/μB."""

_FORMAT = 1
_SAME_MODEL_EV = 1e-3  # forms of one model differ by less, other models by far more


@dataclass(frozen=True)
class Calibration:
    """Factors between spread and error, found on frames that no model was trained on.

    Attributes
    ----------
    probes
        Energies of the models in a fixed cluster, eV, ascending: whose factors they
        are, in whatever form (frozen, compressed, compiled) the models come.
    typical
        Root mean square spread on the frames, by quantity of :data:`DIMENSIONS`:
        eV/atom, eV per cell, eV/Å, eV/μB; quantities that they did not show are absent.
    factors
        Half-width of the interval in units of :func:`width`, by quantity and share of
        :data:`LEVELS`.
    limits
        Deviations above which the frames tell nothing of the error, see
        :data:`DEFAULT_LIMITS`.
    frames, geometries
        How many frames and geometries they were found on.
    """

    probes: Sequence[float]
    typical: Mapping[str, float]
    factors: Mapping[str, Mapping[float, float]]
    limits: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    frames: int = 0
    geometries: int = 0

    def is_of(self, probes: Iterable[float]) -> bool:
        """Return whether models with these probe energies (eV) are its models."""
        others = sorted(probes)
        return len(others) == len(self.probes) and bool(
            np.allclose(others, self.probes, rtol=0.0, atol=_SAME_MODEL_EV)
        )

    def interval(self, quantity: str, spread: Floats, share: float) -> Floats:
        """Return half the width of the interval that holds a share of the errors.

        Parameters
        ----------
        quantity
            One that it has factors of.
        spread
            Of the models, in the unit of ``typical``, (...).
        share
            One of :data:`LEVELS`.
        """
        found = width(spread, self.typical[quantity], len(self.probes))
        return np.asarray(self.factors[quantity][share] * found)

    def write(self, path: Path) -> None:
        """Write it as JSON, at once or not at all."""
        content = {"format": _FORMAT, **asdict(self)}
        write_text(path, json.dumps(content, indent=2) + "\n")


def width(spread: Floats, typical: float, n_models: int) -> Floats:
    """Return the spread with the typical one as that of one more model.

    The spread of a few models is small by chance now and then, and says little there.
    Its square is the mean of M - 1 squares, to which the typical square is added (a
    scaled inverse chi-square prior of one degree of freedom); zero stays zero, as it is
    so by symmetry.

    Parameters
    ----------
    spread
        Of the models, (...).
    typical
        Root mean square over many frames, in the same unit.
    n_models
        M.
    """
    squares = (typical**2 + (n_models - 1) * np.square(spread)) / n_models
    return np.where(np.asarray(spread) > NOTHING, np.sqrt(squares), 0.0)


def nominal_factor(quantity: str, share: float, n_models: int) -> float:
    """Return the factor that normal errors as wide as the spread would have.

    Parameters
    ----------
    quantity
        One of :data:`DIMENSIONS`.
    share
        Of the errors in the interval, 0..1.
    n_models
        Number of models.
    """
    axes = DIMENSIONS[quantity]
    factor = float(np.sqrt(chi2.ppf(share, axes) / axes))
    if quantity in DEFAULT_LIMITS:  # a deviation divides by n, not by n - 1
        factor *= float(np.sqrt(n_models / (n_models - 1)))
    return factor


def read_calibration(path: Path) -> Calibration:
    """Read what :meth:`Calibration.write` wrote.

    Raises
    ------
    DataError
        If there is no such file or it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _parsed(content)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); write one with "
            "`spin-dp test --calibrate`."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: expected a calibration of an ensemble, got something else "
            f"({error}); write one with `spin-dp test --calibrate`."
        ) from error


def _parsed(content: Any) -> Calibration:  # noqa: ANN401
    if content["format"] != _FORMAT:
        raise ValueError(f"format {content['format']}, not {_FORMAT}")
    factors = {
        str(quantity): {float(share): float(value) for share, value in found.items()}
        for quantity, found in content["factors"].items()
    }
    limits = {str(name): float(value) for name, value in content["limits"].items()}
    typical = {str(name): float(value) for name, value in content["typical"].items()}
    values = [*limits.values(), *typical.values()]
    values += [value for found in factors.values() for value in found.values()]
    if not {*typical} == {*factors} <= {*DIMENSIONS} or {*limits} != {*DEFAULT_LIMITS}:
        raise ValueError("unknown quantities")
    if any({*found} != {*LEVELS} for found in factors.values()):
        raise ValueError(f"shares other than {LEVELS}")
    if not all(isfinite(value) and value > 0.0 for value in values):
        raise ValueError("factors and limits must be positive numbers")
    return Calibration(
        probes=[float(energy) for energy in content["probes"]],
        typical=typical,
        factors=factors,
        limits=limits,
        frames=int(content["frames"]),
        geometries=int(content["geometries"]),
    )


def find_calibration(
    models: Sequence[Path], probes: Sequence[float], path: Path | None = None
) -> tuple[Calibration | None, str]:
    """Return the calibration of an ensemble.

    Parameters
    ----------
    models
        Its model files.
    probes
        Their probe energies, eV.
    path
        File, or folder that holds one, which must be theirs; None: the folders of the
        models, then the one that holds the first of them.

    Returns
    -------
    tuple
        The calibration, or None where none is theirs; why, in a few words.

    Raises
    ------
    DataError
        If ``path`` cannot be read.
    ConfigError
        If ``path`` is the calibration of other models.
    """
    if path is not None:
        path = path / CALIBRATION_FILE if path.is_dir() else path
        found = read_calibration(path)
        if not found.is_of(probes):
            raise ConfigError(
                f"{path}: belongs to other models than these {len(probes)}; calibrate "
                "these with `spin-dp test --calibrate`."
            )
        return found, str(path)
    folders = [Path(model).absolute().parent for model in models]
    others = ""
    for folder in dict.fromkeys([*folders, folders[0].parent]):
        place = folder / CALIBRATION_FILE
        if not place.is_file():
            continue
        try:
            found = read_calibration(place)
        except DataError as error:  # not asked for, so no reason to stop
            others = str(error)
            continue
        if found.is_of(probes):
            return found, str(place)
        others = f"{place} belongs to other models"
    return None, others or f"there is no {CALIBRATION_FILE} beside the models"
