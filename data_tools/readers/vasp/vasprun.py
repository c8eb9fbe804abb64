# SPDX-License-Identifier: LGPL-3.0-or-later
"""VASP vasprun.xml through pymatgen: settings, and each ionic step that is complete.

:class:`pymatgen.io.vasp.Vasprun` reads what this module cuts out of the file: the head
and, of each closed ionic step, all up to its energy. So a file cut off at any byte
keeps its complete steps (of a file that ends early pymatgen may call the run
converged), damage costs one step, and densities of states and eigenvalues, most of the
file, are not read. What pymatgen takes without a question is checked here: flags that
are neither T nor F, numbers that only Python can read, vectors that do not fit their
reciprocals, forces and energies that do not add up, and convergence.

No vasprun.xml holds moments of atoms: they are in the OUTCAR alone.
"""

from __future__ import annotations

import re
import warnings
from math import isfinite
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from spin_dp.data_tools.frame import Frame, Rejected, reject
from spin_dp.data_tools.readers.packed import read_text
from spin_dp.data_tools.readers.vasp.level import (
    RunHeader,
    Species,
    needed,
    run_header,
)
from spin_dp.data_tools.readers.vasp.step import (
    FORCE_SUM,
    UNFINISHED,
    AtomOrder,
    check_cell,
    check_energies,
    judge,
    rejected_step,
)
from spin_dp.errors import DataError
from spin_dp.units import EV_PER_ANGSTROM3_IN_KBAR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from spin_dp.data_tools.frame import Array
    from spin_dp.data_tools.readers.source import MissingMoments

NO_MOMENTS = (
    "vasprun.xml holds no per-atom moments, give the OUTCAR of this run too (LORBIT=11)"
)
NO_RESULTS = "no structure, forces and energy in this step of the vasprun.xml"
DAMAGED_XML = "damaged file: the XML of the ionic step cannot be read"
DAMAGED_HEAD = "the head of the vasprun.xml is damaged or cut off: {}"

_POTCAR_FUNCTIONALS = {"PAW_PBE": "PE", "PAW_GGA": "91", "PAW": "CA"}
_AS_ASKED = ("IVDW", "METAGGA", "LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ")
_VALUE = re.compile(r"<([iv](?: [^<>]*)?)>([^<]*)<")
_FORMS = {  # stars stand for a number that is too long for its field
    'type="logical"': re.compile(r"[TF]"),
    'type="int"': re.compile(r"-?\d+|\*+"),
    "": re.compile(r"-?\d*\.\d*(?:E[+-]?\d+)?|-?\d+|\*+|NaN"),
}
_SPECIES = re.compile(
    r"<rc><c>\s*(\d+)</c><c>[^<]*</c><c>[^<]*</c><c>\s*(\d+\.\d+)</c><c>([^<]*)</c>"
)
_RECIPROCAL = re.compile(r'<varray name="rec_basis" *>(.*?)</varray>', re.S)


