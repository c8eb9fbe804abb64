# SPDX-License-Identifier: LGPL-3.0-or-later
"""One thread, so that ratios between models mean work and not scheduling."""

import os

for _name in ("OMP_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS"):
    os.environ[_name] = "1"
os.environ["DP_INTER_OP_PARALLELISM_THREADS"] = "1"
