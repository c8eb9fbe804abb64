# SPDX-License-Identifier: LGPL-3.0-or-later
"""One GPAW calculation, run by the Python that has GPAW.

``python gpaw_run.py INPUT.json FRAME.extxyz TEXT``. Imports nothing but GPAW, ASE and
numpy, for that Python need not have spin-dp. A frame is written when it is complete,
converged or not; what keeps it from being written is the last line on the standard
output, as JSON.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

# This folder holds a gpaw.py of spin-dp, which must not be taken for the program.
HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]

import numpy as np  # noqa: E402
from ase import Atoms  # noqa: E402
from ase.calculators.singlepoint import SinglePointCalculator  # noqa: E402
from ase.io import write  # noqa: E402


class TooLong(Exception):
    """The calculation has used up its CPU time."""


def _late(*_: object) -> None:
    raise TooLong


def _end_with_parent() -> None:
    """Have the kernel end this process when the one that started it is killed."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


def _calculator(settings: dict[str, Any], text: str) -> Any:  # noqa: ANN401
    from gpaw import GPAW, PW, FermiDirac

    return GPAW(
        mode=PW(settings["cutoff_ev"]),
        xc=settings["functional"],
        kpts={"size": tuple(settings["kpts"]), "gamma": False},
        occupations=FermiDirac(settings["smearing_ev"]),
        setups={e: f":d,{u}" for e, u in settings["hubbard_ev"].items()},
        symmetry={"point_group": False},
        spinpol=True,
        maxiter=settings["max_iterations"],
        convergence=settings["thresholds"],
        txt=text,
    )


def _scf_lines(text: str) -> tuple[int, float | None, float | None]:
    """Return iterations, and energy (eV) and total moment of the last one."""
    iterations: int = 0
    energy: float | None = None
    moment: float | None = None
    for line in Path(text).read_text(errors="replace").splitlines():
        if line.startswith("|iter:"):
            columns = line.split("|")
            iterations = int(columns[1].split(":")[1])
            energy = float(columns[3].strip().rstrip("c"))
            moment = float(columns[6])
    return iterations, energy, moment


def _results(work: Atoms) -> dict[str, Any]:
    calc = work.calc
    return {
        "energy": calc.get_potential_energy(work),
        "free_energy": calc.get_potential_energy(work, force_consistent=True),
        "forces": work.get_forces(apply_constraint=False),
        "stress": work.get_stress(),
        "magmom": float(calc.get_magnetic_moment(work)),
        "magmoms": np.array(calc.get_magnetic_moments(work)),
    }


def _corrected(
    results: dict[str, Any], volume: float, pulay_ev: float | None
) -> dict[str, Any]:
    """Take the raw stress out; put the corrected one in, where it is known."""
    raw = np.array(results.pop("stress"))
    if pulay_ev is not None:
        stress = raw.copy()
        stress[:3] -= pulay_ev / volume
        results["stress"] = stress
    return {
        "stress_fixed_basis": raw,
        "total_magmom": float(results["magmom"]),
    }


def calculate(job: dict[str, Any], text: str) -> Atoms:
    """Return the frame of a job, converged or with the last energy and moments.

    Parameters
    ----------
    job
        As :meth:`spin_dp.dft.gpaw.Gpaw.prepare` writes it.
    text
        Text output of GPAW.

    Raises
    ------
    Exception
        Whatever GPAW raises, but for want of convergence.
    """
    from gpaw import KohnShamConvergenceError

    atoms = Atoms(
        job["symbols"],
        positions=job["positions"],
        cell=job["cell"],
        pbc=True,
        magmoms=job["moments"],
    )
    work = atoms.copy()
    work.calc = calc = _calculator(job["gpaw"], text)
    signal.signal(signal.SIGPROF, _late)
    signal.setitimer(signal.ITIMER_PROF, job["cpu_limit_s"])  # pausing does not count
    started, error, results = time.time(), "", {}
    try:
        results = _results(work)
    except (KohnShamConvergenceError, TooLong) as stopped:
        error = type(stopped).__name__
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    iterations, energy, moment = _scf_lines(text)
    if error:
        if energy is None:
            raise TooLong("no SCF iteration within the CPU time")
        results = {"energy": energy, "magmom": moment}
        try:
            results["magmoms"] = np.array(calc.dft.magmoms()[1])[:, 2]
        except Exception:  # moments of a broken-off cycle are extra
            results.pop("magmoms", None)
    atoms.info.update(job["info"])
    atoms.info.update(
        converged=not error,
        scf_iterations=iterations,
        spin_constraint="none",
        scf_seconds=round(time.time() - started, 1),
        settings=job["settings"],
    )
    if error:
        atoms.info["error"] = error
    else:
        atoms.info.update(_corrected(results, atoms.get_volume(), job["pulay_ev"]))
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def main(job: str, frame: str, text: str) -> int:
    """Run the job and write its frame; return the exit status."""
    _end_with_parent()
    part = f"{frame}.part"
    try:
        atoms = calculate(json.loads(Path(job).read_text()), text)
        write(part, atoms, format="extxyz")
        os.replace(part, frame)  # noqa: PTH105
    except Exception as error:
        with contextlib.suppress(OSError):
            Path(part).unlink(missing_ok=True)
        said = {
            "error": type(error).__name__,
            "message": " ".join(str(error).split())[:300],
            "errno": getattr(error, "errno", None),
        }
        print(json.dumps(said))  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
