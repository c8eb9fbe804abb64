# SPDX-License-Identifier: LGPL-3.0-or-later
"""One deepmd-kit system on disk: its layout, reading, writing, merging."""
