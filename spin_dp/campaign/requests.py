# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a generation asks of DFT, on disk, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import io as ase_io

from spin_dp.campaign.starts import landed
from spin_dp.dft import Request
from spin_dp.files import replacing
from spin_dp.spin_states.elements import formula
from spin_dp.spin_states.frame_name import name_frame
from spin_dp.structures import carried_moments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spin_dp.campaign.starts import Start
    from spin_dp.dft import Outcome
    from spin_dp.spin_states.catalogue import Catalogue

_WANTED = "wanted_state"
OUTCOME_COLUMNS = (
    *("request", "geometry", "wanted", "found", "landed", "status", "energy"),
    *("seconds", "reason", "force_deviation"),
)


def as_requests(
    starts: Sequence[Start], prefix: str, most: int | None = None
) -> list[Request]:
    """Return DFT runs for starts; those of one geometry share its identifier.

    Parameters
    ----------
    starts
        Geometry by geometry.
    prefix
        Of the identifiers.
    most
        Runs that the budget allows: further states go first.

    Returns
    -------
    list of Request
        With ``wanted_state``, ``explored_by``, ``md_step`` and ``temperature`` in the
        ``info`` of their atoms.
    """
    geometries: dict[int, str] = {}
    first: list[Request] = []
    further: list[Request] = []
    seen: set[str] = set()
    for start in starts:
        candidate = start.candidate
        is_new = id(candidate) not in geometries
        if is_new:
            number = len(geometries)
            geometries[id(candidate)] = f"{prefix}-{number:03d}"
        atoms = candidate.atoms.copy()
        atoms.info = {
            _WANTED: start.state,
            "explored_by": candidate.run,
            "md_step": candidate.step,
            "temperature": candidate.temperature,
            "force_deviation": candidate.force_deviation,
        }
        request = Request.of(
            atoms,
            start.moments,
            geometry_id=geometries[id(candidate)],
            system=formula(atoms.get_chemical_symbols()),
        )
        if request.name in seen:  # equal to the digits of its name
            continue
        seen.add(request.name)
        (first if is_new else further).append(request)
    return [*first, *further][:most]


def write_requests(path: Path, requests: Sequence[Request]) -> None:
    """Write requests as extended XYZ, all of them or none."""
    frames = []
    for request in requests:
        atoms = request.atoms.copy()
        atoms.info["request"] = request.name
        frames.append(atoms)
    with replacing(path) as part:
        ase_io.write(part, frames, format="extxyz")


def read_requests(path: Path) -> list[Request]:
    """Read what :func:`write_requests` wrote."""
    if not path.stat().st_size:
        return []
    requests = []
    for atoms in ase_io.read(path, ":", format="extxyz"):
        moments = carried_moments(atoms)
        if moments is None:  # written as zeros: started without moments
            moments = np.zeros((len(atoms), 3))
        name = str(atoms.info.pop("request"))
        atoms.calc = None
        requests.append(Request(name, atoms, moments[:, 2]))
    return requests


def outcome_row(
    request: Request, outcome: Outcome, catalogue: Catalogue
) -> dict[str, Any]:
    """Return what became of a request: the state asked for, and the one found.

    Parameters
    ----------
    request
        What was asked.
    outcome
        What came of it.
    catalogue
        Spin states by which the moments are named.

    Returns
    -------
    dict
        ``request``, ``geometry``, ``wanted``, ``found`` and ``landed`` (empty without a
        result), ``status``, ``energy`` (eV), ``seconds``, ``reason`` and
        ``force_deviation`` (eV/Å), that of its choice.
    """
    wanted = str(request.atoms.info[_WANTED])
    found = ""
    if outcome.moments is not None:
        atoms, moments = request.atoms, np.array(outcome.moments)
        found = name_frame(
            request.symbols, atoms.cell.array, atoms.positions, moments, catalogue
        ).key
    return {
        "request": request.name,
        "geometry": str(request.atoms.info["geometry_id"]),
        "wanted": wanted,
        "found": found,
        "landed": landed(wanted, found) if found else "",
        "status": str(outcome.status),
        "energy": outcome.energy,
        "seconds": round(outcome.seconds, 1),
        "reason": outcome.reason,
        "force_deviation": request.atoms.info.get("force_deviation"),
    }