class VasprunRun:
    """A vasprun.xml and its ionic steps.

    Parameters
    ----------
    path
        The file, plain or packed.

    Attributes
    ----------
    header
        Atoms, spin settings and level of theory.
    steps
        Each ionic step as it stands in the file, not yet judged, with zero moments;
        rejected where it cannot be read.

    Raises
    ------
    DataError
        If the file is not a vasprun.xml or its head is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        head, *begun = read_text(path).split("<calculation>")
        if "<atominfo>" not in head:
            raise DataError("not a vasprun.xml, or cut off before its list of atoms")
        if damaged := _damaged_value(head):
            raise DataError(DAMAGED_HEAD.format(damaged))
        run = _read(head, [])
        species = _species(head, run)
        self._tags = _tags(run, species)
        pieces = list(_pieces(begun))
        whole = [text for text, reason in pieces if not reason]
        found = iter(_ionic_steps(head, whole))
        self._results = [{} if reason else next(found) for _, reason in pieces]
        natoms = sum(one.count for one in species)
        self.header: RunHeader = run_header(
            self._tags, species, is_corrected=_is_corrected(self._results, natoms)
        )
        self.steps: list[Frame | Rejected] = []
        for number, (text, reason) in enumerate(pieces, start=1):
            try:
                if reason:
                    raise DataError(reason)
                self.steps.append(self._step(number, text))
            except DataError as error:
                self.steps.append(rejected_step(path, number, self.header, str(error)))

    def frames(
        self, missing_moments: MissingMoments = "reject"
    ) -> Iterator[Frame | Rejected]:
        """Yield each ionic step, rejected unless the run has no moments at all.

        Parameters
        ----------
        missing_moments
            What becomes of runs that are not spin-polarised, see
            :class:`~spin_dp.data_tools.readers.source.ReadOptions`.
        """
        order = AtomOrder()
        for step, result in zip(self.steps, self._results, strict=True):
            if isinstance(step, Rejected):
                yield step
                continue
            try:
                order.check(step.positions, step.cell)
            except DataError as error:
                yield reject(step, str(error))
                continue
            scf = _scf_energies(result)
            yield judge(
                step,
                self.header,
                converged=2 <= len(scf) < self._tags["NELM"]
                and abs(scf[-1] - scf[-2]) <= self._tags["EDIFF"] * 1.000001,
                scf_energy=scf[-1] if scf and isfinite(scf[-1]) else None,
                missing_moments=missing_moments,
                no_moments=NO_MOMENTS,
            )

    def _step(self, number: int, text: str) -> Frame:
        """Check what pymatgen has read of a step, and return it."""
        result, natoms = self._results[number - 1], len(self.header.symbols)
        structure, forces, stress = map(result.get, ("structure", "forces", "stress"))
        if (
            structure is None
            or forces is None
            or np.shape(forces) != (natoms, 3)
            or (stress is not None and np.shape(stress) != (3, 3))
            or len(_scf_energies(result)) != text.count("</scstep>")
        ):
            raise DataError(DAMAGED_XML)
        cell = np.array(structure.lattice.matrix)
        check_cell(cell, _reciprocal(text))
        if np.abs(np.sum(forces, axis=0)).max() > 5.0e-9 * natoms + 1.0e-8:
            raise DataError(FORCE_SUM)
        virial = None
        if stress is not None:  # in kbar; symmetric only within its rounding
            in_ev = structure.volume / EV_PER_ANGSTROM3_IN_KBAR
            virial = 0.5 * in_ev * (np.array(stress) + np.transpose(stress))
        positions = np.array(structure.cart_coords)
        return Frame(
            source=str(self.path),
            step=number,
            symbols=self.header.symbols,
            cell=cell,
            positions=positions,
            energy=_energy(result, self.header.ismear),
            forces=np.array(forces),
            moments=np.zeros_like(positions),
            virial=virial,
            level=self.header.level,
            constrained=self.header.constrained,
        )


def _pieces(begun: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the text of each ionic step up to its energy, or why it cannot be used."""
    for number, text in enumerate(begun, start=1):
        inside, closed, after = text.partition("</calculation>")
        structure = inside.find("<structure")
        end = inside.find("</energy>", max(structure, 0))
        if not closed:
            yield "", UNFINISHED if number == len(begun) else DAMAGED_XML
        elif structure < 0 or end < 0:
            yield "", NO_RESULTS
        else:
            results = inside[: end + len("</energy>")]
            yield results, DAMAGED_XML if _damaged_value(results) else ""
        for _ in range(after.count("</calculation>")):  # steps that lost their begin
            yield "", DAMAGED_XML


def _damaged_value(text: str) -> str:
    """Return a value that VASP does not write so; pymatgen may make something of it."""
    for tag, value in _VALUE.findall(text):
        kind = next((word for word in tag.split() if word.startswith("type=")), "")
        words = value.split() or ([value] if "logical" in kind else [])
        if kind in _FORMS and not all(map(_FORMS[kind].fullmatch, words)):
            return f"<{tag}> {' '.join(words)}"
    return ""


def _ionic_steps(head: str, texts: Sequence[str]) -> list[Mapping[str, Any]]:
    """Read ionic steps; those that cannot be read are empty."""
    try:
        found = list(_read(head, texts).ionic_steps)
    except DataError:
        found = []
    if len(found) == len(texts):
        return found
    if len(texts) == 1:
        return [{}]
    half = len(texts) // 2  # find what is damaged
    return _ionic_steps(head, texts[:half]) + _ionic_steps(head, texts[half:])


