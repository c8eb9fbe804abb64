# SPDX-License-Identifier: LGPL-3.0-or-later
from __future__ import annotations

from typing import TYPE_CHECKING

from spin_dp.threads import default_to_one_thread, process_environment

if TYPE_CHECKING:
    import pytest

NAMES = ("OMP_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS")


def test_the_users_choice_comes_before_one_thread() -> None:
    variables = {"OMP_NUM_THREADS": "8"}
    default_to_one_thread(variables)
    assert [variables[name] for name in NAMES] == ["8", "1"]


def test_environment_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.delenv("DP_INTRA_OP_PARALLELISM_THREADS", raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "7")
    inherited, chosen = process_environment(), process_environment(3)
    assert [inherited[name] for name in NAMES] == ["8", "1"]
    assert [chosen[name] for name in NAMES] == ["3", "3"]
    assert inherited["MALLOC_TRIM_THRESHOLD_"] == "7"
    assert inherited.keys() >= {"PATH", "MALLOC_MMAP_THRESHOLD_"}
