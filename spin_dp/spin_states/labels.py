# SPDX-License-Identifier: LGPL-3.0-or-later
"""Labels of sites: spin states by name, or moments by number.

``Mn=3+HS``             all Mn sites are high-spin Mn3+, up
``Ni=2+ Mn=-4+``        two elements, Mn down
``Mn=3+HS 5=-3+HS``     the same, atom 5 (counted from 0) down
``Mn=3.7``              moments by number, μB
``0,3.7,0,0``           one number for each atom
``Mn3+HS[1up,1dn]``     the key of a frame; with its tag where it could be several
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError, ShapeError, unknown
from spin_dp.spin_states.arrangements import arrange_key
from spin_dp.spin_states.key import element_of, is_key
from spin_dp.spin_states.orderings import find_ordering

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from spin_dp.spin_states.catalogue import Catalogue, SpinState

    Floats = npt.NDArray[np.float64]

HOW_TO_LABEL = (
    "by state (Mn=3+HS), with an ordering (FM, AFM), by atom (4=-3+HS), by the key of "
    "a frame, or by moments in μB (Mn=3.7, or one number for each atom)"
)


DISORDERED = ("random", "random-directions")
"""Orders of :func:`disordered`."""


@dataclass(frozen=True, eq=False)
class Labels:
    """What the sites of a structure are labelled with.

    Attributes
    ----------
    moments
        Moments that the labels stand for, zero where there is none, (n, 3), μB.
    states
        State of each site that is labelled by name, else None, (n,).
    is_labelled
        Whether a site has a label, by name or by number, (n,).
    """

    moments: Floats
    states: tuple[SpinState | None, ...]
    is_labelled: npt.NDArray[np.bool_]

    @property
    def is_number(self) -> npt.NDArray[np.bool_]:
        """Whether a site is labelled by a number, (n,)."""
        named = np.array([state is not None for state in self.states], dtype=np.bool_)
        return self.is_labelled & ~named

    @property
    def is_named(self) -> bool:
        """Whether some sites have names of states, and none has moments by number."""
        return not (self.is_number & self.moments.any(axis=1)).any() and any(
            state is not None for state in self.states
        )

    def tiled(self, copies: int) -> Labels:
        """Return the labels of a supercell of so many copies, one after the other."""
        return Labels(
            np.tile(self.moments, (copies, 1)),
            self.states * copies,
            np.tile(self.is_labelled, copies),
        )


@dataclass(frozen=True, eq=False)
class Sites:
    """The atoms that are to be labelled.

    Attributes
    ----------
    symbols
        Elements, (n,).
    cell, positions
        Cell vectors as rows, (3, 3), and positions, (n, 3), Å.
    """

    symbols: Sequence[str]
    cell: Floats
    positions: Floats


class _Assignment:
    """Labels that are put on sites one after the other, later ones over earlier."""

    def __init__(self, sites: Sites, catalogue: Catalogue) -> None:
        n = len(sites.symbols)
        self.sites, self.catalogue = sites, catalogue
        self.lengths = np.zeros(n)  # signed, μB
        self.states: list[SpinState | None] = [None] * n
        self.is_labelled = np.zeros(n, dtype=np.bool_)

    def put(self, atoms: Sequence[int], value: str) -> None:
        """Label atoms of one element with a state or a number."""
        element = self.sites.symbols[atoms[0]]
        state, moment = parse_state(value, element, self.catalogue)
        for atom in atoms:
            self.states[atom] = state
            self.lengths[atom] = moment
            self.is_labelled[atom] = True

    def labels(self) -> Labels:
        moments = np.zeros((len(self.lengths), 3))
        moments[:, 2] = self.lengths
        return Labels(moments, tuple(self.states), self.is_labelled)


def parse_state(
    value: str, element: str, catalogue: Catalogue
) -> tuple[SpinState | None, float]:
    """Return what one label says of a site.

    Parameters
    ----------
    value
        A state of the element (``3+HS`` or ``Mn3+HS``), ``-`` before it for down; or a
        number of μB.
    element
        The site's element.
    catalogue
        States that are known.

    Returns
    -------
    tuple
        The state, None for a number; the signed moment, μB.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    try:
        return None, float(value)
    except ValueError:
        pass
    sign, name = (-1.0, value[1:]) if value.startswith("-") else (1.0, value)
    if not catalogue.of(element):
        raise ConfigError(
            f"label {element}={value}: no spin states of {element} are known; leave it "
            "out (moments without a label are predicted), or give a number of μB."
        )
    state = catalogue.find(element, name)
    return state, sign * state.moment