def _read(head: str, steps: Sequence[str]) -> Any:  # noqa: ANN401
    """Let pymatgen read the head and some ionic steps of a file."""
    from pymatgen.io.vasp.outputs import Vasprun  # a second: only where it is needed

    class Parts(Vasprun):  # type: ignore[misc]
        converged = True  # judged for each step here; fails in a file without steps

    inside = head.partition("</modeling>")[0] + "".join(
        f"<calculation>{step}</calculation>" for step in steps
    )
    # In a folder of its own: beside a file with stars pymatgen looks for an INCAR, be
    # it that of the run or not.
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "vasprun.xml")
        path.write_text(f"{inside}</modeling>", encoding="latin-1")
        try:
            return Parts(
                path, parse_dos=False, parse_eigen=False, parse_potcar_file=False
            )
        except Exception as error:  # whatever damage leads to
            raise DataError(DAMAGED_HEAD.format(error)) from error


def _species(head: str, run: Any) -> list[Species]:  # noqa: ANN401
    """Return the kinds of atoms with the valence electrons that pymatgen leaves out."""
    rows = _SPECIES.findall(head)
    species = [Species(int(n), title.strip(), float(z)) for n, z, title in rows]
    if [one.title for one in species] != run.potcar_symbols:
        raise DataError("the list of atoms in the vasprun.xml is damaged")
    if [one.element for one in species for _ in range(one.count)] != run.atomic_symbols:
        raise DataError("the lists of atoms in the vasprun.xml do not fit each other")
    return species


def _tags(run: Any, species: Sequence[Species]) -> dict[str, Any]:  # noqa: ANN401
    """Return the settings that the run has used."""
    tags = dict(run.parameters)
    tags |= {name: run.incar[name] for name in _AS_ASKED if name in run.incar}
    for name in ("NUPDOWN", "I_CONSTRAINED_M", "NELM", "EDIFF"):
        needed(tags, name)
    if isinstance(kind := tags.get("LDAUTYPE"), list):
        tags["LDAUTYPE"] = kind[0]
    tags["ENCUT"] = needed(tags, "ENMAX")
    if needed(tags, "GGA") == "--":  # the functional of the POTCARs
        names = {one.title.split()[0] for one in species}
        found = {_POTCAR_FUNCTIONALS.get(name, name) for name in names}
        if len(found) != 1:
            raise DataError("the POTCARs of the vasprun.xml name several functionals")
        tags["GGA"] = found.pop()
    if str(run.vasp_version).startswith(("4.", "5.")):  # one decimal in the OUTCAR
        for name in {"LDAUU", "LDAUJ"} & tags.keys():
            tags[name] = [round(value, 1) for value in tags[name]]
    return tags


def _scf_energies(result: Mapping[str, Any]) -> list[float]:
    """Return the free energy of each SCF iteration that states one, eV."""
    name = "e_fr_energy"
    return [one[name] for one in result.get("electronic_steps", []) if name in one]


def _is_corrected(results: Sequence[Mapping[str, Any]], natoms: int) -> bool:
    """Return whether the run adds something (dispersion) to energies of SCF cycles."""
    added = [
        result["e_fr_energy"] - scf[-1]
        for result in results
        if "e_fr_energy" in result and (scf := _scf_energies(result))
    ]
    return bool(added) and abs(median(added)) > 1.0e-3 * natoms


def _reciprocal(text: str) -> Array:
    """Return the reciprocal vectors, (3, 3), 1/Å, which pymatgen leaves out."""
    found = _RECIPROCAL.search(text)
    rows = [row for _, row in _VALUE.findall(found[1])] if found else []
    try:
        return np.array([row.split() for row in rows], dtype=float).reshape(3, 3)
    except ValueError as error:
        raise DataError(DAMAGED_XML) from error


def _energy(result: Mapping[str, Any], ismear: int) -> float:
    """Return the free energy of the step, eV, compared with the two beside it.

    VASP 6 gives energy without entropy and extrapolated energy; VASP 5 the extrapolated
    one under the name of the former, and the entropy under the name of the latter.
    """
    if "e_fr_energy" not in result:
        raise DataError(NO_RESULTS)
    free = float(result["e_fr_energy"])
    if isfinite(free) and {"e_wo_entrp", "e_0_energy"} <= result.keys():
        second, third = result["e_wo_entrp"], result["e_0_energy"]
        is_old = abs(third) < 0.5 * abs(free)
        inner, extrapolated = (free - third, second) if is_old else (second, third)
        check_energies(free, inner, extrapolated, ismear)
    return free
