# SPDX-License-Identifier: LGPL-3.0-or-later
"""The model that a fine-tuning starts from: checkpoint, frozen model or shipped name.

``dp --pt train --finetune`` wants a checkpoint. A frozen model has all that counts of
one, its weights and its section of the input, so that it is turned back into one.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spin_dp.errors import ConfigError, DataError
from spin_dp.files import replacing
from spin_dp.model_file import is_compressed, load_frozen, model_section
from spin_dp.pretrained import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spin_dp.pretrained import ModelName

PARENT = "parent.pt"
"""Name of the checkpoint in the folder of a fine-tuning."""

_BRANCH = "model.Default."  # where a checkpoint keeps the weights of its model


@dataclass(frozen=True, eq=False)
class Parent:
    """A trained model to start from.

    Attributes
    ----------
    name
        What it was asked for by.
    params
        Section ``model`` of its training input.
    weights
        Its tensors, by their names in a checkpoint.
    """

    name: str
    params: Mapping[str, Any]
    weights: Mapping[str, Any]

    @property
    def reads_moments(self) -> bool:
        """Whether it is a spin model of this package."""
        return self.params.get("type") == "spin_dp"

    def spin_elements(self, type_map: list[str], found: list[str]) -> list[str]:
        """Return the elements whose moments a model made from it reads.

        Elements that it knows keep whether their moments are read, as dp asks for;
        others take it from the data.

        Parameters
        ----------
        type_map
            Elements of the new model.
        found
            Those with moments in the data.
        """
        read = self.params["spin"]["use_spin"]
        known = self.params["type_map"]
        if read and isinstance(read[0], bool):
            read = [name for name, used in zip(known, read, strict=True) if used]
        return [name for name in type_map if name in (read if name in known else found)]

    def write(self, path: Path) -> str:
        """Write the checkpoint; return the SHA-256 of what it was made of."""
        import torch

        # dp reads nothing else of the checkpoint to start from.
        state = {"model_params": dict(self.params), "train_infos": {"lr": 0, "step": 0}}
        with replacing(path) as part:
            torch.save({"model": {**self.weights, "_extra_state": state}}, part)
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def read_parent(model: ModelName) -> Parent:
    """Read a model to start from.

    Parameters
    ----------
    model
        Checkpoint (.pt) or frozen model (.pth), or the name of a shipped model, of
        which the first is taken.

    Raises
    ------
    DataError
        If there is no such file or it is neither.
    ConfigError
        If it is compressed.
    """
    path = resolve(model)[0]
    if path.suffix == ".pth":
        return _of_frozen(str(model), path)
    import torch  # heavy

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        content = content.get("model", content)
        params = content["_extra_state"]["model_params"]
        weights = {name: value for name, value in content.items() if name[0] != "_"}
        parts = {"descriptor", "fitting_net"} <= set(params)
    except (
        *(OSError, RuntimeError, pickle.UnpicklingError),  # no file of torch
        *(KeyError, AttributeError, TypeError),  # of something else
    ) as error:
        raise _no_model(path, type(error).__name__) from error
    if not parts:
        raise _no_model(path, "several models in one")
    return Parent(str(model), params, weights)


def checkpoint_of(model: ModelName, folder: Path) -> Path:
    """Return the checkpoint of a model to start from.

    Parameters
    ----------
    model
        As for :func:`read_parent`.
    folder
        Where the checkpoint of a frozen model is written.

    Raises
    ------
    DataError, ConfigError
        As :func:`read_parent`; if there is no such checkpoint.
    """
    path = resolve(model)[0]
    if path.suffix == ".pth":
        read_parent(model).write(folder / PARENT)
        return folder / PARENT
    if not path.is_file():
        raise ConfigError(f"{path}: no such checkpoint to start from.")
    return path


def _of_frozen(name: str, path: Path) -> Parent:
    module, _ = load_frozen(path)
    params = model_section(module)
    if not {"descriptor", "fitting_net"} <= set(params):
        raise _no_model(path, "a frozen model that records no training input")
    if is_compressed(module):
        raise ConfigError(
            f"{path}: compressed, which cannot be trained on; start from the frozen "
            "model it was made from."
        )
    # Tensors that the model has under two names are saved under both by dp, too.
    weights = {_BRANCH + key: value for key, value in module.state_dict().items()}
    return Parent(name, params, weights)


def _no_model(path: Path, found: str) -> DataError:
    return DataError(
        f"{path}: expected a checkpoint of dp --pt train (model.ckpt-*.pt) or a frozen "
        f"model (.pth), got something else ({found})."
    )
