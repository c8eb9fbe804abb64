# SPDX-License-Identifier: LGPL-3.0-or-later
"""The functions of ``descriptor.h`` as operators that only the compiler knows.

They have shapes, which is what tracing and exporting need, and a lowering: what
AOTInductor writes for them, next to what it generates itself. The template classes are
those that PyTorch makes its own matrix products with.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

N_SLOPES = 16
"""Numbers that ``slopes`` returns for each atom: ROWS_OUT in ``descriptor.h``."""

_HEADER = Path(__file__).with_name("descriptor.h")
_STATE = "Tensor coord, Tensor types, Tensor moments, Tensor nlist"

_library: Any = torch.library.Library("spin_dp", "DEF")  # type: ignore[no-untyped-call]
_library.define(
    f"describe({_STATE}, Tensor[] weights, str definitions, int width) -> Tensor"
)
_library.define(
    f"describe_states({_STATE}, Tensor[] weights, str definitions, int width) -> Tensor"
)
_library.define(
    f"slopes({_STATE}, Tensor described, Tensor feature_slope, Tensor[] weights, "
    "str definitions) -> Tensor"
)
_library.define(f"repulsion({_STATE}, Tensor[] weights, str definitions) -> Tensor")

describe = torch.ops.spin_dp.describe
describe_states = torch.ops.spin_dp.describe_states
slopes = torch.ops.spin_dp.slopes
repulsion = torch.ops.spin_dp.repulsion


@torch.library.impl(_library, "describe", "Meta")
def _describe_meta(*arguments: Any) -> torch.Tensor:
    _, _, moments, nlist, _, _, width = arguments
    made: torch.Tensor = moments.new_empty(nlist.shape[0] * nlist.shape[1], width)
    return made


@torch.library.impl(_library, "describe_states", "Meta")
def _describe_states_meta(*arguments: Any) -> torch.Tensor:
    _, _, moments, nlist, _, _, width = arguments
    rows = moments.shape[0] * moments.shape[1] * nlist.shape[1]
    made: torch.Tensor = moments.new_empty(rows, width)
    return made


@torch.library.impl(_library, "slopes", "Meta")
def _slopes_meta(coord: torch.Tensor, *_: Any) -> torch.Tensor:
    return coord.new_empty(coord.shape[0] * coord.shape[1], N_SLOPES)


@torch.library.impl(_library, "repulsion", "Meta")
def _repulsion_meta(*arguments: Any) -> torch.Tensor:
    coord, _, _, nlist, _, _ = arguments
    made: torch.Tensor = coord.new_empty(nlist.shape[0] * nlist.shape[1], 1)
    return made


@cache
def register_lowerings() -> None:
    """Tell PyTorch's compiler what the operators become."""
    from torch._inductor import ir
    from torch._inductor.codegen.cpp_template import CppTemplate
    from torch._inductor.lowering import register_lowering

    class Template(CppTemplate):
        """A call of a function of ``descriptor.h``."""

        def __init__(
            self,
            function: str,
            inputs: list[Any],
            n_weights: int,
            definitions: str,
            layout: Any,
        ) -> None:
            super().__init__(f"spin_dp_{function}", inputs, layout, num_threads=1)
            self.function, self.n_weights = function, n_weights
            self.definitions = definitions

        def render(  # type: ignore[override]
            self, kernel: Any, template_buffer_node: Any = None, **_: Any
        ) -> str:
            names = [f"in_{number}" for number in range(len(self.input_nodes))]
            signature = kernel.def_kernel(
                inputs=dict(zip(names, self.input_nodes, strict=True)),
                outputs={"out": template_buffer_node or self.output_node},
            )
            state, weights = names[: -self.n_weights], names[-self.n_weights :]
            coord, _, moments, nlist = self.input_nodes[:4]
            sizes = [kernel.size(coord, 0), kernel.size(coord, 1)]
            sizes += [kernel.size(nlist, 1), kernel.size(nlist, 2)]
            if self.function == "describe_states":
                sizes.append(kernel.size(moments, 1))
            arguments = [*state, f"{{{', '.join(weights)}}}", *sizes, "out"]
            return _CALL.format(
                header=self.header().getvalue(),
                function=self.function,
                definitions=self.definitions,
                functions=_HEADER.read_text(),
                signature=signature,
                arguments=", ".join(arguments),
            )

    def call(
        function: str,
        inputs: Sequence[Any],
        weights: Sequence[Any],
        definitions: str,
        size: list[Any],
        dtype: torch.dtype,
    ) -> Any:
        contiguous = ir.ExternKernel.require_contiguous
        buffers = [
            contiguous(ir.ExternKernel.realize_input(x)) for x in (*inputs, *weights)
        ]
        layout = ir.FixedLayout(buffers[0].get_device_or_error(), dtype, size)
        template: Any = Template(function, buffers, len(weights), definitions, layout)
        return template.generate().output_node()

    @register_lowering(describe.default, type_promotion_kind=None)
    def _describe(*arguments: Any) -> Any:
        *state, weights, definitions, width = arguments
        moments, nlist = state[2:]
        size = [nlist.get_size()[0] * nlist.get_size()[1], width]
        return call("describe", state, weights, definitions, size, moments.get_dtype())

    @register_lowering(describe_states.default, type_promotion_kind=None)
    def _describe_states(*arguments: Any) -> Any:
        *state, weights, definitions, width = arguments
        moments, nlist = state[2:]
        frames, states = moments.get_size()[:2]
        size = [frames * states * nlist.get_size()[1], width]
        return call(
            "describe_states", state, weights, definitions, size, moments.get_dtype()
        )

    @register_lowering(slopes.default, type_promotion_kind=None)
    def _slopes(*arguments: Any) -> Any:
        *state, weights, definitions = arguments
        coord = state[0]
        size = [coord.get_size()[0] * coord.get_size()[1], N_SLOPES]
        return call("slopes", state, weights, definitions, size, coord.get_dtype())

    @register_lowering(repulsion.default, type_promotion_kind=None)
    def _repulsion(*arguments: Any) -> Any:
        *state, weights, definitions = arguments
        coord, nlist = state[0], state[3]
        size = [nlist.get_size()[0] * nlist.get_size()[1], 1]
        return call("repulsion", state, weights, definitions, size, coord.get_dtype())


_CALL = """
{header}
#include <algorithm>
#include <cmath>
#include <cstring>
#include <omp.h>
#include <type_traits>
#include <vector>
namespace spin_dp_{function} {{
namespace {{
{definitions}
{functions}
}}
}}
extern "C" {signature} {{
  spin_dp_{function}::{function}({arguments});
}}
"""
