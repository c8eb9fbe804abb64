# SPDX-License-Identifier: LGPL-3.0-or-later
"""Compiled models: the compressed model as machine code for the machine at hand.

PyTorch's AOTInductor writes a ``.pt2`` package; for a processor, the descriptor in it
is C++ of our own (:mod:`spin_dp.deployment.kernel`). The stock
LAMMPS plug-in and ``deepmd.infer.DeepPot`` read it, as they read those of deepmd-kit's
own exportable models; the metadata are theirs.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spin_dp.deployment.rebuild import compressed_model, frozen_file, require_folder
from spin_dp.errors import BackendError, ConfigError
from spin_dp.files import replacing
from spin_dp.model_file import ENERGIES, ENERGY, INPUT, METADATA, MOMENTS

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import torch

    from spin_dp.model.energy import SpinEnergyModel
    from spin_dp.pretrained import ModelName


def compile_model(
    model: ModelName,
    output: str | os.PathLike[str] | None = None,
    *,
    precision: str = "float32",
) -> Path:
    """Write a frozen model as machine code for this processor.

    Parameters
    ----------
    model
        A ``.pth`` file of ``dp --pt freeze``, or the name of a shipped model, of which
        the first is taken.
    output
        The file to write; ``NAME.pt2`` beside ``NAME.pth`` if None.
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
        shortest distance of its training data; if it has frame or atomic parameters;
        if the precision is unknown; if there is no C++ compiler.
    BackendError
        If the compiler fails.
    """
    path, beside = frozen_file(model)
    target = beside.with_suffix(".pt2") if output is None else Path(output)
    if target.suffix != ".pt2":
        raise ConfigError(
            f"{target}: a compiled model must be named FILE.pt2, by which programs "
            "know it."
        )
    require_folder(target)
    _require_compiler()
    made = compressed_model(path, precision)
    if made.get_dim_fparam() or made.get_dim_aparam():
        raise ConfigError(
            f"{path}: a model with frame or atomic parameters cannot be compiled; use "
            "`spin-dp compress`."
        )
    with replacing(target) as part, tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "model.pt2"
        keys = _write_package(made, package)
        with zipfile.ZipFile(package, "a") as archive:
            archive.writestr(METADATA, json.dumps(_metadata(made, keys)))
            archive.writestr(INPUT, made.get_model_def_script())
        part.write_bytes(package.read_bytes())
    return target


def _require_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ConfigError(
            "no C++ compiler found; install g++ or name one in CXX, or use "
            "`spin-dp compress`, which needs none."
        ) from error


def _write_package(model: SpinEnergyModel, package: Path) -> list[str]:
    """Compile the model into a package; return the names of its results."""
    from deepmd.pt.utils import env
    from torch._inductor.package.package import package_aoti

    from spin_dp.deployment.lower import LowerEnergies, LowerModel, LowerMoments

    fused = env.DEVICE.type == "cpu"
    sample = _sample(model, env.DEVICE)
    # The last three are what the host passes to every model.
    functions: dict[str, tuple[Any, tuple[Any, ...]]] = {
        ENERGY: (LowerModel(model, fused=fused), (*sample, None, None, None)),
        ENERGIES: (LowerEnergies(model, fused=fused), _with_states(sample[:4])),
    }
    if model.predicts_moments():
        functions[MOMENTS] = (LowerMoments(model, fused=fused), sample[:4])
    try:
        with _quiet_compiler():
            files: dict[str, list[Any]] = {
                name: _compile(function.eval(), arguments)
                for name, (function, arguments) in functions.items()
            }
        package_aoti(str(package), files)
    except Exception as error:  # export, code generation and compiler have their own
        raise BackendError(f"PyTorch could not compile the model: {error}") from error
    return list(LowerModel.KEYS)


@contextmanager
def _quiet_compiler() -> Iterator[None]:
    """Keep PyTorch from saying what does not concern the caller."""
    # A CUDA toolkit without a device is no concern of a model for the processor.
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch.export itself calls what it says will go.
            warnings.filterwarnings("ignore", "`isinstance.treespec", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _compile(function: Any, arguments: tuple[Any, ...]) -> list[Any]:  # noqa: ANN401
    """Compile a function of tensors to files; arguments of None are not used."""
    import torch
    from torch._inductor import aot_compile
    from torch.fx.experimental.proxy_tensor import make_fx

    keys = list(function.KEYS)
    tensors = tuple(x for x in arguments if x is not None)

    def results(*given: torch.Tensor) -> list[torch.Tensor]:
        values = function(*given)
        return [values[key] for key in keys]

    # Records slopes with all else; what is recorded needs no automatic differentiation.
    record = make_fx(results, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    recorded = record(*tensors)
    size = torch.export.Dim
    shape = {0: size("nframes", min=1), 1: size("nall", min=1)}
    rows = {0: shape[0], 1: size("nloc", min=1), 2: size("nnei", min=1)}
    shapes: list[Any] = [shape, shape, shape, rows, shape][: len(tensors)]
    if tensors[2].ndim > tensors[0].ndim:
        shapes[2] = {0: shape[0], 1: size("nstates", min=1), 2: shape[1]}
    shapes += [None] * (len(arguments) - len(tensors))

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recorded = recorded

        def forward(self, *given: torch.Tensor | None) -> dict[str, torch.Tensor]:
            values = self.recorded(*given[: len(tensors)])
            return dict(zip(keys, values, strict=True))

    exported = torch.export.export(
        Named(), arguments, dynamic_shapes=(tuple(shapes),), strict=False
    )
    files = aot_compile(
        exported.module(check_guards=False),
        *exported.example_inputs,
        options={
            "aot_inductor.package": True,
            # Bounds checks of neighbour indices would stop vectorisation.
            "assert_indirect_indexing": False,
            # Our functions take nothing behind them in.
            "epilogue_fusion": False,
            # As many threads as the caller has, one in LAMMPS unless it is told more,
            # not as many as there are here.
            "cpp.dynamic_threads": True,
        },
    )
    assert isinstance(files, list)  # the option asks for them
    return files


def _sample(model: SpinEnergyModel, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return arguments of different sizes, which the compiler takes for unknown."""
    import torch

    nf, nall, nloc, nnei = 2, 23, 13, 19
    generator = torch.Generator().manual_seed(1)
    box = 0.8 * float(model.get_rcut())
    coord = box * torch.rand(nf, nall, 3, dtype=torch.float64, generator=generator)
    atype = torch.arange(nall).repeat(nf, 1) % len(model.get_type_map())
    spin = torch.randn(nf, nall, 3, dtype=torch.float64, generator=generator)
    nlist = torch.arange(1, nnei + 1).repeat(nf, nloc, 1)
    mapping = torch.arange(nall).repeat(nf, 1)
    return tuple(x.to(device) for x in (coord, atype, spin, nlist, mapping))


