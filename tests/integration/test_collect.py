# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin-dp collect`` on the shipped GPAW frames, and deepmd-kit reading the result."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pandas as pd
import pytest

from spin_dp.cli import main
from spin_dp.data_tools import collect
from spin_dp.demo.origins import RATTLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ase import Atoms

    from spin_dp.data_tools import CollectReport

ROOT = Path(__file__).resolve().parents[2]
GPAW = ROOT / "examples" / "gpaw"
VASP = ROOT.parent / "shared" / "data" / "vasp"
NICKEL = GPAW / "NiO2_3.extxyz"
UNCONVERGED = GPAW / "unconverged.extxyz"
FILES = [*(GPAW / f"{name}.extxyz" for name in RATTLED), UNCONVERGED]
N_KEPT = 221  # examples/gpaw/README.md
N_UNCONVERGED = UNCONVERGED.read_text().count("converged=F")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("collect") / "data"
    arguments = ["collect", *map(str, FILES), "-o", str(out), "--validation", "0.1"]
    assert main([*arguments, "--stationary-moments"]) == 0
    return out


@pytest.fixture(scope="module")
def manifest(collected: Path) -> pd.DataFrame:
    return pd.read_csv(collected / "manifest.csv", keep_default_na=False)


@pytest.fixture(scope="module")
def kept(manifest: pd.DataFrame) -> pd.DataFrame:
    return manifest[manifest["status"] == "kept"]


def images(kept: pd.DataFrame) -> Iterator[tuple[pd.Series, Atoms]]:
    files = {
        name: ase.io.read(name, index=":", format="extxyz")
        for name in kept["source"].unique()
    }
    for _, row in kept.iterrows():
        yield row, files[row["source"]][row["step"] - 1]


def test_every_frame_is_in_the_manifest(manifest: pd.DataFrame) -> None:
    counts = manifest["status"].value_counts()
    assert counts.to_dict() == {"kept": N_KEPT, "quarantined": N_UNCONVERGED}
    quarantined = manifest[manifest["status"] == "quarantined"]
    assert set(quarantined["reason"]) == {"SCF not converged (converged=F)"}
    assert set(quarantined["source"]) == {str(UNCONVERGED)}
    assert manifest["level"].nunique() == 1  # one Hamiltonian, README.md


def test_patterns_agree_with_the_states_recorded_in_the_frames(
    kept: pd.DataFrame,
) -> None:
    """``final_state`` holds the rounded moments of the metal atoms in their order."""
    for row, atoms in images(kept):
        words = atoms.info["final_state"].split(";")[0].split(",")
        recorded = sorted(abs(int(word.lstrip("MnCoNi"))) for word in words)
        found = [abs(int(word)) for word in re.findall(r"[+-]?\d+", row["pattern"])]
        assert sorted(found) == recorded


def test_arrays_come_back_from_the_systems(collected: Path, kept: pd.DataFrame) -> None:
    for row, atoms in images(kept):
        data = collected / row["system"] / "set.000"
        map_ = (collected / row["system"] / "type_map.raw").read_text().split()
        assert map_ == ["Li", "Mn", "Co", "Ni", "O"]
        types = np.loadtxt(collected / row["system"] / "type.raw", dtype=int)
        order = np.argsort(
            [map_.index(symbol) for symbol in atoms.get_chemical_symbols()],
            kind="stable",
        )
        assert [map_[t] for t in types] == [atoms[int(i)].symbol for i in order]
        stored = {path.stem: np.load(path)[row["index"]] for path in data.glob("*.npy")}
        stress = atoms.get_stress(voigt=False)
        expected = {
            "coord": atoms.positions[order],
            "force": atoms.get_forces()[order],
            "box": atoms.cell.array,
            "energy": atoms.calc.results["free_energy"],
            "virial": -atoms.get_volume() * stress,
        }
        for name, array in expected.items():
            np.testing.assert_allclose(
                stored[name].ravel(), np.ravel(array), atol=1e-12
            )
        spins = stored["spin"].reshape(-1, 3)
        np.testing.assert_array_equal(spins[:, 2], atoms.calc.results["magmoms"][order])
        np.testing.assert_array_equal(spins[:, :2], 0.0)
        is_free = atoms.info["spin_constraint"] == "none"
        assert ("force_mag" in stored) is is_free
        assert row["system"].endswith("-fm") is is_free
        if is_free:
            np.testing.assert_array_equal(stored["force_mag"], 0.0)


