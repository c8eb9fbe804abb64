# SPDX-License-Identifier: LGPL-3.0-or-later
"""GPAW: PBE+U with plane waves, at the level of the frames in ``examples/gpaw``.

With the defaults, frames have settings, code path and columns of the shipped ones, and
``spin-dp collect`` puts them together. GPAW runs in a process of its own, by a Python
that may be another than this one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from spin_dp.data_tools.level import level_of_settings
from spin_dp.data_tools.readers.ase_files import read_extxyz
from spin_dp.dft.engine import FRAME, Engine
from spin_dp.errors import BackendError, ConfigError
from spin_dp.files import write_text
from spin_dp.spin_states.elements import atomic_number, is_element
from spin_dp.threads import process_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spin_dp.data_tools.frame import Frame, Rejected
    from spin_dp.data_tools.level import Level
    from spin_dp.dft.request import Request

SCRIPT = Path(__file__).with_name("gpaw_run.py")
INPUT = "gpaw.json"
TEXT = "gpaw.text"
"""Not ``.txt``: ``collect`` would read the calculation twice, from it as well."""

MP_HUBBARD_EV = MappingProxyType({"Mn": 3.9, "Co": 3.32, "Ni": 6.2})
"""U of the Materials Project on M-d (Dudarev), eV."""

PULAY_EV = MappingProxyType({"Li": 0.060, "Co": 4.773, "Ni": 4.279, "Mn": 4.286})
"""Volume times the constant Pulay stress at 500 eV, eV for each Li and each MO2 unit:
from calculations at 900 eV of seven frames, ``examples/gpaw/README.md``."""
_PULAY_LEVEL = ("PBE", 500.0)

_THRESHOLDS = MappingProxyType(
    {"energy": 3.0e-5, "density": 2.0e-4, "eigenstates": 1.0e-5}
)
_SMALL_ATOMS, _SMALL_CPU_S, _CPU_S = 10, 400.0, 1200.0
_ENOSPC_LIKE = (5, 27, 28, 30, 122)  # EIO, EFBIG, ENOSPC, EROFS, EDQUOT


@dataclass(frozen=True, kw_only=True)
class Gpaw(Engine):
    """Settings of GPAW; the defaults are those of the shipped frames.

    Attributes
    ----------
    python
        Python that has GPAW; empty: this one.
    functional
        Name of the exchange-correlation functional.
    hubbard_ev
        U on the d shell of each element, eV (Dudarev, scaled to GPAW's truncated
        projectors); the starts of these elements name a run.
    cutoff_ev
        Energy of the plane waves, eV.
    smearing_ev
        Width of the Fermi-Dirac smearing, eV.
    k_density
        k-points of the Monkhorst-Pack mesh along each reciprocal vector (2π/Å), made
        even: 4x4x2 for one metal, 4x2x2 for two, 2x2x2 for three and more.
    max_iterations, thresholds
        End of the SCF cycle: thresholds of ``energy``, ``density`` and ``eigenstates``
        in GPAW's units.
    cpu_limit_s
        CPU time after which a run counts as not converged, s; 0: 400 below ten atoms,
        1200 from there on.
    pulay_ev
        Correction of the stress, eV: volume times the Pulay stress of each Li, and of
        each MO2 unit under the name of M. None takes :data:`PULAY_EV` at its level,
        PBE and 500 eV. Frames whose correction is not known (other elements, another
        ratio of M to O) get no ``stress``, only ``stress_fixed_basis``.
    """

    python: str = ""
    functional: str = "PBE"
    hubbard_ev: Mapping[str, float] = field(default_factory=lambda: dict(MP_HUBBARD_EV))
    cutoff_ev: float = 500.0
    smearing_ev: float = 0.1
    k_density: float = 1.1
    max_iterations: int = 90
    thresholds: Mapping[str, float] = field(default_factory=lambda: dict(_THRESHOLDS))
    cpu_limit_s: float = 0.0
    pulay_ev: Mapping[str, float] | None = None

    name: ClassVar[str] = "gpaw"
    paths: ClassVar[tuple[str, ...]] = ("python",)
    needs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for key in ("cutoff_ev", "smearing_ev", "k_density", "max_iterations"):
            if not getattr(self, key) > 0:
                raise ConfigError(
                    f"gpaw: {key} must be positive, got {getattr(self, key)}"
                )
        if self.cpu_limit_s < 0:
            raise ConfigError(
                f"gpaw: cpu_limit_s must not be negative, got {self.cpu_limit_s}"
            )
        for key in ("hubbard_ev", "pulay_ev"):
            for element, value in (getattr(self, key) or {}).items():
                if not is_element(element) or not isinstance(value, (int, float)):
                    raise ConfigError(
                        f"gpaw: {key}: expected a number for each element, got "
                        f"{element} = {value!r}"
                    )
        if set(self.thresholds) != set(_THRESHOLDS):
            raise ConfigError(
                f"gpaw: thresholds: expected {', '.join(_THRESHOLDS)}, got "
                f"{', '.join(self.thresholds)}"
            )

    def settings(self, kpts: Sequence[int]) -> str:
        """Return the settings that a frame records, as the shipped frames do.

        Parameters
        ----------
        kpts
            Sizes of the k-mesh.
        """
        table = sorted(self.hubbard_ev.items(), key=lambda pair: atomic_number(pair[0]))
        values = ",".join(f"{element}:d{u:g}" for element, u in table)
        hubbard = f"+U(Dudarev,scaled;{values}eV)" if values else ""
        conv = ",".join(f"{key}={self.thresholds[key]:g}" for key in _THRESHOLDS)
        return (
            f"GPAW {self.functional}{hubbard} PW({self.cutoff_ev:g}eV) "
            f"MP{kpts[0]}x{kpts[1]}x{kpts[2]} FermiDirac({self.smearing_ev:g}eV) "
            "point_group_symmetry=off spinpol collinear "
            f"maxiter={self.max_iterations} conv({conv})"
        )

    def kpts(self, request: Request) -> tuple[int, int, int]:
        """Return the sizes of the Monkhorst-Pack mesh of a cell, all even."""
        from ase.calculators.calculator import kptdensity2monkhorstpack

        sizes = kptdensity2monkhorstpack(request.atoms, self.k_density, even=True)
        first, second, third = (int(size) for size in sizes)
        return first, second, third

    def pulay(self, symbols: Iterable[str]) -> float | None:
        """Return volume times the Pulay stress of a cell, eV; None if unknown."""
        table = self.pulay_ev
        if table is None and (self.functional, self.cutoff_ev) == _PULAY_LEVEL:
            table = PULAY_EV
        counts = Counter(symbols)
        n_oxygen = counts.pop("O", 0)
        n_metals = sum(counts.values()) - counts.get("Li", 0)
        if not table or n_oxygen != 2 * n_metals or not set(counts) <= set(table):
            return None
        return sum(table[element] * number for element, number in counts.items())

    def level(self, elements: Iterable[str]) -> Level:  # noqa: ARG002
        """Return the level of theory, the same for all elements."""
        return level_of_settings(self.settings((1, 1, 1)))

    def check(self) -> None:
        """Make sure that the Python of the settings has GPAW."""
        code = "import gpaw, ase; print(gpaw.__version__)"
        done = self._start(["-P", "-c", code] if not self.python else ["-c", code], 1)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise BackendError(
                f"gpaw: {self._python} cannot import GPAW ({last}); install it there "
                "with pip install 'spin-dp[gpaw]' (docs/dft.md), or name the Python "
                "that has it by the setting python"
            )

    def prepare(self, request: Request, folder: Path) -> None:
        """Write ``gpaw.json``."""
        kpts = self.kpts(request)
        limit = _SMALL_CPU_S if len(request.atoms) < _SMALL_ATOMS else _CPU_S
        job = {
            "symbols": request.symbols,
            "positions": request.atoms.positions.tolist(),
            "cell": request.atoms.cell.array.tolist(),
            "moments": request.moments.tolist(),
            "info": request.info,
            "settings": self.settings(kpts),
            "gpaw": {
                "functional": self.functional,
                "hubbard_ev": dict(self.hubbard_ev),
                "cutoff_ev": self.cutoff_ev,
                "smearing_ev": self.smearing_ev,
                "kpts": kpts,
                "max_iterations": self.max_iterations,
                "thresholds": dict(self.thresholds),
            },
            "cpu_limit_s": self.cpu_limit_s or limit,
            "pulay_ev": self.pulay(request.symbols),
        }
        write_text(folder / INPUT, json.dumps(job, indent=1) + "\n")

    def run(
        self,
        request: Request,  # noqa: ARG002
        folder: Path,
        *,
        threads: int,
        keep: Sequence[int] = (),
    ) -> None:
        """Run GPAW on ``gpaw.json``; leaves ``frame.extxyz`` and ``gpaw.text``."""
        files = [str(folder / name) for name in (INPUT, FRAME, TEXT)]
        done = self._start([str(SCRIPT), *files], threads, keep)
        if done.returncode == 0:
            return
        said = _last_json(done.stdout)
        if said.get("errno") in _ENOSPC_LIKE:
            raise OSError(said["errno"], said["message"], str(folder))
        if said:
            raise BackendError(f"GPAW: {said['error']}: {said['message']}")
        if done.returncode < 0:
            raise BackendError(
                f"GPAW was killed by signal {-done.returncode}, perhaps for want of "
                "memory"
            )
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"GPAW ended with exit status {done.returncode}: {last}")

    def frame(self, request: Request, folder: Path) -> Frame | Rejected | None:  # noqa: ARG002
        """Return the frame in ``frame.extxyz``."""
        path = folder / FRAME
        return next(read_extxyz(path), None) if path.exists() else None

    @property
    def _python(self) -> str:
        return self.python or sys.executable

    def _start(
        self, arguments: Sequence[str], threads: int, keep: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        variables = process_environment(threads)
        variables["OPENBLAS_NUM_THREADS"] = str(threads)
        if self.python:  # modules of this Python may not be those of another
            variables.pop("PYTHONPATH", None)
        try:
            return subprocess.run(
                [self._python, *arguments],
                env=variables,
                capture_output=True,
                text=True,
                check=False,
                pass_fds=tuple(keep),
            )
        except OSError as error:
            raise BackendError(
                f"gpaw: {self._python}: cannot be run ({error.strerror}); set python "
                "to the Python that has GPAW"
            ) from error


def _last_json(text: str) -> dict[str, str | int | None] | dict[str, str]:
    lines = text.strip().splitlines()
    try:
        said = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
