# SPDX-License-Identifier: LGPL-3.0-or-later
"""How many frames a fine-tuned model needs, against one trained from nothing."""
