# SPDX-License-Identifier: LGPL-3.0-or-later
"""Frames kept in memory while ``dp --pt`` trains.

The host reads each frame of a batch from its files, one file after the other, which
takes a quarter of the time of a step of small nets. What a data modifier returns it
keeps in memory; this one changes nothing, so it keeps the frames as they are. It works
with every model of the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepmd.pt.modifier import BaseModifier

if TYPE_CHECKING:
    import torch


@BaseModifier.register("frames_in_memory")
class FramesInMemory(BaseModifier):  # type: ignore[misc]
    """The data modifier ``frames_in_memory``: changes nothing, keeps all frames."""

    def __init__(self) -> None:
        super().__init__(use_cache=True)
        self.modifier_type = "frames_in_memory"
        self.jitable = False  # frozen models go without it

    def modify_data(self, data: dict[str, Any], data_sys: Any) -> None:
        """Leave the frame as it is."""

    def forward(self, *_args: Any, **_kwargs: Any) -> dict[str, torch.Tensor]:
        """Return no corrections."""
        return {}
