# SPDX-License-Identifier: LGPL-3.0-or-later
"""A device that computes on the CPU, but keeps its tensors apart as a GPU does.

Tensors of it say that they are on the device ``meta``. Operations that mix them with
tensors of the CPU fail as they would with those of a GPU; copies from one to the other
and numbers read from the device are counted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")

_READS = ("aten._local_scalar_dense.default", "aten.equal.default")
_INDEXING = ("aten.index.Tensor", "aten.index_put_.default")


class _There(torch.Tensor):
    """A tensor of the device; its numbers are those of ``here``."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> _There:
        made: _There = torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
        )
        made.here = here
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"there: {self.here!r}"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, *_: Any, **__: Any
    ) -> Any:
        raise RuntimeError(f"{func}: outside of the device")


def move(model: torch.nn.Module) -> None:
    """Put a model on the device, with tensors that are neither weights nor buffers."""
    model.to(DEVICE)
    for module in model.modules():
        for name, value in vars(module).items():
            if torch.is_tensor(value):
                setattr(module, name, value.to(DEVICE))


def numbers_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return the numbers of a tensor of the device, on the CPU."""
    assert isinstance(tensor, _There)
    return tensor.here


class PretendDevice(TorchDispatchMode):
    """While it is entered, the device ``meta`` computes.

    Attributes
    ----------
    copies
        Names of operations that copied tensors to the device or from it.
    reads
        How many numbers were read from the device, each of which waits for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[str] = []
        self.reads = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = str(func)
        tensors = [x for x in tree_leaves((args, kwargs)) if torch.is_tensor(x)]
        there = any(isinstance(x, _There) for x in tensors)
        wanted = kwargs.get("device")
        goes_there = there
        if wanted is not None:
            goes_there = torch.device(wanted).type == DEVICE.type
            kwargs["device"] = torch.device("cpu")
            if tensors and goes_there != there:
                self.copies.append(name)
        elif there:
            self._check_mixture(name, tensors)
        if name in _READS and there:
            self.reads += 1
            goes_there = False
        here_args, here_kwargs = tree_map_only(_There, lambda x: x.here, (args, kwargs))
        result = func(*here_args, **here_kwargs)
        if func._schema.is_mutable:
            return args[0]  # in place
        return tree_map_only(torch.Tensor, _There, result) if goes_there else result

    def _check_mixture(self, name: str, tensors: list[torch.Tensor]) -> None:
        """Refuse tensors of the CPU, but for single numbers and for indices."""
        others = [x for x in tensors if not isinstance(x, _There) and x.ndim > 0]
        if others and name in _INDEXING:
            self.copies.append(name)
        elif others:
            raise RuntimeError(f"{name}: tensors on two devices")
