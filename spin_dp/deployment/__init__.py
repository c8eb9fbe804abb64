# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fast forms of frozen models: compressed, compiled, the faster of both."""

from spin_dp.deployment.cache import cache_folder, fast_models
from spin_dp.deployment.compare import Deviation, compare, split_to_compare
from spin_dp.deployment.compile import compile_model
from spin_dp.deployment.compress import compress
from spin_dp.deployment.fastest import Deployed, Timing, deploy
from spin_dp.deployment.rebuild import PRECISIONS

__all__ = [
    "PRECISIONS",
    "Deployed",
    "Deviation",
    "Timing",
    "cache_folder",
    "compare",
    "compile_model",
    "compress",
    "deploy",
    "fast_models",
    "split_to_compare",
]
