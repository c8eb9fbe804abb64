# SPDX-License-Identifier: LGPL-3.0-or-later
"""The compressed descriptor as C++ functions, put into compiled models for CPUs."""

from spin_dp.deployment.kernel.descriptor import DescriptorKernel

__all__ = ["DescriptorKernel"]
