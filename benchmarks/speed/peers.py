# SPDX-License-Identifier: LGPL-3.0-or-later
"""The models whose MD steps are timed: NiO, moments of nickel.

The stock sizes are those of deepmd-kit's examples, and ``spin_dp`` has the same ones;
``spin_dp_default`` has the sizes that it trains with unless told otherwise, and
``spin_dp_repulsion`` the short-range repulsion besides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

TYPE_MAP = ["Ni", "O"]
RADII = {"rcut": 5.0, "rcut_smth": 1.0, "sel": "auto", "seed": 1}
WIDTHS = {"neuron": [25, 50, 100], "axis_neuron": 16}
FITTING = {"neuron": [240, 240, 240], "resnet_dt": True, "seed": 1}
SPIN = {"use_spin": [True, False]}

Kind = Literal["frozen", "compressed", "compressed-float32", "compiled"]
"""Of ``dp freeze``, ``dp compress``, ``spin-dp compress``; machine code."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A model and the forms in which LAMMPS runs it.

    Attributes
    ----------
    name, title
        Name in files, and what people read.
    section
        Section ``model`` of dp's input.
    moments
        Whether it reads moments.
    kinds
        Its files.
    largest
        The largest number of atoms that it is timed with.
    backend
        Flag of dp.
    """

    name: str
    title: str
    section: dict[str, Any]
    moments: bool = True
    kinds: tuple[Kind, ...] = ("frozen",)
    largest: int = 20_000
    backend: Literal["--pt", "--pt-expt"] = "--pt"


_SE_E2_A: dict[str, Any] = {
    "type_map": TYPE_MAP,
    "descriptor": {"type": "se_e2_a", **WIDTHS, **RADII},
    "fitting_net": FITTING,
}
_OURS = Peer(
    name="spin_dp_default",
    title="spin-dp, default sizes",
    section={
        "type": "spin_dp",
        "type_map": TYPE_MAP,
        "descriptor": {"type": "spin_se_e2_a", **RADII},
        "fitting_net": {"neuron": [64, 64], "seed": 1},
        "spin": SPIN,
    },
    kinds=("frozen", "compressed", "compressed-float32", "compiled"),
    largest=100_000,
)

PEERS = (
    Peer(
        name="deepspin",
        title="DeepSPIN se_e2_a",
        section={**_SE_E2_A, "spin": {**SPIN, "virtual_scale": [0.314]}},
        largest=300,
    ),
    Peer(
        name="se_e2_a",
        title="se_e2_a, spin-blind",
        section=_SE_E2_A,
        moments=False,
        kinds=("frozen", "compressed"),
        largest=3_000,
    ),
    Peer(
        name="dpa4c",
        title="DPA4C native spin",
        section={
            "type_map": TYPE_MAP,
            "descriptor": {"type": "dpa4c", "rcut": 5.0, "channels": 32, "seed": 1},
            "fitting_net": {
                "neuron": [192, 192, 192],
                "resnet_dt": False,
                "activation_function": "silu",
                "precision": "float32",
                "seed": 1,
            },
            "spin": {"scheme": "native", **SPIN},
        },
        kinds=("compiled",),
        backend="--pt-expt",
    ),
    replace(
        _OURS,
        name="spin_dp",
        title="spin-dp, sizes of se_e2_a",
        section={
            **_OURS.section,
            "descriptor": {
                "type": "spin_se_e2_a",
                "spin_neuron": [16, 32],
                "quad_neuron": [16, 32],
                **WIDTHS,
                **RADII,
            },
            "fitting_net": FITTING,
        },
        kinds=("frozen", "compressed-float32", "compiled"),
        largest=20_000,
    ),
    _OURS,
    replace(
        _OURS,
        name="spin_dp_repulsion",
        title="spin-dp, default sizes, with repulsion",
        section={**_OURS.section, "repulsion": {}},
        kinds=("compiled",),
        largest=300,
    ),
)

BASELINE = ("spin_dp_default", "compiled")
"""Model and form that the others are compared with."""
