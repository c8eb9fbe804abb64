# SPDX-License-Identifier: LGPL-3.0-or-later
"""VASP: run folders written by pymatgen, run by the user's command or by the user.

The input is a static calculation with the settings of the Materials Project
(``MPStaticSet``), the starting moments as MAGMOM and moments printed (LORBIT=11).
Results are read by :mod:`spin_dp.data_tools.readers.vasp`, and atoms are matched to the
request by place, in whatever order VASP has had them.
"""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, reject
from spin_dp.data_tools.level import Level
from spin_dp.data_tools.readers.packed import read_text
from spin_dp.data_tools.readers.source import ReadOptions
from spin_dp.data_tools.readers.vasp.level import Species, run_header
from spin_dp.data_tools.readers.vasp.run import find_runs, read_run
from spin_dp.dft.engine import Engine
from spin_dp.dft.vasp_input import (
    HUBBARD,
    OURS,
    STATIC,
    check_tags,
    hubbard_tags,
    one_of_each,
    potcar_folder,
    quiet,
    sorted_structure,
)
from spin_dp.errors import BackendError, ConfigError, DataError
from spin_dp.files import write_text
from spin_dp.spin_states.elements import is_element
from spin_dp.threads import process_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pymatgen.core import Structure

    from spin_dp.dft.outcome import Outcome
    from spin_dp.dft.request import Request

OTHER_STRUCTURE = "the results are of another structure than the one asked for"
STDOUT = "vasp.stdout"

_DEFAULTS = {"LASPH": False, "LHFCALC": False, "GGA": "PE", "NUPDOWN": -1}
_FOOTER = "General timing and accounting"
_PLACE_ANGSTROM, _CELL_ANGSTROM = 0.01, 1.0e-3  # VASP may symmetrise, and rounds
_FROM_POTCAR = ("potcar", "net_charge")


