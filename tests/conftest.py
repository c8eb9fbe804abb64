# SPDX-License-Identifier: LGPL-3.0-or-later
"""What many tests share: small random-weight models, data outside the repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from spin_dp.threads import default_to_one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from spin_dp.model.energy import SpinEnergyModel

default_to_one_thread()
# PyTorch tries each set of vector instructions in a process of its own, ten seconds
# before anything is compiled; the processor's own word will do here.
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")

TYPE_MAP = ["Li", "Mn", "Co", "Ni", "O"]
STATES_INFO: dict[str, Any] = {
    "states": [
        {"name": "Mn3+HS", "moment": 3.7, "lowest": 3.5, "highest": 3.9, "sites": 9},
        {"name": "Mn3+LS", "moment": 1.9, "lowest": 1.8, "highest": 2.0, "sites": 5},
        {"name": "Mn4+", "moment": 3.1, "lowest": 3.0, "highest": 3.2, "sites": 4},
        {"name": "Ni2+", "moment": 1.7, "lowest": 1.6, "highest": 1.8, "sites": 7},
        {"name": "Ni3+LS", "moment": 1.2, "lowest": 1.0, "highest": 1.3, "sites": 6},
    ],
    "largest": {"Mn": 3.9, "Ni": 1.8, "O": 0.3},
}
"""What a model remembers of the spin states of its training data."""
ROOT = Path(__file__).resolve().parents[1]


def model_params(**descriptor: Any) -> dict[str, Any]:
    """Return the model section of an input with nets of a few hundred parameters."""
    return {
        "type": "spin_dp",
        "type_map": list(TYPE_MAP),
        "descriptor": {
            "type": "spin_se_e2_a",
            "rcut": 5.0,
            "rcut_smth": 1.0,
            "sel": 60,
            "neuron": [6, 12],
            "axis_neuron": 4,
            "spin_neuron": [4, 8],
            "spin_axis_neuron": 4,
            "pair_neuron": [10],
            "tebd_dim": 4,
            "seed": 1,
            **descriptor,
        },
        "fitting_net": {"type": "ener", "neuron": [16, 16], "seed": 2},
        "spin": {"use_spin": ["Mn", "Co", "Ni"]},
    }


def build_model(
    section: dict[str, Any] | None = None, **descriptor: Any
) -> SpinEnergyModel:
    """Return a model with random weights and plausible input scales."""
    from spin_dp.model.energy import SpinEnergyModel

    params = model_params(**descriptor) | (section or {})
    model = SpinEnergyModel.get_model(params)
    model.atomic_model.descriptor.core.set_statistics(
        radial=0.15, angular=0.08, n_neighbours=40.0, moments=[0.0, 3.0, 2.5, 1.2, 0.2]
    )
    bias = np.array([-1.9, -8.0, -6.5, -5.2, -4.4]).reshape(1, 5, 1)
    model.set_out_bias(model.get_out_bias().new_tensor(bias))
    model.min_nbor_dist = model.min_nbor_dist.new_tensor(1.5)
    model.eval()
    return model


@pytest.fixture(scope="session")
def make_model() -> Callable[..., SpinEnergyModel]:
    """Return the function that builds a random-weight model with other settings."""
    return build_model


@pytest.fixture(scope="session")
def model() -> SpinEnergyModel:
    """Return the random-weight model in float64, as deepmd-kit builds it."""
    return build_model()


@pytest.fixture(scope="session")
def frozen_model(
    model: SpinEnergyModel, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the path of that model as ``dp --pt freeze`` writes it."""
    import torch

    path = tmp_path_factory.mktemp("frozen") / "model.pth"
    script: Any = torch.jit.script
    torch.jit.save(script(model), path)
    return path


@pytest.fixture(scope="session")
def predicting_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a frozen model that reads oxygen's moments and predicts all.

    Its repulsion reaches so far that bonds feel it.
    """
    import torch

    model = build_model(
        {
            "moment_net": {"neuron": [8], "seed": 3},
            "spin": {"use_spin": ["Mn", "Co", "Ni", "O"]},
            "repulsion": {"inner": 0.8, "outer": 1.25},
            "info": STATES_INFO,
        }
    )
    path = tmp_path_factory.mktemp("predicting") / "model.pth"
    script: Any = torch.jit.script
    torch.jit.save(script(model), path)
    return path


@pytest.fixture(scope="session")
def label_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a frozen model that says that it read labels in half of its training."""
    import torch

    model = build_model(
        {
            "moment_net": {"neuron": [8], "seed": 3},
            "spin": {"use_spin": ["Mn", "Co", "Ni", "O"]},
            "info": STATES_INFO | {"label_share": 0.5},
        }
    )
    path = tmp_path_factory.mktemp("labels") / "model.pth"
    script: Any = torch.jit.script
    torch.jit.save(script(model), path)
    return path


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return shipped frames of LiMnO2 as ``spin-dp collect`` writes them."""
    from spin_dp.data_tools import Rules, collect

    folder = tmp_path_factory.mktemp("collected") / "data"
    frames = ROOT / "examples" / "gpaw" / "LiMnO2_4.extxyz"
    collect([frames], folder, type_map=TYPE_MAP, rules=Rules(validation=0.3))
    return folder


@pytest.fixture(scope="session")
def compiled_model(
    predicting_model: Path, collected: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """Return that model compiled, and what ``spin-dp compile --check`` said."""
    import contextlib
    import io

    from filelock import FileLock

    from spin_dp.cli.app import main

    # Processes that share the tests share it, too: it takes half a minute.
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if is_worker else folder
    path, output = folder / "compiled.pt2", folder / "compiled.txt"
    with FileLock(folder / "compiled.lock"):
        if not output.is_file():
            said = io.StringIO()
            arguments = ["compile", str(predicting_model), "-o", str(path)]
            with contextlib.redirect_stdout(said):
                assert main([*arguments, "--check", str(collected)]) == 0
            output.write_text(said.getvalue())
    return path, output.read_text()


@pytest.fixture(scope="session")
def vasp_data() -> Path:
    """Return the folder of real VASP outputs; where absent, skip, but fail in CI."""
    folder = ROOT.parent / "shared" / "data" / "vasp"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the VASP outputs are missing: {folder}")
        pytest.skip(f"the VASP outputs are not here: {folder}")
    return folder
