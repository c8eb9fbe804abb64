# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fast forms of frozen models: compressed, compiled; and what they differ by."""

from spin_dp.deployment.compare import Deviation, compare
from spin_dp.deployment.compile import compile_model
from spin_dp.deployment.compress import compress
from spin_dp.deployment.rebuild import PRECISIONS

__all__ = ["PRECISIONS", "Deviation", "compare", "compile_model", "compress"]