def test_no_geometry_is_on_both_sides(kept: pd.DataFrame) -> None:
    sides = kept.groupby("geometry")["split"].nunique()
    assert sides.max() == 1
    recorded: dict[str, set[str]] = {}
    for row, atoms in images(kept):
        recorded.setdefault(atoms.info["geometry_id"], set()).add(row["split"])
    assert len(recorded) == 68  # README.md
    assert all(len(splits) == 1 for splits in recorded.values())
    held_out = kept[kept["split"] == "validation"]
    assert set(held_out["formula"]) == set(kept["formula"])
    per_formula = kept.groupby("formula")["geometry"].nunique()
    assert held_out["geometry"].nunique() == len(per_formula)  # one of 3 to 8 each


def test_deepmd_reads_the_systems(collected: Path, kept: pd.DataFrame) -> None:
    from deepmd.utils.data import DeepmdData

    systems = kept.groupby("system").size()
    for name, n_frames in systems.head(6).items():
        data = DeepmdData(str(collected / str(name)))
        data.add("energy", 1, atomic=False, must=True, high_prec=True)
        for key in ("force", "spin"):
            data.add(key, 3, atomic=True, must=True, high_prec=False)
        data.add("virial", 9, atomic=False, must=True, high_prec=False)
        assert data.get_type_map() == ["Li", "Mn", "Co", "Ni", "O"]
        assert data.get_numb_batch(1, 0) == n_frames
        batch = data.get_test()
        rows = kept[kept["system"] == name].sort_values("energy")
        order = np.argsort(batch["energy"].ravel())  # deepmd-kit shuffles
        np.testing.assert_allclose(
            batch["energy"].ravel()[order], rows["energy"], rtol=1e-12
        )
        assert batch["find_spin"] == 1.0
        moments = np.load(collected / str(name) / "set.000" / "spin.npy")
        np.testing.assert_allclose(
            batch["spin"][order], moments[rows["index"]], atol=1e-6
        )


def test_tables_name_states_reasons_and_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    sources = [str(GPAW / f"{name}.extxyz") for name in ("NiO2_3", "unconverged")]
    assert main(["collect", *sources, "-o", str(out)]) == 0
    printed, errors = capsys.readouterr()
    for text in ("Ni4+IS[1up]", "Ni4+LS[1]", "SCF not converged", "manifest.csv"):
        assert text in printed
    number = 17 + N_UNCONVERGED
    assert f"kept 17 of {number} frames from 2 sources (2 read now)" in printed
    assert "6 frames have sites whose state is in doubt" in printed  # held at 1 μB
    assert errors == ""
    assert not (out / "validation").exists()
    assert not list(out.rglob("force_mag.npy"))
    assert main(["collect", *sources, "-o", str(out)]) == 0
    assert "from 2 sources (0 read now)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.extxyz"], "no such file or folder"),
        ([str(UNCONVERGED)], f"converged=F.*{N_UNCONVERGED} of {N_UNCONVERGED} frames"),
        ([str(NICKEL), "--type-map", "Ni,C"], "unknown element"),
        ([str(NICKEL), "--validation", "2"], "below 1"),
        ([str(NICKEL), "--max-force", "-1"], "must be positive"),
        ([str(NICKEL), "--workers", "0"], "at least one worker"),
        (
            [str(NICKEL), "--labels", "nominal", "--stationary-moments"],
            "belong to .*DFT",
        ),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert main(["collect", *arguments, "-o", str(tmp_path / "out")]) == 1
    errors = capsys.readouterr().err
    assert re.search(message, errors)
    assert errors.startswith("spin-dp: ")
    assert errors.count("\n") == 1
    left = [path.name for path in tmp_path.rglob("*") if path.suffix != ".npz"]
    assert set(left) <= {"out", ".frames", "lock"}


# --- processes, clusters, kills


