# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs whose labels or moments change between segments: what their tests share."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ase.build import bulk

from spin_dp.dynamics import MDSettings, Watch, run_md

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.dynamics import MDResult

BLIND = Watch(force_limits=(1e6, 2e6), shortest=0.1, max_temperature=1e6)


def settings(**changes: Any) -> MDSettings:
    """Return 60 short steps at constant energy, with a restart file every 20."""
    given: dict[str, Any] = {
        "ensemble": "nve",
        "temperature": 300.0,
        "steps": 60,
        "timestep": 0.5,
        "thermo_every": 5,
        "dump_every": 10,
        "restart_every": 20,
        **changes,
    }
    return MDSettings(**given)


def displaced_oxide(copies: int) -> Atoms:
    """Return displaced rocksalt MnNi3O4, repeated along the first vector."""
    atoms: Atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True).repeat((copies, 1, 1))
    atoms.symbols[::8] = "Mn"
    atoms.rattle(0.03, seed=1)
    return atoms


def run_interrupted(atoms: Atoms, model: Path, out: Path, **given: Any) -> MDResult:
    """Run, stop after 35 steps, and go on."""

    class Stop(Exception):
        pass

    def stop(step: int, *_: object) -> None:
        if step >= 35:
            raise Stop

    with suppress(Stop):
        run_md(atoms, model, out=out, progress=stop, **given)
    return run_md(atoms, model, out=out, **given)


def kept_energy(
    result: MDResult, visits: pd.DataFrame, column: str
) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Return the thermo table, and total energies less what visits have put in, eV."""
    thermo = pd.read_csv(result.thermo)
    gained = [
        visits.loc[visits["step"] < max(step, 1), column].iloc[-1]
        for step in thermo["step"]
    ]
    return thermo, thermo["total_energy_eV"].to_numpy() - np.array(gained)
