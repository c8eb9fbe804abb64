# SPDX-License-Identifier: LGPL-3.0-or-later
"""From a frozen model back to one that can be changed: compressed, in a precision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from spin_dp.errors import ConfigError, DataError
from spin_dp.model_file import is_compressed, load_frozen, model_section
from spin_dp.pretrained import is_shipped, resolve

if TYPE_CHECKING:
    import torch

    from spin_dp.model.energy import SpinEnergyModel
    from spin_dp.pretrained import ModelName

PRECISIONS = ("float32", "float64")

_SAME = 1e-6  # of the energy


def compressed_model(path: Path, precision: str) -> SpinEnergyModel:
    """Return the compressed form of a frozen model.

    Parameters
    ----------
    path
        A ``.pth`` file of ``dp --pt freeze``.
    precision
        ``float32`` or ``float64``: of tables and nets.

    Raises
    ------
    DataError
        If the file is no frozen Deep Potential.
    ConfigError
        If it is not of type ``spin_dp``, or compressed already, or does not know the
        shortest distance of its training data; if its weights mean something else
        here than in the file; if the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"precision must be {' or '.join(PRECISIONS)}; got {precision!r}."
        )
    frozen, _ = load_frozen(path)
    section = _model_section(path, frozen)
    _require_same(path, frozen, _rebuilt(section, frozen))
    for part in ("descriptor", "fitting_net"):
        section[part] = {**section.get(part, {}), "precision": precision}
    made = _rebuilt(section, frozen)
    made.enable_compression()
    return made


def frozen_file(model: ModelName) -> tuple[Path, Path]:
    """Return the file of a model, and the one that its fast form is to lie beside.

    Parameters
    ----------
    model
        A frozen model, which its fast form lies beside, or the name of a shipped one:
        the first of its models, whose fast form lies here.

    Raises
    ------
    DataError
        If it is neither a file nor a name.
    """
    path = resolve(model)[0]
    return path, (Path(path.name) if is_shipped(model) else path)


def require_folder(target: Path) -> None:
    """Refuse a file to be written where there is no folder, before the work is done.

    Raises
    ------
    DataError
        If there is none.
    """
    if not target.parent.is_dir():
        raise DataError(f"{target.parent}: no such folder; make it first.")


def _model_section(path: Path, frozen: torch.jit.ScriptModule) -> dict[str, Any]:
    """Return the model section of the training input that a frozen model records."""
    section = model_section(frozen)
    if section.get("type") != "spin_dp":
        raise ConfigError(
            f"{path}: expected a model of type 'spin_dp', got "
            f"{section.get('type', 'one without a record of its type')!r}; compress it "
            "with `dp --pt compress`."
        )
    if is_compressed(frozen):
        raise ConfigError(
            f"{path}: compressed already; compress the frozen model it was made from."
        )
    return section


def _rebuilt(section: dict[str, Any], frozen: Any) -> SpinEnergyModel:  # noqa: ANN401
    """Return a model with the weights of a frozen one."""
    from deepmd.pt.model.model import get_model

    made: SpinEnergyModel = get_model(section)
    made.load_state_dict(frozen.state_dict())
    made.eval()
    return made


def _require_same(path: Path, frozen: Any, made: Any) -> None:  # noqa: ANN401
    """Refuse a model frozen by a version whose descriptor was another one."""
    import torch
    from deepmd.pt.utils import env

    n = 4 * len(made.get_type_map())
    generator = torch.Generator().manual_seed(1)
    options: Any = {"dtype": torch.float64, "generator": generator}
    coord = 2.0 * n ** (1 / 3) * torch.rand(1, n, 3, **options)
    spin = 3.0 * torch.randn(1, n, 3, **options)
    atype = (torch.arange(n) % len(made.get_type_map())).view(1, n)
    dim_f, dim_a = made.get_dim_fparam(), made.get_dim_aparam()
    fparam = torch.zeros(1, dim_f, dtype=torch.float64) if dim_f else None
    aparam = torch.zeros(1, n, dim_a, dtype=torch.float64) if dim_a else None

    def energy(model: Any) -> float:  # noqa: ANN401
        found = [
            None if x is None else x.to(env.DEVICE)
            for x in (coord, atype, spin, None, fparam, aparam)
        ]
        return float(model(*found)["energy"].detach()) / n

    before, after = energy(frozen.to(env.DEVICE)), energy(made)
    if not abs(after - before) < _SAME * max(1.0, abs(before)):
        raise ConfigError(
            f"{path}: frozen by a version of spin-dp with another descriptor: a test "
            f"structure has {before:.6f} eV/atom there and {after:.6f} eV/atom here; "
            "train the model again."
        )