def folder_state(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def result(folder: Path) -> dict[str, bytes]:
    """Return everything under a final name, without the frames read."""
    state = folder_state(folder)
    return {k: v for k, v in state.items() if not k.startswith(".frames/")}


@pytest.fixture(scope="module")
def sources() -> list[Path]:
    """Return shipped frames, and real runs where there are some."""
    runs = [VASP / name for name in ("fe3pt-config1", "fese-config18")]
    return [*FILES, *(path for path in runs if path.is_dir())]


@pytest.fixture(scope="module")
def reference(
    sources: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> CollectReport:
    """Return the result of one process that nothing disturbs."""
    return collect(sources, tmp_path_factory.mktemp("reference") / "out")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Return a folder of more files than one process is worth."""
    runs = tmp_path / "runs"
    runs.mkdir()
    lines = NICKEL.read_text().splitlines(keepends=True)
    for step in range(17):
        (runs / f"{step:02d}.xyz").write_text("".join(lines[5 * step : 5 * step + 5]))
    return runs


def test_two_processes_give_the_result_of_one(many: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    one = collect([many], tmp_path / "one")
    two = collect(
        [many], tmp_path / "two", workers=2, progress=lambda p, i, n: seen.append(i)
    )
    assert two.n_read_now == one.n_read_now == 17
    assert seen == list(range(1, 18))
    assert folder_state(tmp_path / "one") == folder_state(tmp_path / "two")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Yield the address of a Dask scheduler with one worker process."""
    import distributed

    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as running:
        yield running.scheduler_address


def test_cluster_gives_the_result_of_one_process(
    cluster: str, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers were started in another folder: relative paths must hold there."""
    monkeypatch.chdir(tmp_path)
    arguments = ["collect", many.name, "-o", "out", "--scheduler", cluster]
    assert main(arguments) == 0
    collect([many], tmp_path / "one")
    assert folder_state(tmp_path / "out") == folder_state(tmp_path / "one")


def test_absent_scheduler_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    client = distributed.Client
    monkeypatch.setattr(
        distributed, "Client", lambda address, timeout: client(address, timeout="0.2s")
    )
    out = tmp_path / "out"
    arguments = ["collect", str(NICKEL), "-o", str(out), "--scheduler"]
    assert main([*arguments, "tcp://127.0.0.1:9"]) == 1
    expected = r"spin-dp: tcp://127\.0\.0\.1:9: no Dask scheduler answers there; .*\n"
    assert re.fullmatch(expected, capsys.readouterr().err)
    assert not out.exists()


def start(sources: list[Path], out: Path, *more: str) -> subprocess.Popen[str]:
    # A shell that runs the tests in the background has children ignore the key.
    key = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{key}\nfrom spin_dp.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "collect", *map(str, sources)]
    return subprocess.Popen(
        [*command, "-o", str(out), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    """Kill a collection at a moment before it ends; its own processes end too."""
    with process:
        while not ready():
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        tasks = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        children = tasks.read_text().split() if tasks.exists() else []
        process.kill()
    assert process.returncode == -signal.SIGKILL
    patience = time.monotonic() + 20.0
    while any(map(is_running, children)):
        assert time.monotonic() < patience, "a reading process outlived its parent"
        time.sleep(0.01)


def is_running(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def n_shards(out: Path) -> int:
    return len(list((out / ".frames").glob("*.npz")))


def has_shards(out: Path, count: int) -> bool:
    return n_shards(out) >= count


def finish(process: subprocess.Popen[str]) -> str:
    printed, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    return printed


def test_killed_collections_go_on(
    sources: list[Path], reference: CollectReport, tmp_path: Path
) -> None:
    """Killed while it reads, with one and two processes, and while it writes."""
    out, part = tmp_path / "out", tmp_path / ".out.part"
    for workers, count in (("1", 3), ("2", 8)):
        process = start(sources, out, "--workers", workers)
        kill_when(process, partial(has_shards, out, count))
        assert {path.name for path in out.iterdir()} == {".frames"}
    kill_when(start(sources, out), (part / "training").exists)
    assert {path.name for path in out.iterdir()} == {".frames"}
    assert n_shards(out) == reference.n_sources
    assert "(0 read now)" in finish(start(sources, out))
    assert folder_state(out) == folder_state(reference.out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_killed_update_leaves_the_earlier_result(
    sources: list[Path], reference: CollectReport, tmp_path: Path
) -> None:
    out, part = tmp_path / "out", tmp_path / ".out.part"
    collect([NICKEL], out)
    before = result(out)
    kill_when(start(sources, out), partial(has_shards, out, 5))
    assert result(out) == before
    kill_when(start(sources, out), (part / "manifest.csv").exists)
    assert result(out) in (before, result(reference.out))
    finish(start(sources, out))
    assert result(out) == result(reference.out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_second_collection_into_a_folder_is_refused(
    sources: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    process = start(sources, out)

    def refused() -> bool:
        if n_shards(out) > 0:
            assert main(["collect", str(NICKEL), "-o", str(out)]) == 1
            return True
        return False

    kill_when(process, refused)
    errors = capsys.readouterr().err
    assert re.fullmatch(r"spin-dp: .*another process collects into this .*\n", errors)


def test_interrupt_key_ends_all_processes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    # Many copies: it must not be done before the key arrives.
    for number in range(30):
        shutil.copytree(GPAW, tmp_path / "frames" / str(number))
    process = start([tmp_path / "frames"], out, "--workers", "2")
    with process:
        while n_shards(out) < 2:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in printed + errors
    assert {path.name for path in out.iterdir()} == {".frames"}