def parse_labels(
    text: str, sites: Sites, catalogue: Catalogue, *, order: str | None = None
) -> Labels:
    """Return the labels that an expression gives to sites.

    Parameters
    ----------
    text
        See the head of this module.
    sites
        The atoms.
    catalogue
        States that are known, and their moments.
    order
        Name of a magnetic ordering, see
        :func:`spin_dp.spin_states.orderings.named_orderings`.

    Raises
    ------
    ConfigError
        If a word is not understood, names an element or atom that is not there, or
        labels sites twice.
    ShapeError
        If there is not one number for each atom.
    """
    assignment = _Assignment(sites, catalogue)
    if is_key(text):
        for atom, state, sign in arrange_key(
            text, sites.symbols, sites.cell, sites.positions
        ):
            assignment.put([atom], ("-" if sign < 0 else "") + state)
    elif "=" in text:
        for atoms, value in _words(text, sites.symbols):
            assignment.put(atoms, value)
    else:
        _put_numbers(text, assignment)
    labels = assignment.labels()
    if order is not None and (labels.moments < 0.0).any():
        raise ConfigError(
            f"ordering {order}: some labels of {text!r} are down already; give the "
            "ordering or the signs of sites, not both."
        )
    return ordered(labels, sites, catalogue, order)


def ordered(
    labels: Labels, sites: Sites, catalogue: Catalogue, order: str | None
) -> Labels:
    """Return labels with the signs of a named ordering, collinear along z.

    Parameters
    ----------
    labels, sites, catalogue
        Labels of sites, and states that are known.
    order
        Name of a magnetic ordering, see
        :func:`spin_dp.spin_states.orderings.named_orderings`; None: labels stay.

    Returns
    -------
    Labels
        Sites of elements without spin states of their own lose their labels: their
        moments belong to another ordering.

    Raises
    ------
    ConfigError
        If there is no such ordering, or no site with a moment but for FM.
    """
    if order is None:
        return labels
    has_states = np.array([catalogue.has_states(symbol) for symbol in sites.symbols])
    is_labelled = labels.is_labelled & has_states
    magnetic = np.flatnonzero(is_labelled & labels.moments.any(axis=1)).tolist()
    if not magnetic:
        if order == "FM":  # nothing points the other way
            return labels
        raise ConfigError(f"ordering {order}: no labelled site has a moment.")
    symbols = [sites.symbols[atom] for atom in magnetic]
    signs = find_ordering(order, symbols, sites.cell, sites.positions[magnetic])
    moments = np.zeros_like(labels.moments)
    lengths = np.linalg.norm(labels.moments[magnetic], axis=1)
    moments[magnetic, 2] = signs * lengths
    return Labels(moments, labels.states, is_labelled)


