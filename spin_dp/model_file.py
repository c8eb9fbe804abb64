# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a frozen model file says of itself."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

from spin_dp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping


EMBEDDED = "model/extra/spin_dp.pth.base64"
"""The frozen model inside a ``.pt2`` package that was made from it; text, as PyTorch
reads all that lies there as text."""

_PREDICTS = "predicts_moments"
_TABLE = "core.table.values"


@dataclass(frozen=True)
class ModelInfo:
    """Self-description of a frozen model.

    Attributes
    ----------
    path
        Its file.
    type_map, use_spin
        Elements, and whether the moments of each are read.
    cutoff
        Cutoff radius, Å.
    has_spin
        Whether it is a spin model.
    moment_labels
        Moments that it was trained on, ``dft`` or ``nominal``; empty if not recorded.
    state_moments
        Mean moment of each spin state in its training data, μB.
    predicts_moments
        Whether it predicts converged moments from a guess.
    slow
        Whether ``spin-dp deploy`` would make it faster in MD.
    """

    path: Path
    type_map: list[str]
    use_spin: list[bool]
    cutoff: float
    has_spin: bool
    moment_labels: str = ""
    state_moments: Mapping[str, float] = field(default_factory=dict)
    predicts_moments: bool = False
    slow: bool = False

    @property
    def spin_elements(self) -> list[str]:
        """Elements whose moments the model reads."""
        pairs = zip(self.type_map, self.use_spin, strict=True)
        return [name for name, used in pairs if used]


def read_model_info(path: str | Path) -> ModelInfo:
    """Read the self-description of a frozen model; see :func:`load_frozen`."""
    return load_frozen(path)[1]


def load_frozen(path: str | Path, device: str = "cpu") -> tuple[Any, ModelInfo]:
    """Load a frozen model with its self-description.

    Parameters
    ----------
    path
        A ``.pth`` file of ``dp --pt freeze`` or ``dp --pt compress``, or a ``.pt2``
        file of ``spin-dp compile``, which holds the frozen model it was made from.
    device
        Where its weights go.

    Returns
    -------
    tuple
        The TorchScript module; elements, magnetic elements and cutoff.

    Raises
    ------
    DataError
        If there is no such file or it holds no frozen Deep Potential.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"{path}: no such model file; write one with `dp --pt freeze -o {path}`."
        )
    import deepmd.pt  # noqa: F401  (operators of compressed models)
    import torch

    try:
        stored = _embedded(path) if path.suffix == ".pt2" else str(path)
        model = torch.jit.load(  # type: ignore[no-untyped-call]
            stored, map_location=device
        )
        type_map = list(model.get_type_map())
        cutoff = float(model.get_rcut())
    except (RuntimeError, AttributeError, BadZipFile, KeyError) as error:
        raise DataError(
            f"{path}: expected a frozen Deep Potential (.pth, or .pt2 of `spin-dp "
            "compile`), got something else; write one with `dp --pt freeze`."
        ) from error
    has_spin = bool(model.has_spin()) if hasattr(model, "has_spin") else False
    if hasattr(model, "get_use_spin"):
        use_spin = list(model.get_use_spin())
    else:
        use_spin = [has_spin] * len(type_map)
    labels, moments = _recorded_moments(model)
    predicts = bool(model.predicts_moments()) if hasattr(model, _PREDICTS) else False
    slow = (
        model_section(model).get("type") == "spin_dp"
        and path.suffix != ".pt2"
        and not is_compressed(model)
    )
    return model, ModelInfo(
        path, type_map, use_spin, cutoff, has_spin, labels, moments, predicts, slow
    )


def model_section(model: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return section ``model`` of the training input that a frozen model records.

    Empty if it records none.
    """
    if not hasattr(model, "get_model_def_script"):
        return {}
    section = json.loads(str(model.get_model_def_script()) or "{}")
    return section if isinstance(section, dict) else {}


def is_compressed(model: Any) -> bool:  # noqa: ANN401
    """Return whether a frozen model of type ``spin_dp`` has tables for radial nets."""
    return any(name.endswith(_TABLE) for name in model.state_dict())


def _embedded(path: Path) -> BytesIO:
    with ZipFile(path) as archive:
        return BytesIO(b64decode(archive.read(EMBEDDED)))


def _recorded_moments(model: Any) -> tuple[str, dict[str, float]]:  # noqa: ANN401
    """Return what section ``info`` of the training input says of the moments."""
    info = model_section(model).get("info", {})
    return str(info.get("moment_labels", "")), dict(info.get("state_moments", {}))


def require_spin(info: ModelInfo) -> None:
    """Refuse a model that reads no moments.

    Raises
    ------
    ConfigError
        If the model was trained without spin.
    """
    if not info.has_spin:
        raise ConfigError(
            f"{info.path} is a model without spin: it gives all spin states one "
            "energy; train one with model type 'spin_dp'."
        )
