# SPDX-License-Identifier: LGPL-3.0-or-later
"""The shipped model beside universal potentials, on held-out hot frames."""