@dataclass(frozen=True, kw_only=True)
class Vasp(Engine):
    """Settings of VASP.

    Attributes
    ----------
    command
        Run in the folder of each run by a shell, e.g. ``srun vasp_std``; empty: folders
        are only written, and results are picked up when they are there.
    incar
        INCAR tags that take the place of those of the input set.
    hubbard_ev
        U on the d (f) shell of each element, eV (Dudarev); None: those of the Materials
        Project, where there is oxygen or fluorine.
    reciprocal_density
        k-points for each 1/Å³ of reciprocal space, as pymatgen counts them.
    potcar
        POTCAR of an element instead of that of the Materials Project, ``Li = "Li"``.
    potcar_functional
        Set of POTCARs as pymatgen names it, ``PBE``, ``PBE_54``, ``PBE_64``.
    """

    command: str = ""
    incar: Mapping[str, Any] = field(default_factory=dict)
    hubbard_ev: Mapping[str, float] | None = None
    reciprocal_density: int = 100
    potcar: Mapping[str, str] = field(default_factory=dict)
    potcar_functional: str = "PBE"

    name: ClassVar[str] = "vasp"
    paths: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.reciprocal_density <= 0:
            raise ConfigError(
                "vasp: reciprocal_density must be positive, got "
                f"{self.reciprocal_density}"
            )
        for element in (*(self.hubbard_ev or {}), *self.potcar):
            if not is_element(element):
                raise ConfigError(f"vasp: {element!r} is not an element")
        for tag in self.incar:
            if tag.upper() in OURS:
                raise ConfigError(
                    f"vasp: incar: {tag} is set here: {OURS[tag.upper()]}"
                )
            if self.hubbard_ev is not None and tag.upper() in HUBBARD:
                raise ConfigError(
                    f"vasp: incar: {tag} and hubbard_ev say the same; give one"
                )
        check_tags(self.incar)

    @property
    def runs(self) -> bool:
        """Whether there is a command."""
        return bool(self.command)

    def check(self) -> None:
        """Make sure that there is such a command, and POTCARs where it needs them."""
        if not self.command:
            return
        program = _program(self.command)
        known = ["sh", "-c", 'command -v "$1"', "sh", program]
        if subprocess.run(known, capture_output=True, check=False).returncode != 0:
            raise BackendError(
                f"vasp: there is no program {program!r} here; give its full path in "
                "command, or leave command out and run the folders yourself"
            )
        if not potcar_folder():
            raise BackendError(
                "vasp: pymatgen knows no POTCARs; set PMG_VASP_PSP_DIR (pmg config "
                "-p), or leave command out and put them into the folders yourself"
            )

    def level(self, elements: Iterable[str]) -> Level | None:
        """Return the level of theory; None without POTCARs, which are part of it."""
        titles = self._titles(tuple(elements))
        return None if titles is None else self._level(titles)

    def check_level(self, known: Iterable[Level], elements: Iterable[str]) -> None:
        """Refuse to add to frames of another level of theory.

        Where POTCARs are not here, all but them is compared.
        """
        elements = tuple(elements)
        if (level := self.level(elements)) is not None:
            self.refuse_conflicts(level, known)
            return
        titles = [(element, 0.0) for element in elements]
        self.refuse_conflicts(
            _without_potcars(self._level(titles)), map(_without_potcars, known)
        )

    def prepare(self, request: Request, folder: Path) -> None:
        """Write POSCAR, INCAR, KPOINTS, and POTCAR or POTCAR.spec."""
        structure = sorted_structure(request)
        inputs = self._input_set(structure)
        with quiet():
            poscar = inputs.poscar.get_str(significant_figures=10)
            kpoints, names = str(inputs.kpoints), list(inputs.potcar_symbols)
        write_text(folder / "POSCAR", poscar)
        write_text(folder / "INCAR", str(self._incar(structure)))
        write_text(folder / "KPOINTS", kpoints + "\n")
        if potcar_folder():
            write_text(folder / "POTCAR", str(self._potcar(inputs)))
        else:
            write_text(folder / "POTCAR.spec", "\n".join(names) + "\n")

    def run(
        self,
        request: Request,
        folder: Path,
        *,
        threads: int,
        keep: Sequence[int] = (),
    ) -> None:
        """Run the command in the folder."""
        if not (folder / "POTCAR").exists():
            raise BackendError(f"{folder}: there is no POTCAR; POTCAR.spec says which")
        with (folder / STDOUT).open("w") as said:
            done = subprocess.run(
                self.command,
                shell=True,
                cwd=folder,
                env=process_environment(threads),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                check=False,
                pass_fds=tuple(keep),
            )
        if self.frame(request, folder) is None:
            raise BackendError(
                f"{self.command!r} ended with exit status {done.returncode} and left "
                f"no finished OUTCAR; see {folder / STDOUT}"
            )

    def read(self, request: Request, folder: Path) -> Outcome:
        """Say how a run stands, and what the user has to do for it."""
        found = super().read(request, folder)
        if found.status != "waiting" or not (folder / "INCAR").exists():
            return found
        if any(folder.glob("OUTCAR*")):
            reason = "its OUTCAR is not finished: VASP runs, or was cut off"
        elif (folder / "POTCAR").exists():
            reason = "waits for VASP to be run in its folder"
        else:
            reason = "waits for a POTCAR (POTCAR.spec says which) and for VASP"
        return replace(found, reason=reason)

    def frame(self, request: Request, folder: Path) -> Frame | Rejected | None:
        """Return the ionic step of the OUTCAR, with atoms in the request's order."""
        files = [path for path in folder.iterdir() if path.is_file()]
        source = next(
            (s for s in find_runs(folder, files) if "OUTCAR" in s.path.name), None
        )
        if source is None:
            return None
        try:
            if _FOOTER not in read_text(source.path):
                return None
            step = next(read_run(source, ReadOptions()), None)
        except DataError as error:
            return Rejected(source=str(source.path), step=0, reason=str(error))
        return _in_order(step, request) if isinstance(step, Frame) else step

    def _input_set(self, structure: Structure) -> Any:  # noqa: ANN401
        from pymatgen.io.vasp.sets import MPStaticSet

        with quiet():
            return MPStaticSet(
                structure,
                user_incar_settings=dict(STATIC),
                user_potcar_settings=dict(self.potcar) or None,
                user_potcar_functional=self.potcar_functional,
                reciprocal_density=self.reciprocal_density,
                sort_structure=False,
            )

    def _incar(self, structure: Structure) -> Any:  # noqa: ANN401
        """Return the INCAR of a structure whose equal elements stand together."""
        with quiet():
            incar = self._input_set(structure).incar
        if self.hubbard_ev is not None:
            for tag in HUBBARD:
                incar.pop(tag, None)
            incar.update(hubbard_tags(self.hubbard_ev, structure))
        incar.update({tag.upper(): value for tag, value in self.incar.items()})
        moments = [float(moment) for moment in structure.site_properties["magmom"]]
        incar.update({"ISPIN": 2, "LORBIT": 11, "NSW": 0, "MAGMOM": moments})
        return incar

    def _potcar(self, inputs: Any) -> Any:  # noqa: ANN401
        try:
            with quiet():
                return inputs.potcar
        except (OSError, ValueError) as error:
            raise BackendError(
                f"vasp: a POTCAR is missing: {' '.join(str(error).split())[:200]}"
            ) from error

    def _titles(self, elements: Sequence[str]) -> list[tuple[str, float]] | None:
        """Return title and valence electrons of each element's POTCAR."""
        if not potcar_folder():
            return None
        potcar = self._potcar(self._input_set(one_of_each(elements)))
        return [(single.TITEL.strip(), float(single.ZVAL)) for single in potcar]

    def _level(self, titles: Sequence[tuple[str, float]]) -> Level:
        structure = one_of_each(
            [Species(1, title, valence).element for title, valence in titles]
        )
        tags = {
            "LSORBIT": False,
            "LNONCOLLINEAR": False,
            **_DEFAULTS,
            "LDAU": False,
            **self._incar(structure),
        }
        species = [Species(1, title, valence) for title, valence in titles]
        tags.setdefault("NELECT", sum(one.valence for one in species))
        return run_header(tags, species, is_corrected=False).level


