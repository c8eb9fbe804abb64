# SPDX-License-Identifier: LGPL-3.0-or-later
"""Every folder of real VASP outputs: what is kept, what is not and why.

The expected counts are the facts stated in the README of the data; numbers of kept
frames are compared with a reader of lines that shares nothing with the library.
Run as a script, this file prints the table of all runs.
"""

from __future__ import annotations

import gzip
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from spin_dp.data_tools import Frame, Rejected, Source, find_sources, read_source
from spin_dp.data_tools.readers.vasp import outcar, vasprun
from spin_dp.data_tools.readers.vasp import step as vasp_step

KEPT = "kept"
NAN_FORCES = "forces contain NaN or infinite numbers"
EXPECTED: dict[str, dict[str, int]] = {
    "batio3-nonmagnetic-relax": {KEPT: 3},
    "coni-no-lorbit": {outcar.NO_MOMENTS: 1},
    "fe-bcc-vasp620-relax": {KEPT: 4},
    "fe-monomer-collapsed": {vasp_step.POSITIVE: 1},
    "fe12f32o2-no-energies": {vasprun.NO_RESULTS: 1},
    "fe31-vacancy-neb-endpoint": {KEPT: 5},
    "fe3pt-config1": {KEPT: 10},
    "fe3pt-config28": {KEPT: 10},
    "fe4-static": {KEPT: 1},
    "feo-relax-spinflip": {KEPT: 28},
    "fes2-broken-step": {KEPT: 2, vasp_step.POSITIVE: 1, vasp_step.UNFINISHED: 1},
    "fese-config18": {KEPT: 3, vasprun.NO_MOMENTS: 8, vasp_step.UNFINISHED: 1},
    "fese-config21": {KEPT: 13},
    "li16fe16p16o64-relax": {vasprun.NO_MOMENTS: 11},
    # 36 μB on one W atom although the cell has 2 in all.
    "li8sc8w16o63h-merged-numbers": {vasp_step.ABSURD_MOMENT: 1},
    # Beside the energy of an SCF iteration, a force of step 2 is stars.
    "life4p4o16-energy-overflow": {vasprun.NO_MOMENTS: 28, NAN_FORCES: 1},
    "life4p4o16-hse06-relax": {vasprun.NO_MOMENTS: 29},
    "life4p4o16-truncated": {vasprun.NO_MOMENTS: 1},
    "lifeo2-pbesol-relax": {vasprun.NO_MOMENTS: 5},
    "limn8o16-ep0": {KEPT: 1},
    "limn8o16-im0": {KEPT: 2},
    "limn8o16-im1": {KEPT: 2},
    "mn8o16-host": {KEPT: 1},
    "nagds2-dfpt-truncated": {KEPT: 1, vasp_step.UNFINISHED: 1},
    "nb16c8o8-ispin1-relax": {vasp_step.UNPOLARISED: 49},
    "nio-soc-noncollinear": {KEPT: 1},
    "nmc111-li-nupdown81-k1.0": {KEPT: 1},
    "nmc111-li-nupdown81-k1.2": {KEPT: 1},
    "nmc111-lisv-k0.2": {KEPT: 1},
    "nmc111-lisv-k0.6": {KEPT: 1},
    "nmc111-lisv-k0.6-truncated": {vasp_step.UNFINISHED: 1},
    "v4o10-nelm-hit": {vasp_step.UNCONVERGED: 5},
}


class Step(NamedTuple):
    """One ionic step as its lines state it."""

    energy: float
    moments: np.ndarray  # one row for each axis that is printed
    forces: np.ndarray


