# SPDX-License-Identifier: LGPL-3.0-or-later
"""One thread, so that ratios between models mean work and not scheduling; and the
table of ratios at the end of a run."""

import os

from spin_dp.threads import process_environment

os.environ |= process_environment(threads=1)

BASELINE = "spin_dp"


def pytest_terminal_summary(terminalreporter, config):
    """Print, for each group, every median over that of our fastest in the same run."""
    session = getattr(config, "_benchmarksession", None)
    if session is None:
        return
    groups: dict[str, dict[str, float]] = {}
    baselines: dict[str, str] = {}
    for bench in session.benchmarks:
        if not bench.stats.data:
            continue  # failed
        name = bench.extra_info.get("label") or bench.params["name"]
        groups.setdefault(bench.group, {})[name] = bench.stats.median
        if name == BASELINE or bench.extra_info.get("baseline"):
            baselines[bench.group] = name
    for group, medians in groups.items():
        if group not in baselines:
            continue
        unit = medians[baselines[group]]
        terminalreporter.write_line(f"\n{group}: median, ratio to {baselines[group]}")
        for name, median in sorted(medians.items(), key=lambda item: item[1]):
            terminalreporter.write_line(
                f"  {name:46s} {1000 * median:9.2f} ms {median / unit:7.2f}"
            )
