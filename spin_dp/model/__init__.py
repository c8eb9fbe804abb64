# SPDX-License-Identifier: LGPL-3.0-or-later
"""Our side of deepmd-kit: the descriptor and the model in the host's terms.

Only this folder imports deepmd-kit's internals (3.2.x).
"""

# The host first: it loads our plug-in, and with it this folder, while it starts.
# The other way round the two would wait for each other.
import deepmd.pt  # noqa: F401