def _program(command: str) -> str:
    """Return the first word of a command that is not the setting of a variable."""
    try:
        words = shlex.split(command)
        return next(word for word in words if "=" not in word)
    except (ValueError, StopIteration) as error:
        raise ConfigError(f"vasp: command: expected one, got {command!r}") from error


def _without_potcars(level: Level) -> Level:
    kept = {k: v for k, v in level.description.items() if k not in _FROM_POTCAR}
    return Level(level.label, kept)


def _in_order(frame: Frame, request: Request) -> Frame | Rejected:
    """Return a frame with its atoms in the order of the request, matched by place."""
    from ase.geometry import find_mic
    from scipy.optimize import linear_sum_assignment

    atoms, symbols = request.atoms, np.array(request.symbols)
    if sorted(frame.symbols) != sorted(symbols):
        return reject(frame, OTHER_STRUCTURE)
    if np.abs(frame.cell - atoms.cell.array).max() > _CELL_ANGSTROM:
        return reject(frame, OTHER_STRUCTURE)
    between = atoms.positions[:, None] - frame.positions[None]
    _, distances = find_mic(between.reshape(-1, 3), atoms.cell, pbc=True)
    cost = distances.reshape(len(atoms), len(atoms))
    cost[symbols[:, None] != np.array(frame.symbols)[None]] = 1.0e3
    _, order = linear_sum_assignment(cost)
    if cost[np.arange(len(atoms)), order].max() > _PLACE_ANGSTROM:
        return reject(frame, OTHER_STRUCTURE)
    magnetic = frame.magnetic_forces
    return replace(
        frame,
        symbols=tuple(frame.symbols[i] for i in order),
        positions=frame.positions[order],
        forces=frame.forces[order],
        moments=frame.moments[order],
        magnetic_forces=None if magnetic is None else magnetic[order],
    )
