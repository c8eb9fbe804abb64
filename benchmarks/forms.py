# SPDX-License-Identifier: LGPL-3.0-or-later
"""The forms in which LAMMPS runs a frozen model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spin_dp.deployment import compile_model, compress
from spin_dp.training.program import run_dp

if TYPE_CHECKING:
    from pathlib import Path

FROZEN: Final = "frozen"
COMPRESSED: Final = "compressed"
"""The files of ``dp freeze`` and ``dp compress``."""

SINGLE: Final = "compressed-float32"
COMPILED: Final = "compiled"
"""The files of ``spin-dp compress`` and ``spin-dp compile``."""


_UNFUSED: Final = {"TORCHINDUCTOR_CPP_MAX_HORIZONTAL_FUSION_SIZE": "1"}
"""Where PyTorch 2.11 fuses more loops of DPA4C, the C++ that it writes uses variables
before it declares them."""


def exported(folder: Path) -> Path:
    """Return the machine code that ``dp --pt-expt freeze`` makes of a checkpoint."""
    file = folder / "model.pt2"
    run_dp(
        *("freeze", "-o", file.name),
        threads=1,
        backend="--pt-expt",
        folder=folder,
        variables=_UNFUSED,
    )
    return file


def fast_form(frozen: Path, kind: str) -> Path:
    """Return the file of another form, made beside the frozen model."""
    file = frozen.with_name(f"model.{kind}.pth")
    if kind == COMPILED:
        return compile_model(frozen, file.with_suffix(".pt2"))
    if kind == SINGLE:
        return compress(frozen, file, precision="float32")
    run_dp("compress", "-i", str(frozen), "-o", str(file), threads=1)
    return file
