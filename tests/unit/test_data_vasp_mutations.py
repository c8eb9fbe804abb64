# SPDX-License-Identifier: LGPL-3.0-or-later
"""Damaged VASP files: never an exception, never another frame than the true one.

Real files are cut, garbled and rearranged at random; whatever is still accepted must
be a frame of the undamaged run. ``SPIN_DP_MUTATIONS=1000`` asks for a longer run.

Left out are damages that no reader can see: a digit that becomes another digit, a sign
that is lost, and lines exchanged in a vasprun.xml without its OUTCAR, as its rows carry
no numbers.
"""

from __future__ import annotations

import gzip
import os
import re
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from spin_dp.data_tools import Frame, ReadOptions, Source, read_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N_MUTATIONS = int(os.environ.get("SPIN_DP_MUTATIONS", "60"))
OPTIONS = ReadOptions(missing_moments="zero")


class Run(NamedTuple):
    """Files of a run, the first of which is damaged."""

    damaged: str
    beside: str = ""


RUNS = [
    Run("feo-relax-spinflip/OUTCAR.gz"),
    Run("fe-bcc-vasp620-relax/OUTCAR.gz"),
    Run("nio-soc-noncollinear/OUTCAR.gz"),
    Run("limn8o16-ep0/OUTCAR.gz"),
    Run("nmc111-li-nupdown81-k1.2/OUTCAR.gz"),
    Run("fe4-static/OUTCAR.gz"),
    Run("fes2-broken-step/OUTCAR.gz"),
    Run("nb16c8o8-ispin1-relax/OUTCAR.gz"),
    Run("nb16c8o8-ispin1-relax/vasprun.xml.gz"),
    Run("life4p4o16-truncated/vasprun.xml.gz"),
    Run("feo-relax-spinflip/OUTCAR.gz", "feo-relax-spinflip/vasprun.xml.gz"),
    Run("feo-relax-spinflip/vasprun.xml.gz", "feo-relax-spinflip/OUTCAR.gz"),
    Run("nb16c8o8-ispin1-relax/OUTCAR.gz", "nb16c8o8-ispin1-relax/vasprun.xml.gz"),
    Run("nb16c8o8-ispin1-relax/vasprun.xml.gz", "nb16c8o8-ispin1-relax/OUTCAR.gz"),
]

BLOCKS = [
    *("TOTAL-FORCE", "magnetization (x)", "direct lattice vectors", "  in kB "),
    *("free  energy   TOTEN", "aborting loop", "TITEL", "position of ions in cart"),
    *("ions per type", "ISPIN  =", "Startparameter", "length of vectors", "tot  "),
    *('<varray name="positions"', '<varray name="forces"', '<varray name="basis"'),
    *("<energy>", "<structure>", "<calculation>", "</calculation>", "<scstep>"),
    *('name="LDAUU"', 'name="ISMEAR"', '<array name="atoms"', "<parameters>"),
]


def cut(text: str, rng: np.random.Generator) -> str:
    return text[: rng.integers(len(text))]


def delete_line(text: str, rng: np.random.Generator) -> str:
    lines, index = text.split("\n"), chosen_line(text, rng)
    return "\n".join(lines[:index] + lines[index + 1 :])


def duplicate_line(text: str, rng: np.random.Generator) -> str:
    lines, index = text.split("\n"), chosen_line(text, rng)
    return "\n".join(lines[: index + 1] + lines[index:])


def swap_lines(text: str, rng: np.random.Generator) -> str:
    lines = text.split("\n")
    first, second = chosen_line(text, rng), chosen_line(text, rng)
    lines[first], lines[second] = lines[second], lines[first]
    return "\n".join(lines)


def swap_neighbours(text: str, rng: np.random.Generator) -> str:
    lines = text.split("\n")
    index = min(chosen_line(text, rng), len(lines) - 2)
    lines[index], lines[index + 1] = lines[index + 1], lines[index]
    return "\n".join(lines)


def overflow(text: str, rng: np.random.Generator) -> str:
    """Turn a number into stars, or its last digits only."""
    lines = text.split("\n")
    for _ in range(20):  # until there is a line with numbers
        index = chosen_line(text, rng)
        numbers = list(re.finditer(r"\d[\d.]*", lines[index]))
        if numbers:
            start, end = numbers[rng.integers(len(numbers))].span()
            if rng.random() < 0.5:
                start = int(rng.integers(start, end))
            lines[index] = (
                lines[index][:start] + "*" * (end - start) + lines[index][end:]
            )
            break
    return "\n".join(lines)


def windows_line_ends(text: str, rng: np.random.Generator) -> str:
    return text.replace("\n", "\r\n")


def remove_block(text: str, rng: np.random.Generator) -> str:
    present = [block for block in BLOCKS if block in text]
    lines, block = text.split("\n"), present[rng.integers(len(present))]
    places = [index for index, line in enumerate(lines) if block in line]
    place = places[rng.integers(len(places))]
    return "\n".join(lines[:place] + lines[place + int(rng.integers(1, 12)) :])


def garble(text: str, rng: np.random.Generator) -> str:
    """Put bytes that are no part of a number into one place or several."""
    letters = [chr(c) for c in range(256) if chr(c) not in "0123456789+-. \n\r\t"]
    characters = list(text)
    for _ in range(int(rng.integers(1, 20))):
        start = len("\n".join(text.split("\n")[: chosen_line(text, rng)]))
        place = min(start + int(rng.integers(80)), len(text) - 1)
        characters[place] = letters[rng.integers(len(letters))]
    return "".join(characters)


