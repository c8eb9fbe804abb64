# SPDX-License-Identifier: LGPL-3.0-or-later
"""Models that take ghosts and neighbours from the caller, as LAMMPS brings them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from spin_dp.errors import ConfigError
from spin_dp.model_file import (
    ENERGIES,
    ENERGY,
    MOMENTS,
    ModelInfo,
    describe_module,
    load_frozen,
    read_compiled_info,
    read_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch


class Kernel(Protocol):
    """A loaded model; nf frames of nloc local atoms, nall with ghosts.

    Functions take five tensors: positions (nf, nall, 3) in Å, types (nf, nall) and
    moments (nf, nall, 3) in μB of local atoms and ghosts; neighbours, (nf, nloc, nnei),
    -1 where there is none; the local atom that each atom is an image of, (nf, nall).

    Attributes
    ----------
    info, device
        What it says of itself; where its tensors are.
    """

    info: ModelInfo
    device: torch.device

    def energy(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return energies and derivatives.

        Returns
        -------
        dict
            ``energy`` (nf, 1), ``atom_energy`` (nf, nloc, 1), ``force`` and
            ``force_mag`` (nf, nall, 3), ``virial`` (nf, 9); eV, eV/Å, eV/μB.
        """

    def energies(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Return energies of local atoms alone, (nf, ns, nloc), eV.

        Moments are those of ns states of each frame, (nf, ns, nall, 3).
        """

    def moments(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Return moments predicted from those given as a guess, (nf, nloc, 3), μB."""


class FrozenKernel:
    """A frozen or compressed spin model, or one that is being trained.

    Parameters
    ----------
    module
        The loaded module.
    info, device
        As of :class:`Kernel`.
    """

    def __init__(self, module: Any, info: ModelInfo, device: torch.device) -> None:  # noqa: ANN401
        self._module, self.info, self.device = module, info, device

    def energy(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return energies and derivatives, see :class:`Kernel`."""
        found = self._module.forward_lower(*tensors)
        return {
            "energy": found["energy"],
            "atom_energy": found["atom_energy"],
            "force": found["extended_force"],
            "force_mag": found["extended_force_mag"],
            "virial": found["virial"],
        }

    def energies(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Return energies of local atoms, see :class:`Kernel`."""
        return _of_states(self.energy, *tensors)

    def moments(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Return predicted moments, see :class:`Kernel`."""
        moments: torch.Tensor = self._module.moments_lower(*tensors[:4])
        return moments


class CompiledKernel:
    """A model of ``spin-dp compile``.

    Parameters
    ----------
    path
        Its file.

    Raises
    ------
    ConfigError
        If it was made for another device or processor.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self.info, self.device = read_compiled_info(path), device
        self._energy = _Function(path, ENERGY)
        self._moments = _Function(path, MOMENTS) if self.info.predicts_moments else None

    def energy(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return energies and derivatives, see :class:`Kernel`."""
        found = self._energy(*tensors)
        return {
            "energy": found["energy_redu"],
            "atom_energy": found["energy"],
            "force": found["energy_derv_r"],
            "force_mag": found["energy_derv_r_mag"],
            "virial": found["energy_derv_c_redu"],
        }

    @cached_property
    def _energies(self) -> _Function | None:
        """The function of energies alone; None if an earlier version compiled it."""
        path = self.info.path
        has = read_metadata(path).get("has_energies_of_states", False)
        return _Function(path, ENERGIES) if has else None

    def energies(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Return energies of local atoms, see :class:`Kernel`."""
        if self._energies is None:
            return _of_states(self.energy, *tensors)
        return self._energies(*tensors[:4])["energy"]

    def moments(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Return predicted moments, see :class:`Kernel`."""
        assert self._moments is not None  # who asks has looked at info
        return self._moments(*tensors[:4])["moments"]


def _of_states(
    energy: Callable[..., dict[str, torch.Tensor]], *tensors: torch.Tensor
) -> torch.Tensor:
    """Return energies of states by a function that takes each as a frame."""
    coord, atype, spin, nlist, mapping = tensors
    nf, ns = spin.shape[:2]

    def repeated(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(ns, dim=0)

    frames = (*map(repeated, (coord, atype)), spin.flatten(0, 1))
    found = energy(*frames, repeated(nlist), repeated(mapping))
    return found["atom_energy"].view(nf, ns, -1)


class _Function:
    """A compiled function of tensors.

    PyTorch's own wrapper reads the description of its results at each call.
    """

    def __init__(self, path: Path, name: str) -> None:
        import torch
        from torch.utils import _pytree as pytree

        loader: Any = torch._C._aoti.AOTIModelPackageLoader
        self._loader = loader(str(path), name, False, 1, -1)
        _, out = self._loader.get_call_spec()
        self._unflatten = pytree.tree_unflatten
        self._out = pytree.treespec_loads(out)

    def __call__(self, *tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        results = self._loader.boxed_run(list(tensors))
        found: dict[str, torch.Tensor] = self._unflatten(results, self._out)
        return found


def load_kernel(path: Path, device: str | None) -> Kernel | None:
    """Load a model whose neighbours the caller brings.

    Parameters
    ----------
    path
        An existing file.
    device
        ``cpu``, ``cuda`` or ``cuda:1`` ...; None: the first GPU if PyTorch sees one.

    Returns
    -------
    Kernel or None
        None of a model that has to go through deepmd-kit.

    Raises
    ------
    DataError
        If it is no model.
    ConfigError
        If the device is not there.
    """
    import torch

    place = torch.device(_device(device))
    if path.suffix == ".pt2":
        return CompiledKernel(path, place) if _takes_neighbours(path) else None
    if path.suffix != ".pth":
        return None
    module, info = load_frozen(path, str(place))
    if not info.has_spin:
        return None
    module.eval()
    return FrozenKernel(module, info, place)


def kernel_of_checkpoint(path: Path, module: Any) -> Kernel | None:  # noqa: ANN401
    """Return what runs a model of this package that deepmd-kit loaded.

    Parameters
    ----------
    path
        The checkpoint.
    module
        PyTorch's module in it; anything else gives None.
    """
    if not hasattr(module, "moments_lower"):
        return None
    module.eval()
    device = next(module.parameters()).device
    return FrozenKernel(module, describe_module(path, module), device)


def _device(name: str | None) -> str:
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device {name}: PyTorch sees no GPU; give 'cpu'.")
    return name


def _takes_neighbours(path: Path) -> bool:
    """Return whether a compiled model is a spin model with lists of neighbours."""
    metadata = read_metadata(path)
    return metadata.get("lower_input_kind") == "nlist" and bool(metadata.get("is_spin"))