def disordered(
    labels: Labels, sites: Sites, catalogue: Catalogue, order: str, *, seed: int
) -> Labels:
    """Return labels whose directions are drawn: a paramagnet to start from.

    Parameters
    ----------
    labels, sites, catalogue
        As for :func:`ordered`.
    order
        ``random``: up or down, as many of one as of the other or one more; or
        ``random-directions``: evenly over the sphere.
    seed
        Of the random numbers.

    Raises
    ------
    ConfigError
        If no labelled site has a moment.
    """
    has_states = np.array([catalogue.has_states(symbol) for symbol in sites.symbols])
    is_labelled = labels.is_labelled & has_states
    magnetic = np.flatnonzero(is_labelled & labels.moments.any(axis=1))
    if not len(magnetic):
        raise ConfigError(f"ordering {order}: no labelled site has a moment.")
    random = np.random.default_rng(seed)
    directions = np.zeros((len(magnetic), 3))
    if order == DISORDERED[0]:
        half = np.where(np.arange(len(magnetic)) % 2, -1.0, 1.0)
        directions[:, 2] = random.permutation(half)
    else:
        directions = random.normal(size=directions.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = np.linalg.norm(labels.moments[magnetic], axis=1)
    moments = np.zeros_like(labels.moments)
    moments[magnetic] = lengths[:, None] * directions
    return Labels(moments, labels.states, is_labelled)


def labels_of_states(
    names: Sequence[str], sites: Sites, catalogue: Catalogue
) -> Labels:
    """Return the labels of sites whose states are given one by one.

    Parameters
    ----------
    names
        State of each atom, ``Mn3+HS``, ``-Mn3+HS`` for down; empty without a label.
    sites, catalogue
        As for :func:`parse_labels`.

    Raises
    ------
    ConfigError
        If a state is not known.
    ShapeError
        If there is not one for each atom.
    """
    if len(names) != len(sites.symbols):
        raise ShapeError(
            f"states: expected one for each of the {len(sites.symbols)} atoms, got "
            f"{len(names)}."
        )
    assignment = _Assignment(sites, catalogue)
    for atom, name in enumerate(names):
        if name:
            assignment.put([atom], name)
    return assignment.labels()


def labels_of_moments(
    moments: Floats, symbols: Sequence[str], catalogue: Catalogue
) -> Labels:
    """Return the labels of sites whose moments are given by number.

    Parameters
    ----------
    moments
        (n, 3), μB.
    symbols
        Elements, (n,).
    catalogue
        States that are known.
    """
    is_labelled = numbered_sites(moments[None], symbols, catalogue)[0]
    return Labels(np.array(moments), (None,) * len(symbols), is_labelled)


def numbered_sites(
    moments: Floats, symbols: Sequence[str], catalogue: Catalogue
) -> npt.NDArray[np.bool_]:
    """Return which sites of patterns are labelled by their moments, (k, n).

    An element that has no spin states of its own, such as oxygen, counts as unlabelled
    where none of its atoms has a moment: labels usually name those of the metals only.

    Parameters
    ----------
    moments
        Of each pattern, (k, n, 3), μB.
    symbols, catalogue
        As for :func:`labels_of_moments`.
    """
    elements = np.array(symbols)
    is_labelled = np.ones(moments.shape[:2], dtype=np.bool_)
    for element in set(symbols):
        if not catalogue.has_states(element):
            here = elements == element
            has_moment = (moments[:, here] != 0.0).any(axis=(1, 2), keepdims=True)
            is_labelled[:, here] = has_moment[..., 0]
    return is_labelled


def signed_name(name: str, up: float) -> str:
    """Return the name of a state as a site carries it: ``-Mn3+HS`` where it is down."""
    return f"-{name}" if up < 0.0 else name


def write_labels(states: Sequence[tuple[int, str, int]]) -> str:
    """Return the expression for states of atoms, which :func:`parse_labels` reads.

    Parameters
    ----------
    states
        Atom, name of its state, and sign.
    """
    words = [
        f"{atom}={'-' if sign < 0 else ''}{name[len(element_of(name)) :]}"
        for atom, name, sign in states
    ]
    return " ".join(words)


def _words(text: str, symbols: Sequence[str]) -> Iterator[tuple[list[int], str]]:
    """Return the atoms and the value of each word ``KEY=VALUE``."""
    seen: set[str] = set()
    for word in re.split(r"[,\s]+", text.strip()):
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise ConfigError(
                f"label {word!r} is not understood; label {HOW_TO_LABEL}."
            )
        if key in seen:
            raise ConfigError(f"labels: {key} is given twice in {text!r}.")
        seen.add(key)
        if key.isdecimal():
            if int(key) >= len(symbols):
                raise ConfigError(
                    f"label {word}: expected an atom from 0 to {len(symbols) - 1}, got "
                    f"{key}."
                )
            yield [int(key)], value
        else:
            atoms = [atom for atom, symbol in enumerate(symbols) if symbol == key]
            if not atoms:
                raise unknown("element", key, set(symbols))
            yield atoms, value


def _put_numbers(text: str, assignment: _Assignment) -> None:
    words = text.replace(",", " ").split()
    n_atoms = len(assignment.lengths)
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        raise ConfigError(
            f"labels {text!r} are not understood, and there is no such file; label "
            f"{HOW_TO_LABEL}."
        ) from None
    if len(numbers) != n_atoms:
        raise ShapeError(
            f"labels: expected {n_atoms} moments, one for each atom in the order of "
            f"the structure, got {len(numbers)}."
        )
    assignment.lengths[:] = numbers
    vectors = np.zeros((n_atoms, 3))
    vectors[:, 2] = numbers
    labels = labels_of_moments(vectors, assignment.sites.symbols, assignment.catalogue)
    assignment.is_labelled[:] = labels.is_labelled
