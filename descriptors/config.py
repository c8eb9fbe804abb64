# SPDX-License-Identifier: LGPL-3.0-or-later
"""Settings of the descriptor."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from spin_dp.errors import ConfigError

_DTYPES = {"float64": torch.float64, "float32": torch.float32}


@dataclass(frozen=True, kw_only=True)
class SpinDescriptorConfig:
    """Settings of ``spin_se_e2_a``; the one source of defaults and help."""

    rcut: float = field(default=6.0, metadata={"help": "Cutoff radius, Å."})
    rcut_smth: float = field(
        default=0.5, metadata={"help": "Radius where the smooth switch begins, Å."}
    )
    sel: int = field(
        default=0,
        metadata={
            "help": "Largest number of neighbours seen; 'auto' or 'auto:factor' reads "
            "it off the training data. A size hint: neighbours are never cut off."
        },
    )
    neuron: tuple[int, ...] = field(
        default=(8, 16, 32), metadata={"help": "Widths of the radial embedding net."}
    )
    axis_neuron: int = field(
        default=8, metadata={"help": "Rows of T that T is contracted with."}
    )
    spin_neuron: tuple[int, ...] = field(
        default=(8, 16),
        metadata={"help": "Widths of the radial embedding net of the spin rows."},
    )
    spin_axis_neuron: int = field(
        default=8, metadata={"help": "Rows of V that V is contracted with."}
    )
    quad_neuron: tuple[int, ...] = field(
        default=(8, 16),
        metadata={"help": "Widths of the radial embedding net of the quadrupoles."},
    )
    quad_axis_neuron: int = field(
        default=4,
        metadata={"help": "Rows of Q that Q is contracted with; 0: no quadrupoles."},
    )
    pair_neuron: tuple[int, ...] = field(
        default=(16,),
        metadata={"help": "Hidden widths of the pair net that dresses the rows."},
    )
    tebd_dim: int = field(default=8, metadata={"help": "Width of the type embedding."})
    precision: str = field(
        default="float64",
        metadata={"help": "float64 or float32; geometry is always float64."},
    )
    seed: int | None = field(
        default=None, metadata={"help": "Seed of the initial weights."}
    )
    trainable: bool = field(
        default=True, metadata={"help": "Whether the weights are trained."}
    )

    def __post_init__(self) -> None:
        if not 0.0 <= self.rcut_smth < self.rcut:
            raise ConfigError(
                f"descriptor: rcut_smth must lie in [0, rcut); got rcut_smth="
                f"{self.rcut_smth} and rcut={self.rcut}."
            )
        if self.precision not in _DTYPES:
            raise ConfigError(
                f"descriptor: precision must be float64 or float32; got "
                f"{self.precision!r}."
            )
        for name in ("neuron", "spin_neuron", "quad_neuron", "pair_neuron"):
            widths = getattr(self, name)
            if not widths or any(width < 1 for width in widths):
                raise ConfigError(
                    f"descriptor: {name} must be a list of positive widths; got "
                    f"{list(widths)}."
                )
        for name, fewest, widths in (
            ("axis_neuron", 1, self.neuron),
            ("spin_axis_neuron", 1, self.spin_neuron),
            ("quad_axis_neuron", 0, self.quad_neuron),
        ):
            if not fewest <= getattr(self, name) <= widths[-1]:
                raise ConfigError(
                    f"descriptor: {name} must lie in {fewest}..{widths[-1]} (the last "
                    f"width of its net); got {getattr(self, name)}."
                )

    @property
    def dtype(self) -> torch.dtype:
        """Type of the nets' weights."""
        return _DTYPES[self.precision]

    @property
    def dim_out(self) -> int:
        """Number of features of an atom."""
        real = self.neuron[-1] * self.axis_neuron
        spin = self.spin_neuron[-1] * self.spin_axis_neuron
        quad = self.quad_neuron[-1] * self.quad_axis_neuron
        return real + spin + quad + 1 + self.tebd_dim
