# SPDX-License-Identifier: LGPL-3.0-or-later
"""Readers: one for each kind of file or folder that holds calculated frames."""
