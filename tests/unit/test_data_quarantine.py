# SPDX-License-Identifier: LGPL-3.0-or-later
"""What must not be trained on is set aside with its reason, and nothing else is."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from spin_dp.data_tools import CollectReport, Frame, Rules, collect, read_outcar
from spin_dp.data_tools.collection.quarantine import find_flaws
from spin_dp.data_tools.collection.summary import summarise
from spin_dp.data_tools.level import named_level

if TYPE_CHECKING:
    from collections.abc import Sequence

GPAW = Path(__file__).resolve().parents[2] / "examples" / "gpaw"
CELL = np.diag([4.0, 4.1, 8.3])


def pair(*moments: float, energy: float = -20.0, **more: Any) -> Frame:
    """Return a cell with two Gd sites that differ by nothing but their moments."""
    positions = np.array([[0, 0, 0], [0, 0, 4.15], [2, 2, 2.05], [2, 2, 6.25]])
    vectors = np.zeros((4, 3))
    vectors[: len(moments), 2] = moments
    values: dict[str, Any] = {
        "source": "made",
        "step": 1,
        "symbols": ("Gd", "Gd", "O", "O"),
        "cell": CELL,
        "positions": positions,
        "energy": energy,
        "forces": np.arange(12.0).reshape(4, 3) / 10,
        "moments": vectors,
        "virial": None,
        "level": named_level("made"),
    }
    return Frame(**(values | more))


def flaws(frames: Sequence[Frame], max_force: float = 50.0) -> dict[int, str]:
    numbered = [replace(frame, step=i) for i, frame in enumerate(frames)]
    return find_flaws([summarise(frame) for frame in numbered], max_force)


def moved(frame: Frame, seed: int, sign: float = 1.0) -> Frame:
    """Return the same calculation with other order of atoms and other images."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(frame.natoms)
    shifts = rng.integers(-1, 2, size=(frame.natoms, 3)) @ frame.cell
    return replace(
        frame,
        symbols=tuple(np.array(frame.symbols)[order]),
        positions=(frame.positions + shifts)[order],
        forces=frame.forces[order],
        moments=sign * frame.moments[order],
    )


# --- copies


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_copies_are_found_in_any_order_of_atoms_and_sign(sign: float) -> None:
    frame = pair(6.9, -6.8)
    copies = [replace(frame, moments=sign * frame.moments)]
    copies += [moved(frame, seed, sign) for seed in range(8)]
    reasons = flaws([frame, *copies])
    assert reasons == dict.fromkeys(range(1, 10), "duplicate of made, step 0")


@pytest.mark.parametrize(
    "other",
    [
        pair(7.0, -7.0),  # antiferromagnetic: no energy apart, another state
        pair(7.0, 7.01),
        pair(7.0, 7.0, energy=-20.0004),
        pair(7.0, 7.0, level=named_level("other")),
        pair(7.0, 7.0, constrained=True),
        pair(7.0, 7.0, forces=np.arange(12.0).reshape(4, 3) / 9.9),
        pair(7.0, 7.0, cell=CELL + 1e-3),
    ],
)
def test_frames_that_differ_in_anything_that_counts_are_kept(other: Frame) -> None:
    assert flaws([pair(7.0, 7.0), other]) == {}
    assert flaws([pair(7.0, 7.0), moved(other, 3)]) == {}


def test_antiferromagnet_reordered_is_no_copy_of_the_ferromagnet() -> None:
    assert flaws([pair(7.0, 7.0), moved(pair(7.0, -7.0), 1)]) == {}


def test_other_arrangement_of_the_same_moments_is_no_copy() -> None:
    first, second = (
        pair(*moments, symbols=("Gd",) * 4)
        for moments in ((7, -7, 5, -5), (7, -7, -5, 5))
    )
    assert flaws([first, second]) == {}


def test_copies_of_copies_name_the_first_one() -> None:
    frame, other = pair(7.0, 7.0), pair(7.0, 0.0)
    first, second = "duplicate of made, step 0", "duplicate of made, step 1"
    assert flaws([frame, other, frame, other, frame]) == {2: first, 3: second, 4: first}


def test_copies_agree_to_the_digits_that_outputs_have() -> None:
    near = pair(7.0004, 6.9997, energy=-20.000008)
    assert set(flaws([pair(7.0, 7.0), near])) == {1}
    assert flaws([pair(7.0, 7.0), pair(7.001, 7.0)]) == {}
    assert flaws([pair(7.0, 7.0), pair(7.0, 7.0, energy=-20.00002)]) == {}


# --- absurd frames


def test_force_spike_is_one_over_the_limit() -> None:
    forces = np.zeros((4, 3))
    forces[2] = [3.0, 4.0, 0.0]
    frame = pair(7.0, 7.0, forces=forces)
    assert flaws([frame], max_force=5.0) == {}
    assert flaws([frame], max_force=4.9) == {0: "force spike: a force over 4.9 eV/Å"}


@pytest.mark.parametrize(("distance", "overlaps"), [(0.49, True), (0.51, False)])
def test_overlapping_atoms_also_across_the_cell_edge(
    distance: float, overlaps: bool
) -> None:
    positions = pair(7.0).positions.copy()
    positions[2] = [0.0, CELL[1, 1] - distance, 0.0]
    reasons = flaws([pair(7.0, positions=positions)])
    assert [text.startswith("atoms overlap") for text in reasons.values()] == [
        True
    ] * overlaps


