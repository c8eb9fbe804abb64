# SPDX-License-Identifier: LGPL-3.0-or-later
"""The ``spin-dp`` command: one verb a module, each a thin shell over the Python API."""

from spin_dp.cli.app import main

__all__ = ["main"]
