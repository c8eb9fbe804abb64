# SPDX-License-Identifier: LGPL-3.0-or-later
"""What people look at: a page for each generation, and one over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from spin_dp.campaign import figures
from spin_dp.evaluation.tables import ALL
from spin_dp.files import write_text
from spin_dp.report import html
from spin_dp.report.html import COUNT, PERCENT, Columns, digits
from spin_dp.report.verdicts import NOTHING

if TYPE_CHECKING:
    from pathlib import Path

    from spin_dp.campaign.record import CampaignFolder, GenerationFolder

_PACKAGE = "spin_dp.campaign"
AFTER, BEFORE = "after", "before"
"""Names of the models of a generation and of the one before in tables of errors."""

_MEASURES = {
    "energy": ("energy, meV/atom", digits(1)),
    "force": ("force, meV/Å", COUNT),
    "gap": ("gap, meV/cell", COUNT),
    "order": ("right order", PERCENT),
    "moment": ("moment, μB", digits(2)),
}
_ERRORS: Columns = {
    "formula": ("composition", None),
    "frames": ("frames", COUNT),
    **{
        f"{name}_{when}": (f"{words} {when}", form)
        for name, (words, form) in _MEASURES.items()
        for when in (BEFORE, AFTER)
    },
}
_RUNS: Columns = {
    "run": ("run", None),
    "temperature": ("T, K", COUNT),
    "pressure": ("p, GPa", digits(1)),
    "ps": ("ps done", digits(2)),
    "ps_planned": ("of", digits(2)),
    "looks": ("frames seen", COUNT),
    "doubtful": ("doubtful", PERCENT),
    "force_deviation": ("largest force deviation, eV/Å", digits(2)),
    "magnetic_deviation": ("largest magnetic, eV/μB", digits(2)),
    "end": ("how it ended", None),
}
_CHOICE: Columns = {
    "run": ("run", None),
    "step": ("step", COUNT),
    "formula": ("composition", None),
    "state": ("spin state", None),
    "force_deviation": ("force deviation, eV/Å", digits(2)),
    "magnetic_deviation": ("magnetic, eV/μB", digits(2)),
    "known": ("frames known in this state", COUNT),
    "reason": ("where in the run", None),
    "why": ("chosen for", None),
}
_LEFT_OUT: Columns = {"cause": ("cause", None), "candidates": ("candidates", COUNT)}
_OUTCOMES: Columns = {
    "request": ("run", None),
    "wanted": ("state asked for", None),
    "found": ("state found", None),
    "landed": ("landed", None),
    "status": ("status", None),
    "energy": ("energy, eV", digits(3)),
    "seconds": ("time, s", COUNT),
    "reason": ("why not", None),
}
_LEARNT: Columns = {
    "formula": ("composition", None),
    "key": ("spin state", None),
    "frames": ("frames", COUNT),
    "energy": ("energy error, meV/atom", digits(1)),
    "force": ("force error, meV/Å", COUNT),
    "moment": ("moment error, μB", digits(2)),
}
_GENERATIONS: Columns = {
    "generation": ("generation", COUNT),
    "frames": ("frames trained on", COUNT),
    "dft_runs": ("DFT runs so far", COUNT),
    "energy": ("energy, meV/atom", digits(1)),
    "force": ("force, meV/Å", COUNT),
    "gap": ("gap, meV/cell", COUNT),
    "order": ("right order", PERCENT),
    "doubtful": ("doubtful frames", PERCENT),
    "left": ("runs that left", str),
    "new_frames": ("new frames", COUNT),
    "hours": ("hours", digits(2)),
}


def write_page(place: GenerationFolder, campaign: CampaignFolder) -> Path:
    """Write what a generation has found so far; return the path.

    Parameters
    ----------
    place
        The generation.
    campaign
        Its campaign.
    """
    errors, runs = place.read("errors"), place.read("runs")
    choice, learnt = place.read("choice"), place.read("learnt")
    outcomes = place.outcomes()
    row = _generation_row(place, campaign)
    text = html.render(
        _PACKAGE,
        "generation.html.j2",
        campaign=campaign.folder.name,
        title=place.title,
        number=place.number,
        verdicts=_verdicts(errors, runs, outcomes),
        summary=_summary(row, outcomes),
        errors=html.as_text(_all_last(errors), _ERRORS),
        error_picture=figures.draw_errors(errors),
        runs=html.as_text(runs, _RUNS),
        run_picture=figures.draw_runs(place),
        choice=html.as_text(choice, _CHOICE),
        left_out=html.as_text(place.read("left_out"), _LEFT_OUT),
        outcomes=html.as_text(_spoken(outcomes), _OUTCOMES),
        learnt=html.as_text(_by_state(learnt), _LEARNT),
        learnt_picture=figures.draw_learnt(learnt),
    )
    write_text(place.page, text)
    return place.page


def write_overview(campaign: CampaignFolder) -> Path:
    """Write the page over all generations, and its table; return the page's path."""
    places = campaign.generations()
    table = pd.DataFrame([_generation_row(place, campaign) for place in places])
    write_text(campaign.folder / "generations.csv", table.to_csv(index=False))
    text = html.render(
        _PACKAGE,
        "overview.html.j2",
        campaign=campaign.folder.name,
        numbers=[place.number for place in places],
        summary=[
            ("generations", str(len(places))),
            ("DFT runs", str(campaign.n_dft_runs())),
            ("hours", f"{campaign.seconds() / 3600.0:.2f}"),
        ],
        picture=figures.draw_generations(places, table) if len(table) > 1 else None,
        table=html.as_text(table, _GENERATIONS),
    )
    write_text(campaign.page, text)
    return campaign.page