def test_energy_outlier_needs_three_frames_of_its_kind() -> None:
    """fe-monomer-collapsed shows +711 eV; a lonely frame has nothing to differ from."""
    cells = [CELL * (1 + 0.01 * i) for i in range(3)]
    good = [pair(7.0, energy=-20.0 + i / 10, cell=cells[i]) for i in range(2)]
    assert flaws([*good, pair(7.0, energy=-230.0, cell=cells[2])]) == {
        2: "absurd energy: over 50 eV/atom from the median of its formula and level"
    }
    assert flaws([good[0], pair(7.0, energy=-230.0, cell=cells[2])]) == {}
    just = pair(7.0, energy=-19.9 - 4 * 49.0, cell=cells[2])
    assert flaws([*good, just]) == {}


# --- in a data set


def write(
    path: Path, *, energy: float = -9.0, cell: float = 4.0, **more: float
) -> Path:
    force, height = more.get("force", 0.1), more.get("height", 2.0)
    path.write_text(
        f'2\nLattice="{cell} 0 0 0 {cell} 0 0 0 {cell}" pbc="T T T" '
        f"free_energy={energy} Properties=species:S:1:pos:R:3:forces:R:3:magmoms:R:1\n"
        f"Ni 0 0 0 {force} 0 0 1.7\nO 0 0 {height} {-force} 0 0 0.1\n"
    )
    return path


COUNTED_DUPLICATES = "duplicate of another frame (the manifest says which)"


def reasons_in(report: CollectReport) -> dict[str, str]:
    table = pd.read_csv(report.manifest, keep_default_na=False)
    assert len(table) == report.n_read == report.n_kept + report.n_quarantined
    rows = table[table["status"] == "quarantined"]
    assert len(rows) == report.n_quarantined == sum(report.reasons.values())
    shown = rows["reason"].str.replace(
        r"^duplicate of .*", COUNTED_DUPLICATES, regex=True
    )
    assert set(shown) == set(report.reasons)
    assert set(rows["system"]) | set(rows["key"]) | set(rows["split"]) <= {""}
    return {Path(row["source"]).name: row["reason"] for row in rows.to_dict("records")}


def test_every_reason_has_its_row(tmp_path: Path) -> None:
    for index in range(4):
        write(tmp_path / f"good{index}.xyz", cell=4.0 + index / 10, energy=-9 + index)
    write(tmp_path / "spike.xyz", cell=4.5, force=31.0)
    write(tmp_path / "overlap.xyz", cell=4.6, height=0.3)
    write(tmp_path / "outlier.xyz", cell=4.7, energy=-900.0)
    write(tmp_path / "same.xyz", cell=4.1, energy=-8.0)
    text = (tmp_path / "good0.xyz").read_text()
    (tmp_path / "unconverged.xyz").write_text(text.replace("pbc=", "converged=F pbc="))
    report = collect([tmp_path], tmp_path / "out", rules=Rules(max_force=30.0))
    assert reasons_in(report) == {
        "spike.xyz": "force spike: a force over 30 eV/Å",
        "overlap.xyz": "atoms overlap: two of them are less than 0.5 Å apart",
        "outlier.xyz": "absurd energy: over 50 eV/atom from the median of its formula "
        "and level",
        "same.xyz": f"duplicate of {tmp_path / 'good1.xyz'}, step 1",
        "unconverged.xyz": "SCF not converged (converged=F)",
    }
    assert report.n_kept == 4


def test_one_run_found_twice_counts_once(vasp_data: Path, tmp_path: Path) -> None:
    """The same OUTCAR plain and gzipped, and copied to another folder."""
    runs = tmp_path / "runs"
    (runs / "copy").mkdir(parents=True)
    gzipped = vasp_data / "fe-bcc-vasp620-relax" / "OUTCAR.gz"
    shutil.copy(gzipped, runs / "OUTCAR.gz")
    shutil.copy(gzipped, runs / "copy" / "OUTCAR.gz")
    (runs / "OUTCAR").write_bytes(gzip.decompress(gzipped.read_bytes()))
    report = collect([runs], tmp_path / "out")
    steps = len(list(read_outcar(gzipped)))
    assert (report.n_kept, report.n_quarantined) == (steps, 2 * steps)
    assert report.reasons == {COUNTED_DUPLICATES: 2 * steps}
    table = pd.read_csv(report.manifest)
    kept = table[table["status"] == "kept"]
    assert kept["source"].nunique() == 1
    first = kept["source"].iloc[0]
    for row in table[table["status"] == "quarantined"].to_dict("records"):
        assert row["reason"] == f"duplicate of {first}, step {row['step']}"


def test_equal_solutions_from_other_starts_are_kept(tmp_path: Path) -> None:
    """README.md: different starts led to one solution, within 0.02 meV (median)."""
    names = ("CoO2_3", "LiMnO2_4", "LiNi05Mn05O2")
    report = collect([GPAW / f"{name}.extxyz" for name in names], tmp_path / "out")
    assert (report.n_kept, report.n_quarantined) == (24 + 24 + 10, 0)
