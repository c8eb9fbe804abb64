# SPDX-License-Identifier: LGPL-3.0-or-later
"""Phases of a crystal while an ion leaves: arrangements, spin states, relaxation.

At each content all distinct arrangements of the vacancies, in each the lowest neutral
spin state at fixed positions; where there are too many, those that Monte Carlo over
ions and labels comes by. The lowest of them are relaxed. The charge of the ions that
leave is taken up by the metals: assignments whose oxidation states do not add up are
not tried.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spin_dp.errors import ConfigError, unknown
from spin_dp.properties.energies import ModelEnergies
from spin_dp.properties.relaxation import RelaxationSettings, relaxed_atoms
from spin_dp.properties.result import with_spread
from spin_dp.properties.settings import option
from spin_dp.properties.subject import Subject
from spin_dp.properties.voltage import metals
from spin_dp.properties.voltage.profile import Phase, Voltage, voltage_profile
from spin_dp.search.arrangements import ArrangementSearch, search_arrangements
from spin_dp.search.ladder import ranked_frames
from spin_dp.search.lowest import lowest_states
from spin_dp.search.vacancy_patterns import VacancyPatterns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms

    from spin_dp.inference.predictor import SpinDP
    from spin_dp.properties.settings import Progress

log = logging.getLogger(__name__)

_WHAT = ("cell", "atoms", "nothing")


@dataclass(frozen=True, kw_only=True)
class VoltageSettings:
    """How phases are looked for.

    Attributes
    ----------
    ion, shares, arrangements, relax, relaxed, max_force, max_steps, states
        See :func:`spin_dp.properties.settings.described`.
    sweeps, max_patterns, metal_energy, seed
        As well.
    """

    ion: str = option("Li", "element that leaves")
    shares: tuple[float, ...] = option(
        (), "of the ions that are left, 1,0.5,0; quarters as the cell allows if empty"
    )
    arrangements: int = option(
        12, "arrangements of vacancies at each content; all where there are no more"
    )
    sweeps: int = option(
        ArrangementSearch.sweeps,
        "of Monte Carlo over ions and labels where there are more; 0: they are drawn",
    )
    relax: str = option("cell", "what relaxes: cell (and atoms), atoms, or nothing")
    relaxed: int = option(2, "lowest arrangements of each content that are relaxed")
    max_force: float = option(0.02, "largest force after relaxing, eV/Å")
    max_steps: int = option(300, "of a relaxation, at most")
    states: str = option(
        "",
        "that elements may be in, 'Ni=3+LS,4+LS; Mn=4+'; all that are known if empty",
    )
    max_patterns: int = option(
        256, "spin states that are tried; chains search where there are more"
    )
    metal_energy: float | None = option(
        None,
        "of the ion's metal at the level of the model, eV an atom; known of lixmo2",
    )
    seed: int = option(1, "of arrangements that are drawn")

    def __post_init__(self) -> None:
        if self.relax not in _WHAT:
            raise unknown("what to relax", self.relax, _WHAT)
        if self.shares and len(set(self.shares)) < 2:
            raise ConfigError(f"shares: expected two or more, got {list(self.shares)}.")
        if not all(0.0 <= x <= 1.0 for x in self.shares):
            raise ConfigError(
                f"shares: expected numbers from 0 to 1, got {list(self.shares)}."
            )
        if self.arrangements < 1 or self.relaxed < 1 or self.sweeps < 0:
            raise ConfigError(
                "arrangements and relaxed: expected at least 1, and sweeps not below "
                f"0, got {self.arrangements}, {self.relaxed} and {self.sweeps}."
            )

    def shares_of(self, number: int) -> list[float]:
        """Return the shares of so many ions to look at, full crystal first."""
        quarters = [round(0.25 * k * number) / max(number, 1) for k in range(5)]
        return sorted(set(self.shares or quarters), reverse=True)

    @property
    def states_by_element(self) -> Mapping[str, Sequence[str]]:
        """States to try of each element."""
        found = {}
        for word in self.states.split(";"):
            element, equals, names = word.partition("=")
            if not word.strip():
                continue
            listed = [name.strip() for name in names.split(",") if name.strip()]
            if not (equals and listed):
                raise ConfigError(
                    "states: expected an element and its states, 'Ni=3+LS,4+LS', got "
                    f"{word.strip()!r}."
                )
            found[element.strip()] = listed
        return found


def voltage(
    subject: Subject,
    settings: VoltageSettings | None = None,
    progress: Progress | None = None,
) -> Voltage:
    """Return voltages and phase stability while an ion leaves a crystal.

    The first model of an ensemble looks for arrangements and spin states and relaxes
    them; the others give their energies of the same structures.

    Parameters
    ----------
    subject
        The full crystal, a supercell that all contents fit; its labels do not count,
        the lowest spin state is looked for at each content.
    settings
        None: the defaults.
    progress
        Called as ``progress(what, done, total)``.

    Raises
    ------
    ConfigError
        If energies are not those of a model (:meth:`Voltage.at_same_geometries` takes
        others), a content does not fit, no neutral state exists, or the energy of the
        metal is not known.
    """
    chosen = settings or VoltageSettings()
    energies = subject.energies
    if not isinstance(energies, ModelEnergies):
        raise ConfigError(
            f"voltage: {energies.name} cannot look for spin states and arrangements. "
            "It can calculate what a model finds (--single-points)."
        )
    metal = chosen.metal_energy
    if metal is None:
        metal = metals.metal_energy(chosen.ion, energies.model)
    found = find_phases(subject, chosen, progress)
    results = []
    for member in range(energies.members):
        phases = [one.phase if member == 0 else one.by_member(member) for one in found]
        results.append(
            voltage_profile(
                phases,
                metal,
                ion=chosen.ion,
                model=subject.model,
                label_mode=subject.label_mode,
            )
        )
    profile: Voltage = with_spread(results)
    for atoms in profile.structures:
        energies.warn_outside(atoms)
    return profile


@dataclass(frozen=True, eq=False)
class FoundPhase:
    """A phase, and the subject whose models give its energy."""

    phase: Phase
    subject: Subject

    def by_member(self, member: int) -> Phase:
        """Return the same structure with the energy of another model."""
        atoms = replace(self.subject, member=member).calculated(self.phase.atoms)
        return replace(self.phase, energy=float(atoms.get_potential_energy()))


def find_phases(
    subject: Subject, settings: VoltageSettings, progress: Progress | None = None
) -> list[FoundPhase]:
    """Return phases at each content, lowest arrangements relaxed.

    Parameters
    ----------
    subject, settings, progress
        As for :func:`voltage`.
    """
    tell = progress or (lambda *_: None)
    energies = subject.energies
    assert isinstance(energies, ModelEnergies)
    model = energies.model.first
    # All contents are checked before the work begins.
    number = subject.atoms.get_chemical_symbols().count(settings.ion)
    contents = {
        share: VacancyPatterns.of_share(subject.atoms, settings.ion, share)
        for share in settings.shares_of(number)
    }
    ranked: list[list[tuple[float, Atoms]]] = []
    for done, (share, patterns) in enumerate(contents.items()):
        distinct = patterns.count_distinct()
        is_searched = settings.sweeps > 0 and distinct > settings.arrangements

        def told(part: int, parts: int, before: int = done) -> None:
            what = "arrangements and spin states"
            tell(what, before + part / max(parts, 1), len(contents))

        find = _searched if is_searched else _tried
        ranked.append(find(patterns, model, settings, told))
        log.info(
            "x = %g: %d arrangements, %d distinct, %d %s",
            *(share, patterns.count_all(), distinct, len(ranked[-1])),
            "found by Monte Carlo" if is_searched else "looked at",
        )
    relaxing = settings.relax != "nothing"
    work = [
        (number, frame, relaxing and number < settings.relaxed)
        for rows in ranked
        for number, (_, frame) in enumerate(sorted(rows, key=lambda row: row[0]))
    ]
    found = []
    for done, (number, frame, is_relaxed) in enumerate(work):
        tell("relaxing", done, len(work))
        found.append(_phase(subject, frame, number, settings, is_relaxed=is_relaxed))
    return found


def _tried(
    patterns: VacancyPatterns,
    model: SpinDP,
    settings: VoltageSettings,
    told: Callable[[int, int], None],
) -> list[tuple[float, Atoms]]:
    """Return arrangements, each in its lowest spin state, with their energies, eV."""
    chosen = patterns.choose(settings.arrangements, settings.seed)
    found = []
    for done, pattern in enumerate(chosen):
        told(done, len(chosen))
        frame, energy = _in_lowest_state(pattern.atoms, model, settings)
        found.append((energy, frame))
    return found


def _searched(
    patterns: VacancyPatterns,
    model: SpinDP,
    settings: VoltageSettings,
    told: Callable[[int, int], None],
) -> list[tuple[float, Atoms]]:
    """Return the lowest arrangements that chains come by, with their energies, eV."""
    present = set(patterns.full.get_chemical_symbols())
    given = settings.states_by_element
    found = search_arrangements(
        patterns,
        model,
        ArrangementSearch(sweeps=settings.sweeps, seed=settings.seed),
        states={name: given[name] for name in given if name in present},
        keep=settings.arrangements,
        progress=told,
    )
    return [(one.energy, one.atoms) for one in found]


def lowest_phase(atoms: Atoms, model: SpinDP, settings: VoltageSettings) -> FoundPhase:
    """Return a crystal in its lowest spin state, relaxed as settings say.

    Parameters
    ----------
    atoms
        The crystal, all its ions in place.
    model
        Whose first one looks, and relaxes.
    settings
        States, and how crystals relax.
    """
    frame, _ = _in_lowest_state(atoms, model.first, settings)
    own = Subject.of_model(frame, model)
    return _phase(own, frame, 0, settings, is_relaxed=settings.relax != "nothing")


def _in_lowest_state(
    atoms: Atoms, model: SpinDP, settings: VoltageSettings
) -> tuple[Atoms, float]:
    """Return a structure labelled by its lowest state, and the energy of that, eV."""
    table = lowest_states(
        atoms,
        model,
        states=settings.states_by_element,
        max_patterns=settings.max_patterns,
    )
    (frame,) = ranked_frames(atoms, table, 1)
    return frame, float(table["energy"].iloc[0])


def _phase(
    subject: Subject,
    frame: Atoms,
    number: int,
    settings: VoltageSettings,
    *,
    is_relaxed: bool,
) -> FoundPhase:
    """Return a phase in the spin state that its frame has."""
    own = subject.relabelled(frame)
    if not is_relaxed:
        atoms = own.calculated()
        energy, becomes = float(atoms.get_potential_energy()), ""
    else:
        limits = RelaxationSettings(
            what=settings.relax,
            max_force=settings.max_force,
            max_steps=settings.max_steps,
        )
        atoms, converged, left = relaxed_atoms(own, limits)
        energy, becomes = float(atoms.get_potential_energy()), own.becomes(atoms)
        if not converged:
            log.warning(
                "%s in %s: not relaxed, %.3f eV/Å left; its energy is too high",
                *(own.formula, own.spin_state, left),
            )
    phase = Phase(
        atoms=own.labelled(atoms),
        energy=energy,
        state=becomes or own.spin_state,
        arrangement=number,
        is_relaxed=is_relaxed,
    )
    return FoundPhase(phase, own)
