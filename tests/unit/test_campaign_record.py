# SPDX-License-Identifier: LGPL-3.0-or-later
"""The folder of a campaign: its own, locked, and what was spent read from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from spin_dp.campaign.record import OUTCOMES, CampaignFolder, write_table
from spin_dp.campaign.settings import CampaignSettings
from spin_dp.errors import ConfigError
from spin_dp.stages import Reporter, Stage, run_stages

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def campaign(tmp_path: Path) -> CampaignFolder:
    return CampaignFolder(tmp_path / "campaign")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "campaign.toml"


def settings(**training: Any) -> CampaignSettings:
    return CampaignSettings.model_validate(
        {
            "start": {"data": ["frames"]},
            "exploration": {"from_data": "all"},
            "training": training,
            "dft": {"engine": "gpaw"},
        }
    )


def test_a_folder_with_other_things_is_left_alone(
    campaign: CampaignFolder, source: Path
) -> None:
    campaign.folder.mkdir()
    (campaign.folder / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match=r"thesis\.tex"), campaign.opened(source):
        pass
    assert [item.name for item in campaign.folder.iterdir()] == ["thesis.tex"]


def test_it_belongs_to_one_file_and_one_process(
    campaign: CampaignFolder, source: Path
) -> None:
    with (
        campaign.opened(source),
        pytest.raises(ConfigError, match="another process"),
        campaign.opened(source),
    ):
        pass
    other = source.with_name("other.toml")
    with pytest.raises(ConfigError, match=r"campaign\.toml"), campaign.opened(other):
        pass
    with campaign.opened(source):  # and may be opened again
        pass


def test_a_generation_keeps_its_settings_but_not_its_budget(
    campaign: CampaignFolder,
) -> None:
    place = campaign.generation(0)
    begun = place.fixed_settings(settings(models=3))
    assert begun.training.models == 3
    later = settings(models=5)
    later = later.model_copy(update={"dft": {"engine": "vasp"}})
    kept = place.fixed_settings(later)
    assert kept.training.models == 3
    assert kept.dft == {"engine": "vasp"}
    assert campaign.generation(1).fixed_settings(later).training.models == 5
    place.folder.joinpath("settings.json").write_text("{")
    with pytest.raises(ConfigError, match="not the settings"):
        place.fixed_settings(later)


def test_what_was_spent_is_counted(campaign: CampaignFolder) -> None:
    for number, states in enumerate((["converged", "failed"], ["waiting"])):
        place = campaign.generation(number)
        table = pd.DataFrame({"status": states})
        write_table(place.folder / OUTCOMES, table)
    stage = Stage(name="a", title="a", run=lambda _: None, products=[])
    run_stages(campaign.generation(1).folder, [stage], Reporter())
    assert campaign.n_dft_runs() == 2
    assert len(campaign.generations()) == 2
    assert 0.0 <= campaign.seconds() < 5.0


def test_a_table_without_rows_is_read_as_one(campaign: CampaignFolder) -> None:
    place = campaign.generation(0)
    assert place.read("runs").empty
    write_table(place.table("runs"), pd.DataFrame())
    assert place.read("runs").empty
    write_table(place.table("runs"), pd.DataFrame(columns=["run"]))
    assert list(place.read("runs").columns) == ["run"]
