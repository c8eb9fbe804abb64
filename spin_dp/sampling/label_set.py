# SPDX-License-Identifier: LGPL-3.0-or-later
"""The labels that sites may carry, by number: spin states of the elements, up or down.

A state without moment is one label, any other two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from spin_dp.spin_states.catalogue import Catalogue, SpinState
    from spin_dp.spin_states.labels import Labels

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

NO_LABEL = -1
"""Number of an atom whose element has no states, such as oxygen."""


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Labels by number.

    Attributes
    ----------
    states
        State of each label, (k,).
    signs
        1 up, -1 down, 0 without moment, (k,).
    """

    states: Sequence[SpinState]
    signs: Ints

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        elements: Sequence[str],
        allowed: Mapping[str, Sequence[str]] | None = None,
    ) -> LabelSet:
        """Return the labels of elements.

        Parameters
        ----------
        catalogue
            States that a model knows.
        elements
            Chemical symbols; those without states are left out.
        allowed
            States that an element may be in, ``{"Ni": ["3+LS", "4+LS"]}``; all of known
            charge where it does not say.

        Raises
        ------
        ConfigError
            If a state is not known, or has no charge; if an element has none with one.
        """
        chosen: list[SpinState] = []
        for element in sorted(set(elements)):
            if not catalogue.has_states(element):
                continue
            if allowed and element in allowed:
                states = [catalogue.find(element, name) for name in allowed[element]]
                for state in states:
                    if state.charge is None:
                        raise ConfigError(
                            f"{state.name}: named by its moment, its charge is not "
                            "known; leave it out of the states that sites may be in."
                        )
            else:
                states = [
                    state
                    for state in catalogue.of(element)
                    if state.is_usual and state.charge is not None
                ]
            if not states:
                raise ConfigError(
                    f"{element}: the model knows no spin state of known charge, "
                    f"only {', '.join(s.name for s in catalogue.of(element))}."
                )
            chosen += dict.fromkeys(states)
        labels = [
            (state, state.sign(up))
            for state in chosen
            for up in ((1, -1) if state.moment else (1,))
        ]
        return cls(
            tuple(state for state, _ in labels),
            np.array([sign for _, sign in labels], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.states)

    @cached_property
    def moments(self) -> Floats:
        """Signed moment of each label, (k,), μB."""
        lengths = np.array([state.moment for state in self.states])
        signed: Floats = self.signs * lengths
        return signed

    @cached_property
    def charges(self) -> Ints:
        """Oxidation state of each label, (k,), e."""
        return np.array([state.charge for state in self.states], dtype=np.int64)

    @cached_property
    def _number(self) -> dict[tuple[str, int], int]:
        """Label of each state's name and sign."""
        return {
            (state.name, int(sign)): k
            for k, (state, sign) in enumerate(zip(self.states, self.signs, strict=True))
        }

    @cached_property
    def turned(self) -> Ints:
        """Label of the same state and the other sign, (k,); itself if there is none."""
        labels = list(zip(self.states, self.signs.tolist(), strict=True))
        place = {label: k for k, label in enumerate(labels)}
        return np.array(
            [place.get((state, -sign), k) for k, (state, sign) in enumerate(labels)],
            dtype=np.int64,
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the states, each once, in order."""
        return tuple(dict.fromkeys(state.name for state in self.states))

    @cached_property
    def state_numbers(self) -> Ints:
        """Place of each label's state in :attr:`names`, (k,)."""
        place = {name: number for number, name in enumerate(self.names)}
        return np.array([place[state.name] for state in self.states], dtype=np.int64)

    def of_element(self, element: str) -> Ints:
        """Return the labels of an element."""
        here = [k for k, state in enumerate(self.states) if state.element == element]
        return np.array(here, dtype=np.int64)

    def numbers(self, symbols: Sequence[str], labels: Labels) -> Ints:
        """Return the label of each atom, (n,); :data:`NO_LABEL` where there is none.

        Parameters
        ----------
        symbols
            Elements, (n,).
        labels
            What they are labelled with.

        Raises
        ------
        ConfigError
            If a site of an element with states is labelled by a number, or not at all,
            or by a state that is not among the labels.
        """
        elements = {state.element for state in self.states}
        found = np.full(len(symbols), NO_LABEL, dtype=np.int64)
        for atom, (symbol, state) in enumerate(
            zip(symbols, labels.states, strict=True)
        ):
            if symbol not in elements:
                continue
            if state is None:
                raise ConfigError(
                    f"atom {atom} ({symbol}): labels that move are names of spin "
                    f"states, got {labels.moments[atom, 2]:g} μB. Name a state, "
                    f"{symbol}={self.states[self.of_element(symbol)[0]].name}."
                )
            key = state.name, state.sign(int(np.sign(labels.moments[atom, 2])) or 1)
            if key not in self._number:
                known = [self.states[k].name for k in self.of_element(symbol)]
                raise ConfigError(
                    f"atom {atom}: its state {state.name} is not among those that "
                    f"{symbol} may be in, {', '.join(dict.fromkeys(known))}."
                )
            found[atom] = self._number[key]
        return found

    def vectors(self, numbers: Ints) -> Floats:
        """Return the moments that labels stand for, along z, (n, 3), μB."""
        moments = np.zeros((len(numbers), 3))
        has_label = numbers != NO_LABEL
        moments[has_label, 2] = self.moments[numbers[has_label]]
        return moments

    def count(self, numbers: Ints) -> dict[str, int]:
        """Return how many atoms are in each state, by name; states of none, too."""
        places = self.state_numbers[numbers[numbers != NO_LABEL]]
        counts = np.bincount(places, minlength=len(self.names))
        return dict(zip(self.names, counts.tolist(), strict=True))
