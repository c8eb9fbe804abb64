# SPDX-License-Identifier: LGPL-3.0-or-later
"""Vacancies and exchanged ions in a spin state, with the charges of labels balanced.

A neutral vacancy leaves electrons or holes on the metals: which sites change their
state is tried out, and the lowest is taken. Ions that change places keep their labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from ase.build import make_supercell

from spin_dp.errors import ConfigError, unknown
from spin_dp.properties.crystal import conventional_matrix
from spin_dp.properties.members import over_members
from spin_dp.properties.relaxation import AtRest, relaxed, relaxed_atoms
from spin_dp.properties.result import Result, value
from spin_dp.properties.settings import option
from spin_dp.properties.single_points import single_points
from spin_dp.spin_states.balance import cell_charge
from spin_dp.spin_states.labels import Labels, Sites, signed_name
from spin_dp.structures import NO_STATE, SPIN_STATES, moment_vectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ase import Atoms
    from matplotlib.axes import Axes

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject
    from spin_dp.spin_states.catalogue import SpinState

_KINDS = ("vacancy", "exchange")
_ZERO_E = 1e-6


@dataclass(frozen=True, kw_only=True)
class DefectSettings(AtRest):
    """Which defect, in how large a cell, and which states may balance it.

    Attributes
    ----------
    kind, element, partner, site, min_length, balance, tries, chemical_potential
        See :func:`spin_dp.properties.settings.described`.
    max_force, max_steps, optimizer, symmetry
        The same.
    """

    kind: str = option(
        "vacancy", "vacancy, or exchange: an ion and one of partner change places"
    )
    element: str = option("Li", "of the ion that leaves")
    partner: str = option(
        "", "of the other ion of an exchange; the first metal if none"
    )
    site: int = option(0, "which of the ions of the element in the given cell")
    min_length: float = option(8.0, "least length of the supercell's vectors, Å")
    balance: str = option(
        "", "states that sites may change to, Ni=4+LS; those that fit if left out"
    )
    tries: int = option(24, "ways to balance that are tried, near ones first")
    chemical_potential: float | None = option(
        None, "of the ion that left, eV, for a formation energy"
    )
    max_force: float = option(0.01, "largest force at the end of relaxations, eV/Å")
    symmetry: float = option(0.02, "distance for finding the conventional cell, Å")

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise unknown("kind of defect", self.kind, _KINDS)
        if self.tries < 1 or not self.min_length > 0.0 or self.site < 0:
            raise ConfigError(
                "defect: expected tries > 0, min_length > 0 and site >= 0, got "
                f"{self.tries}, {self.min_length} and {self.site}."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Defect(Result):
    """A defect in a supercell at the volume of the bulk.

    ``spin_state`` is that of the bulk; :attr:`defect_state` that with the defect.

    Attributes
    ----------
    kind
        In words: ``Li vacancy``, ``Li-Ni exchange``.
    defect_state
        Key of the spin state of the cell with the defect.
    balanced_by
        Sites that changed their state, ``Ni3+LS -> Ni4+LS at 2.88 Å``.
    candidates
        ``change``, ``distance`` (Å, of the nearest changed site) and ``energy`` (eV
        above the lowest, before relaxing) of what was tried.
    structure
        Relaxed, with labels.
    bulk
        The supercell without the defect, with labels.
    """

    name: ClassVar[str] = "defect"

    formation_energy: float = value("eV", "formation energy")
    difference: float = value("eV", "E(defect) - E(bulk)")
    relaxation_energy: float = value("eV", "gain by relaxing")
    distance: float = value("Å", "defect to the site that balances it", digits=2)
    atoms: float = value("", "atoms of the supercell", digits=0)
    kind: str
    defect_state: str
    balanced_by: str
    candidates: pd.DataFrame
    structure: Atoms
    bulk: Atoms

    def at_same_geometries(
        self, other: Subject, progress: Progress | None = None
    ) -> Defect:
        """Return energies of another one with and without the defect.

        What balances the charge stays, and so does the chemical potential that was
        given, which has to be of the level of the other one.
        """
        potential = self.formation_energy - self.difference

        def one(member: Subject, tell: Progress) -> Defect:
            both, what = [self.bulk, self.structure], "energies of bulk and defect"
            bulk, found = single_points(member, both, tell, what)
            difference = found.energy - bulk.energy
            return replace(
                self,
                **bulk.subject.identity,
                becomes=found.becomes or bulk.becomes,
                spread=None,
                formation_energy=difference + potential,
                difference=difference,
                relaxation_energy=float("nan"),
                geometries=self.model,
            )

        return over_members(other, one, progress)

    def remarks(self) -> list[str]:
        """Return what it is, and what has no number."""
        found = [f"{self.kind}, {self.defect_state.partition('#')[0]}"]
        if self.balanced_by:
            found.append(f"balanced by {self.balanced_by}")
        if not np.isfinite(self.formation_energy):
            found.append(
                "no formation energy without a chemical_potential of the ion (--set)"
            )
        return found

    def draw(self, axes: Axes) -> None:
        """Draw the energies of the ways to balance it, by their distance."""
        axes.plot(self.candidates["distance"], self.candidates["energy"], "o")
        axes.set_xlabel("defect to the nearest site that changes, Å")
        axes.set_ylabel("energy above the lowest, unrelaxed, eV")
        axes.set_title(f"{self.label}: {self.kind}", fontsize=9)


@dataclass(frozen=True, eq=False)
class _Case:
    """A cell with a defect: its atoms, where the defect is, and labels to try."""

    atoms: Atoms
    place: Any
    kind: str
    states: tuple[SpinState | None, ...]
    changes: tuple[tuple[int, SpinState], ...] = ()

    def changed(self, changes: tuple[tuple[int, SpinState], ...]) -> _Case:
        states = list(self.states)
        for site, state in changes:
            states[site] = state
        return replace(self, states=tuple(states), changes=changes)


def defect(
    subject: Subject,
    settings: DefectSettings | None = None,
    progress: Progress | None = None,
) -> Defect:
    """Calculate a vacancy, or two ions that changed places, in a spin state.

    Parameters
    ----------
    subject, settings, progress
        As for :func:`spin_dp.properties.relax`.

    Returns
    -------
    Defect
        Of the first model, which also says what balances the charge.

    Raises
    ------
    ConfigError
        If matcalc is not installed, there is no such ion, no states balance the
        charge, or a structure does not relax.
    DataError, BackendError
        As :meth:`spin_dp.SpinDP.evaluate`.
    """
    chosen = settings or DefectSettings()
    relaxed_bulk = relaxed(subject, chosen.relaxation)
    matrix = _repetitions(relaxed_bulk, chosen)
    bulk = _repeated(relaxed_bulk, matrix)
    cases = _cases(bulk, chosen)
    energies = []
    for number, case in enumerate(cases):
        if progress is not None:
            progress("ways to balance charges", number, len(cases))
        # One way only needs no energy, which may be one of DFT.
        energies.append(_energy(_labelled(bulk, case)) if len(cases) > 1 else 0.0)
    best = int(np.argmin(energies))
    table = _candidates(cases, np.array(energies), bulk)

    def one(member: Subject, tell: Progress) -> Defect:
        tell("relaxing the defect", 0, 1)
        # Each model has its own cell; what balances it is that of the first.
        own = _repeated(relaxed(member, chosen.relaxation), matrix)
        bare = _with_defect(own, chosen)
        start = _labelled(own, bare.changed(cases[best].changes))
        before = _energy(start)
        how = replace(chosen.relaxation, what="atoms")
        atoms, converged, left = relaxed_atoms(start, how)
        tell("relaxing the defect", 1, 1)
        if not converged:
            raise ConfigError(
                f"defect in {start.formula}: not relaxed in {chosen.max_steps} steps "
                f"({left:.3f} eV/Å is left); allow more (max_steps)."
            )
        energy = float(atoms.get_potential_energy())
        difference = energy - _energy(own)
        gone = chosen.chemical_potential if chosen.kind == "vacancy" else 0.0
        return Defect(
            **member.identity,
            becomes=start.becomes(atoms),
            formation_energy=float("nan") if gone is None else difference + gone,
            difference=difference,
            relaxation_energy=energy - before,
            distance=float(table["distance"][best]),
            atoms=float(len(atoms)),
            kind=bare.kind,
            defect_state=start.spin_state,
            balanced_by=str(table["change"][best]),
            candidates=table.sort_values("energy", ignore_index=True),
            structure=start.labelled(atoms),
            bulk=own.atoms,
        )

    return over_members(subject, one, progress)


def _energy(subject: Subject) -> float:
    return float(subject.calculated().get_potential_energy())


def _repetitions(bulk: Subject, settings: DefectSettings) -> Any:  # noqa: ANN401
    """Return the supercell's vectors in those of the cell, (3, 3)."""
    matrix = conventional_matrix(bulk.atoms, settings.symmetry)
    lengths = np.linalg.norm(matrix @ bulk.atoms.cell.array, axis=1)
    numbers = np.ceil(settings.min_length / lengths).astype(np.int64)
    return numbers[:, None] * matrix


