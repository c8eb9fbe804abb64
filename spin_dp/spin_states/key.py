# SPDX-License-Identifier: LGPL-3.0-or-later
"""The spin-state key of a frame, written from the labels and signs of its sites.

``Mn3+HS[1up,1dn]`` is an antiferromagnetic pair of high-spin Mn3+ sites, ``Co3+LS[9]``
nine low-spin Co3+ without moments, ``[2off]`` two sites more than 60 degrees off the
axis of the frame. A site without a nominal state is written by its moment in steps of
0.5 μB, ``Fe~2.5[2up]``. Where the sites are not all alike, the magnetic ordering
follows as a tag, ``#3fa2c``.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import ConfigError
from spin_dp.spin_states.elements import type_order
from spin_dp.spin_states.nominal import find_nominal_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

NO_METAL = "no-metal"
_LABEL = re.compile(r"([A-Z][a-z]?)(?:(\d+)\+(\w*)|~(\d+(?:\.5)?))")
_SITE = r"[A-Z][a-z]?(?:\d+\+\w*|~[\d.]+)"
_WORD = re.compile(rf"({_SITE})\[([^\]]*)\]")
_KEY = re.compile(
    rf"((?:{_SITE}\[\d+(?:up|dn|off)?(?:,\d+(?:up|dn|off)?)*\])+)(?:#(\w+))?"
)
_WORDS = ((1, "up"), (-1, "dn"), (0, "off"))
_SPINS = {"HS": 0, "": 1, "IS": 2, "LS": 3, "NM": 4}


def moment_label(element: str, moment: float) -> str:
    """Return the label of a site that has no nominal state, e.g. ``Fe~2.5``."""
    return f"{element}~{round(2.0 * moment) / 2.0:g}"


def element_of(label: str) -> str:
    """Return the element of a site label."""
    return _parts(label)[0]


def _parts(label: str) -> tuple[str, str | None, str | None, str | None]:
    match = _LABEL.fullmatch(label)
    if match is None:
        raise ValueError(f"not a site label: {label!r}")
    return match[1], match[2], match[3], match[4]


def label_rank(label: str) -> tuple[int, int, int]:
    """Return the place of a label among those of its element."""
    _, oxidation, spin, moment = _parts(label)
    if oxidation is None:
        return (1, -round(2.0 * float(moment or 0.0)), 0)
    return (0, int(oxidation), _SPINS[spin or ""])


def key_text(
    labels: Sequence[str], signs: Sequence[int], signless: frozenset[str], tag: str
) -> str:
    """Return the key of a frame.

    Parameters
    ----------
    labels, signs
        Label and sign (+1, -1, 0) of each metal site, (ns,).
    signless
        Labels of sites without a moment.
    tag
        Tag of the ordering; empty if there is only one.

    Returns
    -------
    str
        ``no-metal`` without sites.
    """
    if not labels:
        return NO_METAL
    counts = Counter(zip(labels, signs, strict=True))
    words = []
    for label in sorted_labels(labels):
        if label in signless:
            inside = str(sum(n for (name, _), n in counts.items() if name == label))
        else:
            inside = ",".join(
                f"{counts[label, sign]}{word}"
                for sign, word in _WORDS
                if counts[label, sign]
            )
        words.append(f"{label}[{inside}]")
    return "".join(words) + (f"#{tag}" if tag else "")


def unpaired_electrons(label: str) -> float:
    """Return the unpaired electrons of a site label: nominal, or as the moment says."""
    nominal = find_nominal_state(label)
    return float(_parts(label)[3] or 0.0) if nominal is None else nominal.unpaired


def frame_key(
    labels: Sequence[str], signs: npt.NDArray[np.int64], tag: str
) -> tuple[str, bool]:
    """Return the key of a frame, the same under reversal of all moments.

    Parameters
    ----------
    labels, signs, tag
        As for :func:`key_text`.

    Returns
    -------
    tuple
        The key with more unpaired electrons up than down; whether the signs had to be
        reversed for it.
    """
    weights = np.array([unpaired_electrons(label) for label in labels])
    signless = frozenset(
        label for label, weight in zip(labels, weights, strict=True) if not weight
    )
    signs = np.where(weights > 0.0, signs, 0)
    choices = [
        (-float(weights @ s), key_text(labels, s.tolist(), signless, tag), is_reversed)
        for is_reversed, s in enumerate((signs, -signs))
    ]
    _, key, is_reversed = min(choices)
    return key, bool(is_reversed)


def is_key(text: str) -> bool:
    """Return whether a text is a key of a frame with metals."""
    return _KEY.fullmatch(text) is not None


def parse_key(key: str) -> tuple[list[tuple[str, int]], str]:
    """Return label and sign of each site of a key, and its tag.

    Parameters
    ----------
    key
        As :func:`key_text` writes it.

    Returns
    -------
    tuple
        Label and sign (+1, -1; 0 without a moment) of each site, in the order of the
        key; the tag, empty if there is none.

    Raises
    ------
    ConfigError
        If it is no key, or has sites off the axis of the frame.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise ConfigError(
            f"expected a spin-state key such as Mn3+HS[1up,1dn], got {key!r}."
        )
    sites: list[tuple[str, int]] = []
    for label, inside in _WORD.findall(match[1]):
        for number, word in re.findall(r"(\d+)(up|dn|off)?", inside):
            if word == "off":
                raise ConfigError(
                    f"{key}: has sites off the axis of the others; give moments as "
                    "vectors instead."
                )
            sites += [(label, {"up": 1, "dn": -1, "": 0}[word])] * int(number)
    return sites, match[2] or ""


def sorted_labels(labels: Sequence[str]) -> list[str]:
    """Return the different labels by element, oxidation state and spin."""
    order = type_order(element_of(label) for label in labels)
    return sorted(
        set(labels),
        key=lambda label: (order.index(element_of(label)), label_rank(label)),
    )


def slug(key: str) -> str:
    """Return the key as a folder name: ``Mn3+HS-1up,1dn_Ni2+-2up``."""
    text = key.replace("#", "_").replace("][", "_").replace("[", "-")
    return re.sub(r"\](?=.)", "_", text).replace("]", "").replace("__", "_")
