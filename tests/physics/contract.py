# SPDX-License-Identifier: LGPL-3.0-or-later
"""The contract that every descriptor and model of the package keeps.

A new descriptor inherits all checks with a class that says how it is built::

    class TestMyDescriptor(ModelContract):
        descriptor: ClassVar = {"type": "my_descriptor", "rcut": 5.0, ...}
        variants: ClassVar = {"wide": Variant({"neuron": [8, 16, 32]})}
        spin_parameters = ("*.core.spin_radial.*",)

All capabilities are on. One is switched off with the reason, which is shown where its
checks are skipped: ``spin_rotation = "spin-orbit coupling is described"``.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_type_hints

import numpy as np
import pytest

from tests.physics.contract_derivatives import DerivativeContract
from tests.physics.contract_finite import FiniteContract
from tests.physics.contract_forms import FormContract
from tests.physics.contract_frozen import FrozenContract
from tests.physics.contract_limits import (
    CutoffContract,
    MomentContract,
    PlainContract,
)
from tests.physics.contract_subject import (
    TYPE_MAP,
    Frames,
    Subject,
    Variant,
    random_frames,
    tensors,
)
from tests.physics.contract_symmetries import SymmetryContract

if TYPE_CHECKING:
    from collections.abc import Callable

Capability = Literal[True] | str
"""True, or the reason why a model cannot have it."""

MIN_DISTANCE = 1.5  # Å, shortest distance in the tables of compressed models


class ModelContract(
    SymmetryContract,
    DerivativeContract,
    CutoffContract,
    MomentContract,
    PlainContract,
    FormContract,
    FrozenContract,
    FiniteContract,
):
    """All checks; see the module on how to inherit them."""

    # ---- capabilities: what a model can do or is invariant under ------------------
    moment_reversal: ClassVar[Capability] = True
    """Nothing changes under reversal of all moments."""
    spin_rotation: ClassVar[Capability] = True
    """Nothing changes under rotation of all moments alone: no spin-orbit coupling."""
    smooth_cutoff: ClassVar[Capability] = True
    """Energy and forces vanish at the cutoff as a switch of third order does."""
    smooth_moments: ClassVar[Capability] = True
    """The energy is smooth in moments that go through zero."""
    zero_moments_plain: ClassVar[Capability] = True
    """At zero moments no weight of the spin parts counts."""
    compressible: ClassVar[Capability] = True
    """``enable_compression`` leaves the results as they are."""
    single_precision: ClassVar[Capability] = True
    """Nets may be in float32."""
    scriptable: ClassVar[Capability] = True
    """TorchScript takes the model."""
    serializable: ClassVar[Capability] = True
    """``serialize`` and ``deserialize`` keep all of it."""
    neighbour_lists: ClassVar[Capability] = True
    """``forward_lower`` takes unsorted lists that are too long."""
    freezable: ClassVar[Capability] = True
    """``dp --pt train`` and ``dp --pt freeze`` take it."""

    # ---- how the model is built ---------------------------------------------------
    model_type: ClassVar[str] = "spin_dp"
    descriptor: ClassVar[dict[str, Any]] = {}
    """Settings of the descriptor, small nets."""
    fitting_net: ClassVar[dict[str, Any]] = {"type": "ener", "neuron": [16, 16]}
    variants: ClassVar[dict[str, Variant]] = {}
    """Further shapes; added are default, oxygen moments, float32 and compressed."""
    repulsion: ClassVar[dict[str, Any] | None] = {"inner": 0.8, "outer": 1.25}
    """Its section: so wide here that most bonds are where it is switched off."""
    spin_parameters: ClassVar[tuple[str, ...]] = ()
    """Patterns of names of all parameters that count only with moments."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        known = get_type_hints(ModelContract)
        for name, value in vars(cls).items():
            if name.startswith("_") or callable(value):
                continue
            if name not in known:
                near = get_close_matches(name, known, n=1)
                raise TypeError(f"{cls.__name__}: no setting {name!r}; near: {near}")
            if known[name] == ClassVar[Capability] and value is not True:
                cls._check_reason(name, value)

    @classmethod
    def _check_reason(cls, name: str, value: object) -> None:
        if not isinstance(value, str) or not value.strip():
            raise TypeError(
                f"{cls.__name__}.{name}: expected True or the reason why not, as a "
                f"sentence; got {value!r}."
            )

    @classmethod
    def skip_reason(cls, check: Callable[..., None]) -> str | None:
        """Return why a check is skipped, None if it is made."""
        for name in getattr(check, "requires", ()):
            value = getattr(cls, name)
            if value is not True:
                return f"{cls.__name__}: {name} is off: {value}"
        return None

    @classmethod
    def all_variants(cls) -> dict[str, Variant]:
        """Return what is tested: all shapes that the capabilities allow."""
        found = {"default": Variant(), **cls.variants}
        found["oxygen"] = Variant(use_spin=("Mn", "Co", "Ni", "O"))
        if cls.repulsion is not None:
            found["no_repulsion"] = Variant(repulsion=False)
        if cls.single_precision is True:
            found["float32"] = Variant(precision="float32")
        if cls.compressible is True:
            found["compressed"] = Variant(compressed=True)
            if cls.single_precision is True:
                found["compressed_float32"] = Variant(
                    precision="float32", compressed=True
                )
        return found

    @classmethod
    def model_section(cls, variant: Variant) -> dict[str, Any]:
        """Return the ``model`` section of ``input.json``."""
        section = {
            "type": cls.model_type,
            "type_map": list(TYPE_MAP),
            "descriptor": {
                **copy.deepcopy(cls.descriptor),
                **copy.deepcopy(variant.descriptor),
                "precision": variant.precision,
                "seed": 1,
            },
            "fitting_net": {
                **cls.fitting_net,
                "precision": variant.precision,
                "seed": 2,
            },
            "spin": {"use_spin": list(variant.use_spin)},
        }
        if cls.repulsion is not None and variant.repulsion:
            section["repulsion"] = dict(cls.repulsion)
        return section

    @classmethod
    def build(cls, variant: Variant) -> Any:
        """Return a model with random weights, as if its training had begun.

        The same weights for all that has the same shape: drawn in float64, with input
        scales found from the frames, then rounded, then tabulated.
        """
        from deepmd.pt.model.model import get_model

        model = get_model(cls.model_section(replace(variant, precision="float64")))
        cls._draw(model)
        if variant.precision != "float64":
            rounded = get_model(cls.model_section(variant))
            rounded.load_state_dict(model.state_dict())
            model = rounded
        model.min_nbor_dist = model.min_nbor_dist.new_tensor(MIN_DISTANCE)
        model.eval()
        if variant.compressed:
            model.enable_compression(5, 0.01, 0.1, -1)
        return model

    @classmethod
    def _draw(cls, model: Any) -> None:
        """Put input scales, energy biases and noise on all initial weights."""
        import torch

        coord, atype, spin, box = tensors(random_frames())
        sample = {"coord": coord, "atype": atype, "spin": spin, "box": box}
        model.atomic_model.descriptor.compute_input_stats([sample])
        bias = np.array([-1.9, -8.0, -6.5, -5.2, -4.4]).reshape(1, 5, 1)
        model.set_out_bias(model.get_out_bias().new_tensor(bias))
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            # Also what begins at zero must be seen.
            for parameter in model.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.3 * noise)

    # ---- how pytest sees it ---------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make each check for each variant that it is for, or skip it with a reason."""
        if "subject" not in metafunc.fixturenames:
            return
        check = metafunc.function
        wanted = getattr(check, "only_for", lambda _variant: True)
        cases: list[Any] = [n for n, v in self.all_variants().items() if wanted(v)]
        reason = self.skip_reason(check)
        if reason is not None:
            cases = [pytest.param("off", marks=pytest.mark.skip(reason=reason))]
        assert cases, f"{check.__name__} is made for no variant"
        metafunc.parametrize("subject", cases, indirect=True, scope="class")


def make_subject(
    contract: type[ModelContract], name: str, frames: Frames | None = None
) -> Subject:
    """Return the model of a variant and the frames it is tested on."""
    variant = contract.all_variants()[name]
    return Subject(
        contract.build(variant),
        random_frames() if frames is None else frames,
        variant,
        contract.build,
        contract,
    )
