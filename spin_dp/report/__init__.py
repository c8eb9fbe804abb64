# SPDX-License-Identifier: LGPL-3.0-or-later
"""The report of a collected data set; see :func:`write_report`."""

from spin_dp.report.build import Report, write_report

__all__ = ["Report", "write_report"]
