# SPDX-License-Identifier: LGPL-3.0-or-later
"""A property of each model of an ensemble, and their spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from spin_dp.properties.result import Result, with_spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

R = TypeVar("R", bound=Result)


def over_members(
    subject: Subject,
    calculate: Callable[[Subject, Progress], R],
    progress: Progress | None = None,
) -> R:
    """Return the result of the first model, with the spread over all models.

    Parameters
    ----------
    subject
        Of one model or an ensemble.
    calculate
        Calculates the property for one of its :attr:`Subject.members`; what it is told
        for progress shows the model that is at work.
    progress
        Called as ``progress(what, done, total)``.
    """
    members = subject.members

    def told(number: int) -> Progress:
        def tell(what: str, done: float, total: float) -> None:
            if progress is not None:
                of = f", model {number + 1} of {len(members)}"
                progress(what + of * (len(members) > 1), done, total)

        return tell

    results = [calculate(member, told(k)) for k, member in enumerate(members)]
    found: R = with_spread(results)
    return found
