# SPDX-License-Identifier: LGPL-3.0-or-later
"""Take the DFT frames of a campaign into this folder.

``python examples/gpaw/from_campaign.py CAMPAIGN NAME``, with the folder of a campaign
of ``spin-dp learn`` and a name for it (``learnt1``), which its geometries are called
after; then ``card.py``. Frames that are here already are left alone.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
from ase.io.extxyz import write_extxyz

from spin_dp.demo.origins import EXPLORED_BY
from spin_dp.files import replacing

if TYPE_CHECKING:
    from ase import Atoms

HERE = Path(__file__).resolve().parent
UNCONVERGED = "unconverged"


def take(campaign: Path, name: str, folder: Path = HERE) -> dict[str, int]:
    """Add the frames of a campaign to the files of a folder.

    Parameters
    ----------
    campaign
        Folder of the campaign.
    name
        What its geometries are called after.
    folder
        Gets ``learntFORMULA.extxyz``, and runs that did not converge.

    Returns
    -------
    dict
        Number of new frames of each file.
    """
    known = {
        _identity(atoms)
        for path in folder.glob("*.extxyz")
        for atoms in ase.io.iread(path, ":")
    }
    new: dict[str, list[Atoms]] = defaultdict(list)
    for path in sorted(campaign.glob("generation-*/dft/*/frame.extxyz")):
        atoms = ase.io.read(path)
        info = atoms.info
        assert EXPLORED_BY in info, path
        info["geometry_id"] = str(info["geometry_id"]).replace("campaign", name, 1)
        info["system"] = f"learnt{atoms.get_chemical_formula('metal')}"
        if _identity(atoms) in known:
            continue
        known.add(_identity(atoms))
        is_converged = bool(info["converged"])
        new[info["system"] if is_converged else UNCONVERGED].append(atoms)
    for stem, frames in new.items():
        path = folder / f"{stem}.extxyz"
        earlier = list(ase.io.iread(path, ":")) if path.exists() else []
        with replacing(path) as part, part.open("w", encoding="utf-8") as file:
            write_extxyz(file, [*earlier, *frames])
    return {stem: len(frames) for stem, frames in new.items()}


def _identity(atoms: Atoms) -> tuple[str, str]:
    return str(atoms.info["geometry_id"]), str(atoms.info["initial_M"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaign", type=Path)
    parser.add_argument("name")
    given = parser.parse_args()
    for stem, count in sorted(take(given.campaign, given.name).items()):
        print(f"{stem}: {count} new")