def _generation_row(
    place: GenerationFolder, campaign: CampaignFolder
) -> dict[str, float | str]:
    """Return what a generation comes to, nan where it is not known."""
    errors, runs, learnt = (
        place.read("errors"),
        place.read("runs"),
        place.read("learnt"),
    )
    total = errors[errors["formula"] == ALL] if len(errors) else errors
    n_left = int(runs["departed"].sum()) if len(runs) else 0
    earlier = [campaign.generation(k).outcomes() for k in range(place.number)]
    return {
        "generation": place.number,
        "frames": _first(place.read("training"), "frames"),
        "dft_runs": sum(len(table) for table in earlier),
        **{name: _first(total, f"{name}_{AFTER}") for name in _MEASURES},
        "doubtful": doubtful_share(runs),
        "left": f"{n_left} of {len(runs)}" if len(runs) else "",
        "new_frames": float(len(learnt)) if len(learnt) else np.nan,
        "hours": place.seconds() / 3600.0,
    }


def doubtful_share(runs: pd.DataFrame) -> float:
    """Return the share of the explored frames that are doubtful; nan without runs."""
    if not len(runs):
        return np.nan
    looks = runs["looks"].to_numpy(dtype=float)
    return float((runs["doubtful"] * looks).sum() / max(looks.sum(), 1.0))


def _first(table: pd.DataFrame, column: str) -> float:
    return float(table[column].iloc[0]) if len(table) and column in table else np.nan


def _summary(
    row: dict[str, float | str], outcomes: pd.DataFrame
) -> list[tuple[str, str]]:
    cells = html.as_text(pd.DataFrame([row]), _GENERATIONS)
    known = [
        (name, text)
        for name, text in zip(cells.header, cells.rows[0], strict=True)
        if text not in ("", NOTHING) and name != "generation"
    ]
    if not len(outcomes):
        return known
    counts = outcomes["status"].value_counts()
    return known + [(f"DFT {name}", str(count)) for name, count in counts.items()]


def _verdicts(
    errors: pd.DataFrame, runs: pd.DataFrame, outcomes: pd.DataFrame
) -> list[str]:
    """Return what a generation says in sentences."""
    said = []
    if f"force_{BEFORE}" in errors:
        total = errors[errors["formula"] == ALL].iloc[0]
        said.append(
            "On held-out geometries the force error went from "
            f"{total[f'force_{BEFORE}']:.0f} to {total[f'force_{AFTER}']:.0f} meV/Å, "
            f"the energy error from {total[f'energy_{BEFORE}']:.1f} to "
            f"{total[f'energy_{AFTER}']:.1f} meV/atom."
        )
    if len(runs):
        said.append(
            f"{int(runs['departed'].sum())} of {len(runs)} runs left the known region; "
            f"the models disagree about {100 * doubtful_share(runs):.1f} % of the "
            "frames that were seen."
        )
    if len(outcomes):
        converged = outcomes[outcomes["status"] == "converged"]
        elsewhere = int((converged["landed"] != "same").sum())
        said.append(
            f"{len(converged)} of {len(outcomes)} DFT runs converged, {elsewhere} of "
            "them in another state than was asked for."
        )
    return said


def _all_last(errors: pd.DataFrame) -> pd.DataFrame:
    return errors.replace({"formula": {ALL: "all"}}) if len(errors) else errors


def _spoken(outcomes: pd.DataFrame) -> pd.DataFrame:
    words = ["found", "landed", "reason"]
    present = [name for name in words if name in outcomes]
    return outcomes.fillna(dict.fromkeys(present, ""))


def _by_state(learnt: pd.DataFrame) -> pd.DataFrame:
    """Return errors of the new frames of each composition and spin state."""
    if not len(learnt):
        return learnt
    groups = learnt.groupby(["formula", "key"], sort=True)

    def rms(values: pd.Series) -> float:
        return float(np.sqrt(np.square(values).mean()))

    table = groups.agg(
        frames=("energy_error", "size"),
        energy=("energy_error", rms),
        force=("force_error", rms),
        moment=("moment_error", rms),
    )
    return table.reset_index()
