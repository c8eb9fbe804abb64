# SPDX-License-Identifier: LGPL-3.0-or-later
"""Compressed models: radial nets as tables, slopes by hand, single precision.

What ``dp --pt compress`` does, with a choice of precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from spin_dp.deployment.rebuild import compressed_model, frozen_file, require_folder
from spin_dp.files import replacing

if TYPE_CHECKING:
    import os

    from spin_dp.pretrained import ModelName


def compress(
    model: ModelName,
    output: str | os.PathLike[str] | None = None,
    *,
    precision: str = "float32",
) -> Path:
    """Write the compressed form of a frozen model.

    Parameters
    ----------
    model
        A ``.pth`` file of ``dp --pt freeze``, or the name of a shipped model, of which
        the first is taken.
    output
        The file to write; ``NAME.compressed.pth`` beside ``NAME.pth`` if None.
    precision
        ``float32`` or ``float64``: of tables and nets. Positions are subtracted and
        forces added up in float64 in either case.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    DataError
        If ``model`` is no frozen Deep Potential; if there is no folder for the output.
    ConfigError
        If it is not of type ``spin_dp``, or compressed already, or does not know the
        shortest distance of its training data; if the precision is unknown.
    """
    path, beside = frozen_file(model)
    beside = beside.with_suffix(f".compressed{path.suffix}")
    target = beside if output is None else Path(output)
    require_folder(target)
    made: Any = compressed_model(path, precision)
    import torch

    with replacing(target) as part_file:
        torch.jit.save(torch.jit.script(made), str(part_file))
    return target
