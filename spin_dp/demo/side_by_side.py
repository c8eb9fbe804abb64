# SPDX-License-Identifier: LGPL-3.0-or-later
"""Work in threads that ends together: by the interrupt key, or when one part fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class StoppedError(Exception):
    """Raised within a part when another one has ended all."""


def side_by_side(
    work: Callable[[_Item, Callable[[], None]], _Result],
    items: Sequence[_Item],
    jobs: int,
    *,
    on_done: Callable[[], object] | None = None,
) -> list[_Result]:
    """Do work on items in threads, some at the same time.

    Parameters
    ----------
    work
        Called with an item and a function to call every now and then, which raises
        :class:`StoppedError` when it is time to end.
    items
        What is worked on.
    jobs
        How many at the same time.
    on_done
        Called after each item, in their order.

    Returns
    -------
    list
        Results in the order of the items.
    """
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise StoppedError

    results = []
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, item, check) for item in items]
        try:
            for future in futures:
                results.append(future.result())
                if on_done is not None:
                    on_done()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return results
