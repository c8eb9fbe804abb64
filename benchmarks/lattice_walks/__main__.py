# SPDX-License-Identifier: LGPL-3.0-or-later
"""How often the interval of a diffusivity holds the exact one.

``python -m benchmarks.lattice_walks --walks 100``: sixteen ions that jump by 2.9 Å
along the axes of a lattice, five times a hundred frames, 1500 frames a walk.
"""

from __future__ import annotations

import argparse

import numpy as np

from spin_dp.properties.diffusion.slopes import mean_square, slope_samples

HOP, SHARE, INTERVAL, FRAMES, IONS, START = 2.9, 0.05, 0.1, 1500, 16, 2.0
EXACT = SHARE * HOP**2 / INTERVAL  # slope, Å²/ps


def walk(seed: int) -> np.ndarray:
    """Return ways of the ions, (frames, ions, 3), Å."""
    random = np.random.default_rng(seed)
    jumps = np.zeros((FRAMES, IONS, 3))
    ways = random.choice([-HOP, HOP], (FRAMES, IONS))
    ways *= random.random((FRAMES, IONS)) < SHARE
    axes = random.integers(0, 3, (FRAMES, IONS, 1))
    np.put_along_axis(jumps, axes, ways[..., None], axis=2)
    trembling = 0.3 * random.standard_normal((FRAMES, IONS, 3))
    return np.asarray(jumps.cumsum(axis=0) + trembling)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=100)
    asked = parser.parse_args()
    for name, collective in (("tracer", False), ("charge", True)):
        medians, held, widths = [], 0, []
        for seed in range(asked.walks):
            square = mean_square(walk(seed), INTERVAL, collective=collective)
            samples = slope_samples(square, START, seed=seed) / EXACT
            low, high = np.percentile(samples, (2.5, 97.5))
            medians.append(float(np.median(samples)))
            widths.append(float(samples.std()))
            held += bool(low < 1.0 < high)
        print(
            f"{name}: mean {np.mean(medians):.3f}, deviation {np.std(medians):.3f}, "
            f"stated {np.mean(widths):.3f}, 95 % intervals hold in "
            f"{100 * held / asked.walks:.0f} %",
            flush=True,
        )


if __name__ == "__main__":
    main()
