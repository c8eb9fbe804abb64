# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a model file says of itself."""

from __future__ import annotations

import json
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spin_dp.errors import ConfigError, DataError
from spin_dp.spin_states.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

METADATA = "model/extra/metadata.json"
INPUT = "model/extra/model_def_script.json"
"""Members of a compiled model: what deepmd-kit reads, and the input's model section."""

ENERGY, ENERGIES, MOMENTS = "model", "energies", "moments"
"""Functions of a compiled model: that of LAMMPS, energies without derivatives, and the
moment net."""

_TABLE = "core.table.values"


@dataclass(frozen=True)
class ModelInfo:
    """Self-description of a model.

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
    label_share
        Share of the training steps in which it read labels, the mean moments of spin
        states, instead of ``moment_labels``.
    catalogue
        Spin states of its training data, and the moments they stand for.
    min_distance
        Shortest distance in its training data, Å; nan if not recorded.
    shortest
        Of each pair of elements that touch there, ``{"Ni-O": 1.6}``, Å; empty if not
        recorded.
    fewest
        Least number of neighbours within the cutoff that an atom of each element has
        there; empty if not recorded.
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
    label_share: float = 0.0
    catalogue: Catalogue = field(default_factory=Catalogue)
    min_distance: float = nan
    shortest: Mapping[str, float] = field(default_factory=dict)
    fewest: Mapping[str, int] = field(default_factory=dict)
    predicts_moments: bool = False
    slow: bool = False

    @property
    def reads_labels(self) -> bool:
        """Whether it has an energy of labels: moments that spin states stand for."""
        return self.label_share > 0.0 or self.moment_labels == "nominal"

    @property
    def spin_elements(self) -> list[str]:
        """Elements whose moments the model reads."""
        pairs = zip(self.type_map, self.use_spin, strict=True)
        return [name for name, used in pairs if used]


def read_model_info(path: str | Path) -> ModelInfo:
    """Read the self-description of a frozen, compressed or compiled model.

    Raises
    ------
    DataError
        If there is no such file or it holds no Deep Potential.
    """
    path = Path(path)
    if path.suffix == ".pt2":
        return read_compiled_info(path)
    return load_frozen(path)[1]


def require_file(path: Path) -> None:
    """Refuse a model file that is not there.

    Raises
    ------
    DataError
        If it is not.
    """
    if not path.is_file():
        how = "spin-dp compile MODEL.pth" if path.suffix == ".pt2" else "dp --pt freeze"
        raise DataError(
            f"{path}: no such model file; write one with `{how} -o {path}`."
        )


def load_frozen(path: str | Path, device: str = "cpu") -> tuple[Any, ModelInfo]:
    """Load a frozen or compressed model with its self-description.

    Parameters
    ----------
    path
        A ``.pth`` file of ``dp --pt freeze`` or ``dp --pt compress``.
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
    require_file(path)
    import torch

    load: Any = torch.jit.load
    try:
        try:
            model = load(str(path), map_location=device)
        except RuntimeError:
            # Compressed models of other types need operators of deepmd-kit, which
            # takes seconds to import.
            import deepmd.pt  # noqa: F401

            model = load(str(path), map_location=device)
        return model, describe_module(path, model)
    except (RuntimeError, AttributeError) as error:
        raise DataError(
            f"{path}: expected a frozen Deep Potential (.pth), got something else; "
            "write one with `dp --pt freeze`."
        ) from error


def describe_module(path: Path, model: Any) -> ModelInfo:  # noqa: ANN401
    """Return what a loaded model says of itself.

    Parameters
    ----------
    path
        Its file.
    model
        A module of deepmd-kit, scripted or not.

    Raises
    ------
    AttributeError
        If it is none.
    """
    type_map = list(model.get_type_map())
    has_spin = bool(model.has_spin()) if hasattr(model, "has_spin") else False
    section = model_section(model)
    flags = getattr(model, "get_use_spin", None)
    predicts = getattr(model, "predicts_moments", None)
    return _info(
        path,
        section,
        type_map=type_map,
        use_spin=[has_spin] * len(type_map) if flags is None else list(flags()),
        cutoff=float(model.get_rcut()),
        has_spin=has_spin,
        min_distance=float(getattr(model, "min_nbor_dist", nan)),
        predicts_moments=predicts is not None and bool(predicts()),
        slow=section.get("type") == "spin_dp" and not is_compressed(model),
    )


def read_compiled_info(path: Path) -> ModelInfo:
    """Read the self-description of a compiled model.

    Raises
    ------
    DataError
        If there is no such file or it holds no compiled Deep Potential.
    """
    metadata = read_metadata(path)
    with _refusing_others(path):
        with zipfile.ZipFile(path) as archive:
            section = json.loads(archive.read(INPUT))
        type_map = list(metadata["type_map"])
        has_spin = bool(metadata.get("is_spin", False))
        return _info(
            path,
            section,
            type_map=type_map,
            use_spin=metadata.get("use_spin") or [has_spin] * len(type_map),
            cutoff=float(metadata["rcut"]),
            has_spin=has_spin,
            min_distance=float(metadata.get("min_nbor_dist", nan)),
            predicts_moments=bool(metadata.get("predicts_moments", False)),
        )


def read_metadata(path: Path) -> dict[str, Any]:
    """Read what deepmd-kit reads of a compiled model.

    Raises
    ------
    DataError
        If there is no such file or it holds no compiled Deep Potential.
    """
    require_file(path)
    with _refusing_others(path), zipfile.ZipFile(path) as archive:
        return dict(json.loads(archive.read(METADATA)))


@contextmanager
def _refusing_others(path: Path) -> Iterator[None]:
    """Refuse a file whose contents are not those of a compiled model."""
    try:
        yield
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: expected a compiled Deep Potential (.pt2), got something else; "
            "write one with `spin-dp compile`."
        ) from error


def _info(
    path: Path,
    section: Mapping[str, Any],
    *,
    min_distance: float,
    **known: Any,  # noqa: ANN401
) -> ModelInfo:
    """Return what a model says of itself, with what its training input records."""
    info = section.get("info", {})
    return ModelInfo(
        path,
        **known,
        moment_labels=str(info.get("moment_labels", "")),
        label_share=float(info.get("label_share", 0.0)),
        catalogue=Catalogue.from_records(info.get("states", ()), info.get("largest")),
        min_distance=min_distance if min_distance > 0.0 else nan,
        shortest=dict(info.get("shortest", {})),
        fewest=dict(info.get("fewest", {})),
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


def require_labels(info: ModelInfo) -> None:
    """Refuse a model that learnt no energy of states.

    Raises
    ------
    ConfigError
        If it was trained on moments only.
    """
    if not info.reads_labels:
        raise ConfigError(
            f"{info.path} has no energy of states: it was trained on moments "
            "only. Train with label_share in section loss, as spin-dp init writes it."
        )


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