def _with_states(sample: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Return the arguments with moments of several states."""
    coord, atype, spin, nlist = sample
    factors = spin.new_tensor([1.0, 0.5, -1.0, 0.3, 0.1]).view(-1, 1, 1)
    return coord, atype, spin.unsqueeze(1) * factors, nlist


def _metadata(model: SpinEnergyModel, keys: list[str]) -> dict[str, Any]:
    """Return what deepmd-kit reads of a package; names are its own."""
    definitions = [
        {
            "name": one.name,
            "shape": list(one.shape),
            "reducible": one.reducible,
            "r_differentiable": one.r_differentiable,
            "c_differentiable": one.c_differentiable,
            "atomic": one.atomic,
            "category": int(one.category),
            "r_hessian": one.r_hessian,
            "magnetic": one.magnetic,
            "intensive": one.intensive,
        }
        for one in model.model_output_def().def_outp.get_data().values()
        if one.name == "energy"
    ]
    flags = model.get_use_spin()
    return {
        "type_map": model.get_type_map(),
        "rcut": model.get_rcut(),
        "sel": model.get_sel(),
        "nnei": model.get_nnei(),
        "dim_fparam": 0,
        "dim_aparam": 0,
        "dim_chg_spin": 0,
        "mixed_types": True,
        "has_default_fparam": False,
        "default_fparam": None,
        "has_chg_spin_ebd": False,
        "has_default_chg_spin": False,
        "default_chg_spin": None,
        "fitting_output_defs": definitions,
        "sel_type": [],
        "is_spin": True,
        "spin_scheme": "deepspin",  # the kind of its inputs, not virtual atoms
        "ntypes_spin": sum(flags),
        "use_spin": flags,
        "has_comm_artifact": False,
        "has_message_passing": False,
        "lower_input_kind": "nlist",
        "pair_exclude_types": [],  # done inside
        "do_atomic_virial": True,
        "output_keys": keys,
        # What follows is read by this package alone.
        "has_energies_of_states": True,
        "predicts_moments": model.predicts_moments(),
        "min_nbor_dist": float(model.min_nbor_dist),
    }
