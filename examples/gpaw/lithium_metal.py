# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy of lithium metal at the level of the frames: what voltages are counted from.

``PYTHON examples/gpaw/lithium_metal.py``, with a Python that has GPAW (docs/dft.md); it
needs nothing of spin-dp but its file of references, ``spin_dp/properties/metals.json``,
into which it writes. A quarter of an hour on one core. Body-centred cubic, one atom,
the functional, basis and smearing of the frames; k-points and volume are converged here
to a millielectronvolt. Lithium metal has no moments, so that spin is left out, and its
k-points are reduced by symmetry: neither changes the energy.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.eos import EquationOfState
from gpaw import GPAW, PW, FermiDirac

LEVEL = "GPAW-PBE+U-PW-c6f898"
OUTPUT = Path(__file__).parents[2] / "spin_dp/properties/metals.json"
MESHES = (8, 12, 16, 20)
MESH = 16
FIRST_GUESS = 3.44  # Å
EDGES = (3.34, 3.38, 3.42, 3.46, 3.50, 3.54)  # Å
THRESHOLDS = {"energy": 1e-6, "density": 1e-5, "eigenstates": 1e-8}


def energies(edge: float, mesh: int) -> tuple[float, float]:
    """Return energy at zero smearing and free energy of bcc lithium, eV an atom."""
    atoms = bulk("Li", "bcc", a=edge)
    atoms.calc = GPAW(
        mode=PW(500.0),
        xc="PBE",
        kpts={"size": (mesh, mesh, mesh), "gamma": False},
        occupations=FermiDirac(0.1),
        convergence=THRESHOLDS,
        txt=None,
    )
    energy = float(atoms.get_potential_energy())
    free = float(atoms.calc.get_potential_energy(atoms, force_consistent=True))
    print(
        f"a = {edge:.3f} Å, {mesh}^3 k-points: {energy:.5f} {free:.5f} eV", flush=True
    )
    return energy, free


def main(output: Path) -> None:
    """Converge, fit and write."""
    meshes = {mesh: energies(FIRST_GUESS, mesh) for mesh in MESHES}
    scanned = np.array([energies(edge, MESH) for edge in EDGES])
    volumes = 0.5 * np.array(EDGES) ** 3
    fits = [
        EquationOfState(volumes, column, eos="birchmurnaghan").fit()
        for column in scanned.T
    ]
    (_, energy, _), (volume, free, modulus) = fits
    record = {
        "free_energy": round(float(free), 5),
        "energy": round(float(energy), 5),
        "structure": "bcc",
        "lattice_constant": round(float((2.0 * volume) ** (1 / 3)), 4),
        "bulk_modulus_GPa": round(float(modulus) * 160.21766, 1),
        "settings": f"GPAW PBE PW(500eV) MP{MESH}x{MESH}x{MESH} FermiDirac(0.1eV)",
        "free_energy_by_mesh": {
            str(mesh): round(free, 5) for mesh, (_, free) in meshes.items()
        },
        "made_by": "examples/gpaw/lithium_metal.py",
    }
    known = json.loads(output.read_text()) if output.exists() else {}
    known.setdefault(LEVEL, {})["Li"] = record
    part = output.with_suffix(".part")
    part.write_text(json.dumps(known, indent=1) + "\n")
    os.replace(part, output)  # noqa: PTH105
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    main(parser.parse_args().output)
