# SPDX-License-Identifier: LGPL-3.0-or-later
"""Builds each variant of a contract once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.physics.contract_subject import Subject

_PARTS = ("derivatives", "finite", "forms", "frozen", "limits", "subject", "symmetries")
pytest.register_assert_rewrite(*(f"tests.physics.contract_{p}" for p in _PARTS))


@pytest.fixture(scope="class")
def subject(request: pytest.FixtureRequest) -> Subject:
    """Return the model of a variant of the class's contract, and its frames."""
    from tests.physics.contract import make_subject

    return make_subject(request.cls, request.param)