def _repeated(bulk: Subject, matrix: Any) -> Subject:  # noqa: ANN401
    return bulk.carrying(make_supercell(bulk.atoms, matrix))


def _cases(bulk: Subject, settings: DefectSettings) -> list[_Case]:
    """Return the defect with each way to balance it, near ones first."""
    bare = _with_defect(bulk, settings)
    charge = cell_charge(_as_labels(bare), _sites(bare.atoms))
    if charge is None:
        raise ConfigError(
            f"defect in {bulk.formula}: the charges of its ions are not known, so that "
            "it cannot be balanced; label all sites by names of spin states."
        )
    if abs(charge) < _ZERO_E:
        return [bare]
    found = list(_balanced(bare, bulk, round(charge), settings))
    if not found:
        raise ConfigError(
            f"{bare.kind} in {bulk.formula}: the labels add up to {charge:+g} e, and "
            f"no states of {bulk.model} make it neutral"
            f"{f' within {settings.balance}' if settings.balance else ''}; it knows "
            f"{bulk.energies.states.describe(_metals(bulk))}."
        )
    return found[: settings.tries]


def _with_defect(bulk: Subject, settings: DefectSettings) -> _Case:
    """Return the cell with the defect and the labels that are left."""
    symbols = bulk.atoms.get_chemical_symbols()
    ions = [k for k, symbol in enumerate(symbols) if symbol == settings.element]
    if settings.site >= len(ions):
        raise ConfigError(
            f"defect: expected site below {len(ions)}, the number of "
            f"{settings.element} in {bulk.formula}, got {settings.site}."
        )
    ion = ions[settings.site]
    place, atoms = bulk.atoms.positions[ion].copy(), bulk.atoms.copy()
    states = list(bulk.site_states)
    if settings.kind == "vacancy":
        del atoms[ion], states[ion]
        return _Case(atoms, place, f"{settings.element} vacancy", tuple(states))
    partner = settings.partner or _metals(bulk)[0]
    others = [k for k, symbol in enumerate(symbols) if symbol == partner]
    if not others:
        raise unknown("partner of an exchange", partner, set(symbols))
    distances = atoms.get_distances(ion, others, mic=True)
    other = others[int(distances.argmin())]
    atoms.positions[[ion, other]] = atoms.positions[[other, ion]]
    return _Case(atoms, place, f"{settings.element}-{partner} exchange", tuple(states))


