# SPDX-License-Identifier: LGPL-3.0-or-later
"""Threads that end together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from spin_dp.demo.side_by_side import StoppedError, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable


def test_results_come_in_the_order_of_the_items() -> None:
    done: list[None] = []

    def work(item: float, check: Callable[[], None]) -> float:
        check()
        time.sleep(item)
        return 2.0 * item

    items = [0.03, 0.0, 0.01]
    found = side_by_side(work, items, 2, on_done=lambda: done.append(None))
    assert found == [0.06, 0.0, 0.02]
    assert len(done) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_one_that_fails_ends_all(error: type[BaseException]) -> None:
    ended: list[str] = []

    def work(item: str, check: Callable[[], None]) -> None:
        if item == "fails":
            raise error
        try:
            for _ in range(2000):
                time.sleep(0.01)
                check()
        except StoppedError:
            ended.append(item)
            raise

    started = time.monotonic()
    with pytest.raises(error):
        side_by_side(work, ["fails", "long", "late"], 2)
    assert "long" in ended  # the last one may have started in between
    assert time.monotonic() - started < 10.0
