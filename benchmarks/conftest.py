# SPDX-License-Identifier: LGPL-3.0-or-later
"""One thread, so that ratios between models mean work and not scheduling; and the
table of ratios at the end of a run."""

import os

for _name in ("OMP_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS"):
    os.environ[_name] = "1"
os.environ["DP_INTER_OP_PARALLELISM_THREADS"] = "1"

BASELINE = "spin_dp"


def pytest_terminal_summary(terminalreporter, config):
    """Print, for each group, every median over that of spin_dp in the same run."""
    session = getattr(config, "_benchmarksession", None)
    if session is None:
        return
    groups: dict[str, dict[str, float]] = {}
    for bench in session.benchmarks:
        if not bench.stats.data:
            continue  # failed
        name = bench.params["name"] if bench.params else bench.name
        groups.setdefault(bench.group, {})[name] = bench.stats.median
    for group, medians in groups.items():
        if BASELINE not in medians:
            continue
        terminalreporter.write_line(f"\n{group}: median, and ratio to {BASELINE}")
        for name, median in sorted(medians.items(), key=lambda item: item[1]):
            ratio = median / medians[BASELINE]
            terminalreporter.write_line(
                f"  {name:28s} {1000 * median:9.2f} ms {ratio:7.2f}"
            )