MUTATIONS: list[Callable[[str, np.random.Generator], str]] = [
    *(cut, delete_line, duplicate_line, swap_lines, swap_neighbours),
    *(overflow, windows_line_ends, remove_block, garble),
]
UNSEEN_IN_VASPRUN = (swap_lines, swap_neighbours)


@cache
def telling_lines(text: str) -> list[int]:
    """Return the lines near what is read, so that damage does not only hit the rest."""
    found: set[int] = set()
    for index, line in enumerate(text.split("\n")):
        if any(block in line for block in BLOCKS):
            found |= set(range(index, index + 10))
    return sorted(found)


def chosen_line(text: str, rng: np.random.Generator) -> int:
    n_lines = text.count("\n")
    telling = telling_lines(text)
    if telling and rng.random() < 0.7:
        return min(telling[rng.integers(len(telling))], n_lines)
    return int(rng.integers(n_lines))


@cache
def unpacked(path: Path) -> str:
    with gzip.open(path, "rt", encoding="latin-1") as stream:
        return stream.read()


def frames(path: Path, beside: Path | None) -> tuple[list[Frame], list[str]]:
    files = (path,) if beside is None else (path, beside)
    if beside is not None and "OUTCAR" in beside.name:
        files = files[::-1]
    items = list(read_source(Source("vasp", files[0], files), OPTIONS))
    kept = [item for item in items if isinstance(item, Frame)]
    return kept, [item.reason for item in items if not isinstance(item, Frame)]


@pytest.fixture(scope="module")
def truth(vasp_data: Path) -> dict[Run, list[Frame]]:
    """Return the frames of each run without damage."""
    return {
        run: frames(
            vasp_data / run.damaged, vasp_data / run.beside if run.beside else None
        )[0]
        for run in RUNS
    }


def is_same(frame: Frame, other: Frame) -> bool:
    """Compare what goes into a data set, within the rounding of an OUTCAR."""
    if frame.symbols != other.symbols or frame.level.id != other.level.id:
        return False
    if frame.constrained not in {None, other.constrained}:
        return False
    if frame.virial is not None and (
        other.virial is None or not np.allclose(frame.virial, other.virial, atol=2e-5)
    ):
        return False
    if not np.allclose(frame.cell, other.cell, rtol=0, atol=2e-8):
        return False
    shift = (frame.positions - other.positions) @ np.linalg.inv(frame.cell)
    moved = (shift - np.round(shift)) @ frame.cell
    return bool(
        abs(frame.energy - other.energy) < 1e-7
        and np.abs(moved).max() < 1.2e-5
        and np.allclose(frame.forces, other.forces, rtol=0, atol=1.2e-6)
        and np.array_equal(frame.moments, other.moments)
        and frame.energy_kind == other.energy_kind
    )


def damage(run: Run, text: str, rng: np.random.Generator) -> tuple[str, str]:
    """Return the name of a damage and the damaged text."""
    is_single_vasprun = "vasprun" in run.damaged and not run.beside
    choices = [
        mutate
        for mutate in MUTATIONS
        if not (is_single_vasprun and mutate in UNSEEN_IN_VASPRUN)
    ]
    mutate = choices[int(rng.integers(len(choices)))]
    return mutate.__name__, mutate(text, rng)


def test_damage_is_refused_or_harmless(
    vasp_data: Path,
    truth: dict[Run, list[Frame]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(N_MUTATIONS):
        rng = np.random.default_rng([20240607, number])
        run = RUNS[number % len(RUNS)]
        path = tmp_path / ("OUTCAR" if "OUTCAR" in run.damaged else "vasprun.xml")
        name, damaged = damage(run, unpacked(vasp_data / run.damaged), rng)
        path.write_bytes(damaged.encode("latin-1"))
        kept, reasons = frames(path, vasp_data / run.beside if run.beside else None)
        true = [f for f in kept if any(is_same(f, other) for other in truth[run])]
        counts["rejected"] += len(reasons)
        counts["accepted and true"] += len(true)
        if len(true) < len(kept):
            wrong.append(f"{number}: {name} in {run.damaged}")
    record_property("damaged files", {"n": N_MUTATIONS, **counts})
    assert wrong == []
    assert counts["rejected"] > N_MUTATIONS / 2
    assert counts["accepted and true"] > N_MUTATIONS


def test_every_damage_changes_a_file(vasp_data: Path) -> None:
    """The damages above are not empty."""
    text = unpacked(vasp_data / "fe4-static/OUTCAR.gz")
    for mutate in MUTATIONS:
        changed = [
            mutate(text, np.random.default_rng(seed)) != text for seed in range(8)
        ]
        assert sum(changed) > 4, mutate.__name__


@pytest.mark.parametrize("name", ["OUTCAR.gz", "vasprun.xml.gz"])
@pytest.mark.parametrize("how", ["cut", "garbled"])
def test_damaged_gzip_file_is_one_rejected_source(
    vasp_data: Path, tmp_path: Path, name: str, how: str
) -> None:
    packed = bytearray((vasp_data / "feo-relax-spinflip" / name).read_bytes())
    if how == "garbled":
        packed[2000:2020] = bytes(20)
    path = tmp_path / name
    path.write_bytes(packed if how == "garbled" else packed[:20000])
    (item,) = read_source(Source("vasp", path, (path,)), OPTIONS)
    assert not isinstance(item, Frame)
    assert item.step == 0
    assert "the file cannot be read" in item.reason
