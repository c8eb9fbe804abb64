# SPDX-License-Identifier: LGPL-3.0-or-later
"""An engine as an ASE calculator: each geometry is a run in a folder of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from spin_dp.data_tools.frame import Frame
from spin_dp.dft.outcome import Status
from spin_dp.dft.request import Request
from spin_dp.dft.work import run_requests
from spin_dp.errors import BackendError
from spin_dp.spin_states.elements import formula

if TYPE_CHECKING:
    import os

    from ase import Atoms

    from spin_dp.dft.engine import Engine

_DIGITS = 12  # of a digest, in the name of a run


class EngineCalculator(Calculator):  # type: ignore[misc]
    """ASE calculator that asks a DFT engine, starting from the initial moments.

    What was calculated is read from its folder, so that a relaxation or any other work
    that was stopped goes on where it was; ``spin-dp collect`` reads the folder, too.

    Parameters
    ----------
    engine
        Of :func:`spin_dp.dft.open_engine`.
    folder
        Gets a folder for each geometry.
    threads
        Of each run.
    **kwargs
        Passed on to ASE's Calculator.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy",
        "free_energy",
        "forces",
        "stress",
        "magmom",
        "magmoms",
    ]

    def __init__(
        self,
        engine: Engine,
        folder: str | os.PathLike[str],
        *,
        threads: int = 1,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        self.engine, self.folder, self.threads = engine, Path(folder), threads

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Run the engine, or read what it has left.

        Raises
        ------
        BackendError
            If the run did not converge, or has not been run.
        """
        super().calculate(atoms, properties, system_changes)
        request = self._request()
        with ThreadPoolExecutor(1) as here:  # engines start processes themselves
            outcome = run_requests(
                [request],
                self.engine,
                self.folder,
                threads=self.threads,
                executor=here,
            )[0]
        frame = self.engine.frame(request, outcome.folder)
        if outcome.status is not Status.CONVERGED or not isinstance(frame, Frame):
            raise BackendError(
                f"{self.engine.name}: {outcome.folder}: {outcome.status}"
                f"{f' ({outcome.reason})' if outcome.reason else ''}; the property "
                "needs each of its geometries."
            )
        self.results = {
            "energy": frame.energy,
            "free_energy": frame.energy,
            "forces": frame.forces,
            "magmoms": frame.moments[:, 2],
            "magmom": float(frame.moments[:, 2].sum()),
        }
        if frame.virial is not None:
            stress = -0.5 * (frame.virial + frame.virial.T) / frame.volume
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)

    def _request(self) -> Request:
        symbols = self.atoms.get_chemical_symbols()
        moments = np.asarray(self.atoms.get_initial_magnetic_moments())
        digest = Request("unnamed", self.atoms, moments).digest[:_DIGITS]
        return Request(f"{formula(symbols)}-{digest}", self.atoms, moments)
