# SPDX-License-Identifier: LGPL-3.0-or-later
"""Campaign files are read whole; what is wrong is said in one sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from spin_dp.campaign.settings import CampaignSettings, read_campaign, write_template
from spin_dp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

LEAST = """
[start]
data = ["frames"]
[exploration]
from_data = "all"
[dft]
engine = "teacher"
model = "teacher.pth"
"""


def read(folder: Path, text: str) -> CampaignSettings:
    path = folder / "campaign.toml"
    path.write_text(text)
    return read_campaign(path)


def test_what_is_left_out_has_defaults(tmp_path: Path) -> None:
    settings = read(tmp_path, LEAST)
    assert settings.training.models == 4
    assert settings.budget.dft_runs is None
    assert settings.choice_rules().force_band == settings.choice.force
    assert settings.choice_rules().most_atoms == settings.exploration.most_atoms


def test_paths_are_seen_from_the_file_and_names_are_left(tmp_path: Path) -> None:
    (tmp_path / "own.pth").write_text("")
    text = LEAST.replace("[start]", '[start]\nmodel = ["lixmo2", "own.pth"]')
    settings = read(tmp_path, text)
    assert settings.start.data == [str(tmp_path / "frames")]
    assert settings.start.model == ["lixmo2", str(tmp_path / "own.pth")]


def test_the_template_is_a_campaign_file(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    write_template(path)
    settings = read_campaign(path)
    assert settings.structure[0].labels == ["Ni=3+LS"]
    # What it shows as a default is one.
    assert settings.choice == CampaignSettings.model_fields["choice"].default
    with pytest.raises(ConfigError, match="exists"):
        write_template(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("from_data", "from_dada", r"\[exploration\].*from_dada.*from_data"),
        ("[start]", "[strat]", "the file.*strat.*start"),
        ('data = ["frames"]', "", r"\[start\] needs 'data'"),
        ("[exploration]", "[exploration]\nruns = 0", "exploration.runs: .*got 0"),
        ("[exploration]", '[exploration]\nruns = "six"', "exploration.runs.*'six'"),
        ('from_data = "all"', "", "nothing to explore"),
        ("[dft]", "[choice]\nforce = [1.0, 0.5]\n[dft]", "lower limit first"),
        ("[dft]", '[[structure]]\nfile = "a.cif"\n[dft]', r"\[structure\] needs"),
        ("[dft]", '[[structure]]\nfiel = "a.cif"\n[dft]', r"fiel.*file"),
        ("[dft]", "[dft", "expected a TOML file"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in LEAST
    with pytest.raises((ConfigError, DataError)) as caught:
        read(tmp_path, LEAST.replace(old, new, 1))
    assert re.search(said, str(caught.value)), caught.value
    assert "\n" not in str(caught.value)


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such campaign file"):
        read_campaign(tmp_path / "absent.toml")


def test_workers_given_beside_the_file_are_checked(tmp_path: Path) -> None:
    settings = read(tmp_path, LEAST)
    assert settings.working("tcp://host:1", 3).work.workers == 3
    assert settings.working(None, None) == settings
    with pytest.raises(ConfigError, match="at least 1"):
        settings.working(None, 0)
