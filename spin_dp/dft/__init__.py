# SPDX-License-Identifier: LGPL-3.0-or-later
"""DFT on request: engines, and the way work gets to them.

A :class:`Request` is one geometry with one set of starting moments. An :class:`Engine`
(:func:`open_engine` makes one from settings) runs it in a folder of its own and leaves
what ``spin-dp collect`` reads. :func:`run_requests` runs many, here or on a Dask
cluster, and returns an :class:`Outcome` of each: the state that DFT ended in, or why
there is none. Called again with the same arguments it goes on where it was stopped.

>>> engine = open_engine({"engine": "gpaw"})  # doctest: +SKIP
>>> request = Request.of(
...     atoms, [0, 4, 0, 0], geometry_id="LiMnO2-001"
... )  # doctest: +SKIP
>>> run_requests([request], engine, "runs", workers=2)  # doctest: +SKIP
"""

from spin_dp.dft.calculator import EngineCalculator
from spin_dp.dft.engine import Engine
from spin_dp.dft.outcome import Outcome, Status
from spin_dp.dft.request import Request
from spin_dp.dft.settings import open_engine
from spin_dp.dft.work import Progress, run_requests

__all__ = [
    "Engine",
    "EngineCalculator",
    "Outcome",
    "Progress",
    "Request",
    "Status",
    "open_engine",
    "run_requests",
]