def _balanced(
    case: _Case, bulk: Subject, charge: int, settings: DefectSettings
) -> Iterator[_Case]:
    """Go through the ways to take a charge off the metals, one unit a site."""
    metals = [k for k, state in enumerate(case.states) if state is not None]
    distances = _distances(case, metals)
    order = [metals[k] for k in np.argsort(distances, kind="stable")]
    step = -int(np.sign(charge))
    for sites in combinations(order, abs(charge)):
        options = [_options(case, site, step, bulk, settings) for site in sites]
        for chosen in product(*options):
            yield case.changed(tuple(zip(sites, chosen, strict=True)))


def _options(
    case: _Case, site: int, step: int, bulk: Subject, settings: DefectSettings
) -> list[SpinState]:
    present = case.states[site]
    assert present is not None  # sites are those with states
    if present.charge is None:
        return []
    catalogue = bulk.energies.states
    known = [state for state in catalogue.of(present.element) if state.is_usual]
    for word in settings.balance.replace(",", " ").split():
        element, equals, name = word.partition("=")
        if not equals:
            raise ConfigError(f"balance {word!r}: expected STATES such as Ni=4+LS.")
        if element == present.element:
            known = [catalogue.find(element, name)]
        elif present.element not in settings.balance:
            known = []
    return [state for state in known if state.charge == present.charge + step]