def steps_of(path: Path) -> list[Step]:
    """Read energies, moments and forces line by line."""
    found: list[Step] = []
    tables: dict[str, list[float]] = {}
    forces: list[list[float]] = []
    natoms = 0
    with gzip.open(path, "rt", encoding="latin-1") as lines:
        for line in lines:
            if "NIONS =" in line:
                natoms = int(line.split()[-1])
            elif "aborting loop" in line:
                tables = {}
            elif line.startswith(" magnetization ("):
                rows = [next(lines) for _ in range(natoms + 3)][3:]
                tables[line[16]] = [float(row.split()[-1]) for row in rows]
            elif "TOTAL-FORCE" in line:
                next(lines)
                rows = [next(lines) for _ in range(natoms)]
                forces = [[float(word) for word in row.split()[3:]] for row in rows]
            elif line.startswith("  free  energy   TOTEN"):
                moments = [tables[axis] for axis in "xyz" if axis in tables]
                found.append(
                    Step(float(line.split()[4]), np.array(moments), np.array(forces))
                )
    return found


@cache
def runs_of(folder: Path) -> list[tuple[Source, list[Frame | Rejected]]]:
    """Read all VASP runs in a folder and its subfolders."""
    return [
        (source, list(read_source(source)))
        for source in find_sources([folder])
        if source.reader == "vasp"
    ]


def outcomes(items: list[Frame | Rejected]) -> Counter[str]:
    return Counter(i.reason if isinstance(i, Rejected) else KEPT for i in items)


def table(data: Path) -> list[str]:
    """Return one line for each run: folder, file, steps, kept, quarantined, reasons."""
    rows = ["folder | files | steps | kept | quarantined | reasons"]
    for folder in sorted(EXPECTED):
        for source, items in runs_of(data / folder):
            counts = outcomes(items)
            kept = counts.pop(KEPT, 0)
            place = source.path.parent.relative_to(data)
            names = " + ".join(file.name for file in source.files)
            why = "; ".join(f"{n} x {reason}" for reason, n in counts.items()) or "-"
            n_rejected = sum(counts.values())
            rows.append(
                f"{place} | {names} | {len(items)} | {kept} | {n_rejected} | {why}"
            )
    return rows


def test_table_covers_all_folders(vasp_data: Path) -> None:
    present = {p.name for p in vasp_data.iterdir() if p.is_dir()} - {"LICENSES"}
    assert present == set(EXPECTED)
    assert len(present) == 32


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_folder_gives_the_frames_it_holds(vasp_data: Path, name: str) -> None:
    runs = runs_of(vasp_data / name)
    counts: Counter[str] = Counter()
    for source, items in runs:
        counts += outcomes(items)
        kept = [item for item in items if isinstance(item, Frame)]
        if not kept:
            continue
        steps = steps_of(source.path)
        for frame in kept:
            assert_same(frame, steps[frame.step - 1])
    assert counts == EXPECTED[name]


def assert_same(frame: Frame, step: Step) -> None:
    """Compare a frame with the lines of its step."""
    assert frame.energy == step.energy
    columns = frame.moments.T if len(step.moments) == 3 else frame.moments.T[2:]
    np.testing.assert_array_equal(columns[:, [0, -1]], step.moments[:, [0, -1]])
    np.testing.assert_allclose(columns.sum(axis=1), step.moments.sum(axis=1))
    # Six decimals in the OUTCAR, eight where there is a vasprun.xml.
    np.testing.assert_allclose(frame.forces[-1], step.forces[-1], rtol=0, atol=6e-7)
    np.testing.assert_allclose(frame.forces[0], step.forces[0], rtol=0, atol=6e-7)


def test_table_lists_every_run_once(vasp_data: Path) -> None:
    rows = table(vasp_data)[1:]
    files = [p for p in vasp_data.rglob("*") if p.name.startswith(("OUTCAR", "vaspr"))]
    assert sum(row.split(" | ")[1].count("+") + 1 for row in rows) == len(files)
    columns = np.array([[int(n) for n in row.split(" | ")[2:5]] for row in rows])
    np.testing.assert_array_equal(columns[:, 0], columns[:, 1] + columns[:, 2])
    assert columns[:, 1].sum() == sum(e.get(KEPT, 0) for e in EXPECTED.values())


if __name__ == "__main__":
    sys.stdout.write("\n".join(table(Path(sys.argv[1]))) + "\n")
