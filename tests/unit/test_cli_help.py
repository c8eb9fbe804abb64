# SPDX-License-Identifier: LGPL-3.0-or-later
"""The help shows verbs and options by what they are for."""

from __future__ import annotations

import re

import pytest

from spin_dp.cli.app import main

PANELS = {
    "First steps": ["demo"],
    "Data": ["collect", "report", "select", "merge"],
    "Model": [
        "models",
        "init",
        "train",
        "test",
        "learn",
        "deploy",
        "compress",
        "compile",
    ],
    "Simulation": ["md", "analyse", "diffusion"],
    "Questions": ["states", "excitations", "exchange", "redox", "run"],
}


def shown_panels(text: str) -> dict[str, list[str]]:
    """Return the first word of each entry of each panel."""
    panels: dict[str, list[str]] = {}
    for line in text.splitlines():
        if title := re.match(r"╭─ (.*?) ─", line):
            entries = panels.setdefault(title[1], [])
        elif entry := re.match(r"│ {1,4}([\w-]+)", line):
            entries.append(entry[1])
    return panels


def test_verbs_stand_in_the_order_of_the_work(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    panels = shown_panels(capsys.readouterr().out)
    del panels["Options"]
    assert panels == PANELS


@pytest.mark.parametrize("verb", ["collect", "init", "md", "states", "run"])
def test_no_panel_of_options_is_long(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--help"]) == 0
    panels = shown_panels(capsys.readouterr().out)
    assert len(panels) > 4
    assert max(len(options) for options in panels.values()) <= 6
