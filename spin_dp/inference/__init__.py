# SPDX-License-Identifier: LGPL-3.0-or-later
"""Asking a model: any model file, structures and labels in, energies out."""