def _labelled(bulk: Subject, case: _Case) -> Subject:
    """Return the subject of a case; moments keep their directions."""
    own = moment_vectors(case.atoms.get_initial_magnetic_moments(), len(case.atoms))
    ups = own[:, 2].copy()
    for site, state in case.changes:
        # A site without a moment, such as low-spin Co3+, gets one that is up.
        ups[site] = -state.moment if ups[site] < 0.0 else state.moment
    names = [
        NO_STATE if state is None else signed_name(state.name, up)
        for state, up in zip(case.states, ups.tolist(), strict=True)
    ]
    atoms = case.atoms.copy()
    atoms.set_array(SPIN_STATES, np.array(names))
    return bulk.relabelled(atoms)


def _as_labels(case: _Case) -> Labels:
    number = len(case.atoms)
    return Labels(np.zeros((number, 3)), case.states, np.ones(number, dtype=np.bool_))


def _sites(atoms: Atoms) -> Sites:
    return Sites(atoms.get_chemical_symbols(), atoms.cell.array, atoms.positions)


def _distances(case: _Case, sites: Sequence[int]) -> Any:  # noqa: ANN401
    from ase.geometry import get_distances

    _, found = get_distances(
        case.place, case.atoms.positions[list(sites)], cell=case.atoms.cell, pbc=True
    )
    return found[0]


def _metals(bulk: Subject) -> list[str]:
    return list(dict.fromkeys(s.element for s in bulk.site_states if s is not None))


def _candidates(cases: Sequence[_Case], energies: Any, bulk: Subject) -> pd.DataFrame:  # noqa: ANN401
    rows = []
    bare = _with_states(cases[0], bulk)
    for case, energy in zip(cases, energies, strict=True):
        places = [site for site, _ in case.changes]
        distances = _distances(case, places) if places else np.zeros(0)
        words = [
            f"{bare[site]} → {state.name} at {distance:.2f} Å"
            for (site, state), distance in zip(case.changes, distances, strict=True)
        ]
        rows.append(
            {
                "change": ", ".join(words),
                "distance": float(min(distances, default=np.nan)),
                "energy": float(energy - energies.min()),
            }
        )
    return pd.DataFrame(rows)


def _with_states(case: _Case, bulk: Subject) -> list[str]:
    """Return the names of the states that sites had before they changed."""
    names = [NO_STATE if state is None else state.name for state in case.states]
    if not case.changes:
        return names
    own = bulk.labelled(case.atoms).arrays[SPIN_STATES]
    return [str(name).removeprefix("-") for name in own]
