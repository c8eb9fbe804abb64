# SPDX-License-Identifier: LGPL-3.0-or-later
"""The data set that ``spin-dp collect`` makes: what was read, decided, written."""
