# SPDX-License-Identifier: LGPL-3.0-or-later
"""The frame store gives back what was read, and knows when to read again."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from spin_dp.data_tools import Frame, ReadOptions
from spin_dp.data_tools.collection.frame_store import FrameStore, Shard, signature
from spin_dp.data_tools.collection.reading import read_into
from spin_dp.data_tools.collection.summary import Summary, summarise
from spin_dp.data_tools.frame import Rejected
from spin_dp.data_tools.level import Level, named_level
from spin_dp.data_tools.readers.registry import find_sources, read_source
from spin_dp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spin_dp.data_tools.readers.source import Source

GPAW = Path(__file__).resolve().parents[2] / "examples" / "gpaw"
OPTIONS = ReadOptions()


def frame(seed: int, symbols: Sequence[str], **more: Any) -> Frame:
    rng = np.random.default_rng(seed)
    n = len(symbols)
    values: dict[str, Any] = {
        "source": "runs/a b/OUTCAR",
        "step": seed,
        "symbols": tuple(symbols),
        "cell": np.eye(3) * 6 + rng.normal(size=(3, 3)) * 0.1,
        "positions": rng.uniform(size=(n, 3)) * 6,
        "energy": float(rng.normal()),
        "forces": rng.normal(size=(n, 3)),
        "moments": rng.normal(size=(n, 3)),
        "virial": rng.normal(size=(3, 3)),
        "level": named_level("PBE+U"),
    }
    return Frame(**(values | more))


def items() -> list[Frame | Rejected]:
    """Return frames that differ in everything a frame may have or lack."""
    level = Level(
        "VASP-PBE+U", {"hubbard": {"Mn": {"l": 2, "u_ev": 3.9}}, "encut": 520}
    )
    large = [*["Mn"] * 6, *["Ni"] * 6, *["O"] * 24]
    return [
        frame(1, ["Li", "Mn", "O", "O"]),
        Rejected(source="runs/a b/OUTCAR", step=2, reason="SCF not converged"),
        frame(3, ["Mn", "O"], virial=None, level=level, constrained=True),
        frame(4, large, magnetic_forces=np.ones((36, 3)), constrained=False),
        frame(5, ["Li", "O"], total_moment=-1.25, geometry_id="Å-003", note="é; ü"),
        Rejected(
            source="runs/a b/OUTCAR",
            step=6,
            reason="forces contain NaN",
            formula="MnO",
            natoms=2,
            energy=-3.0,
            total_moment=nan,
            level=level.id,
            constrained=False,
        ),
        frame(7, ["Fe"], energy_kind="energy", virial=None, total_moment=2.2),
        frame(8, ["Mn", "O"], magnetic_forces=np.full((2, 3), -0.5), level=level),
    ]


def assert_equal(found: object, expected: object) -> None:
    if isinstance(expected, Level):
        assert isinstance(found, Level)
        assert (found.id, found.label) == (expected.id, expected.label)
        assert dict(found.description) == dict(expected.description)
    elif isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, float):
        np.testing.assert_equal(found, expected)
    elif hasattr(expected, "__dataclass_fields__"):
        assert type(found) is type(expected)
        for one in fields(expected):  # type: ignore[arg-type]
            assert_equal(getattr(found, one.name), getattr(expected, one.name))
    else:
        assert found == expected
        assert type(found) is type(expected)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "a.extxyz"
    path.write_bytes((GPAW / "NiO2_3.extxyz").read_bytes())
    return find_sources([path])[0]


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    return FrameStore(tmp_path / "store")


@pytest.mark.parametrize("count", [8, 1, 0])
def test_frames_come_back_exactly(
    store: FrameStore, source: Source, count: int
) -> None:
    written = items()[:count]
    store.write(source, OPTIONS, written)
    (shard,) = store.shards()
    found = shard.frames()
    assert len(found) == count
    for one, expected in zip(found, written, strict=True):
        assert_equal(one, expected)


def test_rejected_frames_alone_come_back(store: FrameStore, source: Source) -> None:
    written = [item for item in items() if isinstance(item, Rejected)]
    shard = store.write(source, OPTIONS, written)
    for found in (shard.frames(), shard.summaries()):
        for one, expected in zip(found, written, strict=True):
            assert_equal(one, expected)


def test_summaries_come_back_as_they_were_made(
    store: FrameStore, source: Source
) -> None:
    written = items()
    shard = store.write(source, OPTIONS, iter(written))
    for found, item in zip(shard.summaries(), written, strict=True):
        expected = summarise(item) if isinstance(item, Frame) else item
        if not isinstance(expected, Summary):
            assert_equal(found, expected)
            continue
        assert isinstance(found, Summary)
        for name in (one.name for one in fields(Summary)):
            assert_equal(getattr(found, name), getattr(expected, name))


def test_summary_of_a_frame() -> None:
    one = frame(1, ["Li", "Mn", "O", "O"])
    one = replace(
        one, positions=np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 3.7, 0]])
    )
    summary = summarise(one)
    norms = np.sqrt((one.forces**2).sum(axis=1))
    assert summary.largest_force == pytest.approx(norms.max())
    np.testing.assert_allclose(summary.force_print, sorted(norms, reverse=True))
    assert summary.shortest == pytest.approx(0.7)
    assert summary.elements == ("Li", "Mn", "O")
    assert summary.sites.elements == ("Mn",)
    assert (summary.has_virial, summary.has_magnetic_forces) == (True, False)


def test_shards_stand_in_the_order_of_their_sources(
    tmp_path: Path, store: FrameStore
) -> None:
    names = ["c", "a", "b"]
    for name in names:
        path = tmp_path / f"{name}.extxyz"
        path.write_text("")
        store.write(find_sources([path])[0], OPTIONS, [])
    assert [Path(shard.source).stem for shard in store.shards()] == ["a", "b", "c"]
    assert FrameStore(tmp_path / "nowhere").shards() == []


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def touch(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


@pytest.mark.parametrize("change", [grow, touch])
def test_only_a_changed_file_is_read_again(
    store: FrameStore, source: Source, change: Callable[[Path], None]
) -> None:
    seen: list[tuple[str, int, int]] = []

    def read() -> int:
        return read_into(
            store,
            [source],
            OPTIONS,
            progress=lambda p, i, n: seen.append((p.name, i, n)),
        )

    assert not store.has(source, OPTIONS)
    assert [read(), read()] == [1, 0]
    assert store.has(source, OPTIONS)
    change(source.path)
    assert not store.has(source, OPTIONS)
    assert [read(), read()] == [1, 0]
    assert seen == [("a.extxyz", 1, 1)] * 2
    (shard,) = store.shards()
    frames = list(read_source(source))
    assert len(shard.frames()) == len(frames) == (34 if change is grow else 17)


@pytest.mark.parametrize(
    "options", [ReadOptions(level="SCAN"), ReadOptions(missing_moments="zero")]
)
def test_other_options_read_again(
    store: FrameStore, source: Source, options: ReadOptions
) -> None:
    read_into(store, [source], OPTIONS)
    assert not store.has(source, options)
    assert signature(source, options) != signature(source, OPTIONS)
    assert read_into(store, [source], options) == 1
    assert len(store.shards()) == 1


def test_links_and_other_ways_to_a_file_are_one_source(
    tmp_path: Path, store: FrameStore, source: Source
) -> None:
    read_into(store, [source], OPTIONS)
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path / "link" / "a.extxyz", tmp_path / "x" / ".." / "a.extxyz"):
        (tmp_path / "x").mkdir(exist_ok=True)
        assert store.has(find_sources([path])[0], OPTIONS)


def test_link_that_leads_nowhere_is_one_rejected_frame(
    tmp_path: Path, store: FrameStore, source: Source
) -> None:
    source.path.rename(tmp_path / "target")
    source.path.symlink_to(tmp_path / "gone")
    assert [read_into(store, [source], OPTIONS) for _ in range(2)] == [1, 0]
    (shard,) = store.shards()
    (rejected,) = shard.summaries()
    assert isinstance(rejected, Rejected)
    assert rejected.step == 0
    assert "No such file" in rejected.reason
    (tmp_path / "target").rename(tmp_path / "gone")
    assert read_into(store, [source], OPTIONS) == 1
    assert len(shard.frames()) == 17


def test_file_that_may_be_read_at_last_is_read(
    store: FrameStore, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed permissions change neither size nor time of a file."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        read_into(store, [source], OPTIONS)
        assert store.has(source, OPTIONS)
    assert not store.has(source, OPTIONS)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def scramble(content: bytes) -> bytes:
    middle = content.rindex(b"PK\x01\x02") // 2  # before the table of contents
    return content[:middle] + bytes(200) + content[middle + 200 :]


@pytest.mark.parametrize(
    "damage", [cut, lambda _: b"", lambda _: b"not a zip file", lambda c: c[:-1]]
)
def test_shard_that_is_not_whole_is_read_again(
    store: FrameStore, source: Source, damage: Callable[[bytes], bytes]
) -> None:
    read_into(store, [source], OPTIONS)
    (shard,) = store.shards()
    before = shard.frames()
    shard.path.write_bytes(damage(shard.path.read_bytes()))
    assert not store.has(source, OPTIONS)
    assert store.shards() == []
    with pytest.raises(DataError, match="not a whole file of the frame store; remove"):
        shard.frames()
    assert read_into(store, [source], OPTIONS) == 1
    assert [one.step for one in shard.frames()] == [one.step for one in before]


def test_shard_with_damaged_arrays_is_a_clear_error(
    store: FrameStore, source: Source
) -> None:
    read_into(store, [source], OPTIONS)
    (shard,) = store.shards()
    shard.path.write_bytes(scramble(shard.path.read_bytes()))
    for read in (shard.frames, shard.summaries):
        with pytest.raises(DataError, match=rf"{shard.path.name}: not a whole file"):
            read()


def test_shard_of_another_layout_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "0.npz"
    np.savez(path, record=np.array('{"source": "a", "origin": "/a"}'))
    with pytest.raises(DataError, match="not a whole file of the frame store"):
        Shard(path, "a", "/a").frames()


def test_interrupted_write_leaves_the_earlier_shard(
    store: FrameStore, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = store.write(source, OPTIONS, items())
    before = shard.path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(KeyboardInterrupt):
        store.write(source, OPTIONS, items()[:1])
    assert shard.path.read_bytes() == before
    assert list(store.folder.iterdir()) == [shard.path]


def test_at_least_one_worker(store: FrameStore) -> None:
    with pytest.raises(ConfigError, match="at least one worker must read, got 0"):
        read_into(store, [], OPTIONS, workers=0)
