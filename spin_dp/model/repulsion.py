# SPDX-License-Identifier: LGPL-3.0-or-later
"""Short-range repulsion of nuclei, a term of the energy that is not trained.

    V(r) = w(r) Z_i Z_j e²/(4πε₀ r) φ(r/a),   a = 0.4685 Å / (Z_i^0.23 + Z_j^0.23)

φ is the universal screening function, w falls from 1 to 0 between two radii of each
pair of elements, as the switch of the descriptor does: V is C² everywhere. Each atom
has half of the energy of its pairs. A net knows nothing of contacts closer than those
it was trained on; here, this term is larger than what a bounded net can say.

References
----------
J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Solids
(Pergamon, New York, 1985).
"""

from __future__ import annotations

import math
from hashlib import sha256
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from ase.data import covalent_radii

from spin_dp.descriptors.edges import gather_neighbours
from spin_dp.descriptors.embedding import pair_of_types
from spin_dp.descriptors.radial import smooth_switch, smooth_switch_slope
from spin_dp.errors import ConfigError, unknown
from spin_dp.spin_states.elements import atomic_number, is_element

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

INNER, OUTER = 0.5, 0.9
"""Radii of the switch by default, in units of the sum of both covalent radii: closer
than the bonds of oxides (0.8 of it in the most distorted cells, 1.1 in peroxides)."""

BONDED, FURTHEST = 1.2, 1.4
"""Distance up to which two atoms are bonded, and the largest outer radius that data may
ask for, in the same units."""

COULOMB = 14.399645
"""e²/(4πε₀), eV Å."""
SCREENING_LENGTH, SCREENING_POWER = 0.46850, 0.23
SCREENING = (
    (0.18175, 0.50986, 0.28022, 0.02817),
    (3.19980, 0.94229, 0.40290, 0.20162),
)
"""Amplitudes c and rates d of φ(x) = Σ c exp(-d x)."""

_LAST_WITH_RADIUS = 96  # of ase.data.covalent_radii


class Repulsion(torch.nn.Module):
    """The pair term, for all pairs of types.

    Parameters
    ----------
    type_map
        Element of each type.
    inner, outer
        Radii between which the term is switched off, in units of the sum of the
        covalent radii of both elements.
    radii
        Instead of them, both radii in Å of single pairs, such as ``{"Ni-O": [0.9,
        1.7]}``.

    Raises
    ------
    ConfigError
        If a type is no element with a known radius, or radii cannot be used.
    """

    if TYPE_CHECKING:  # a buffer; TorchScript cannot read it as an annotation
        table: torch.Tensor

    def __init__(
        self,
        type_map: Sequence[str],
        inner: float = INNER,
        outer: float = OUTER,
        radii: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        self.scales = (inner, outer)
        self.n_types = len(type_map)
        # (types², 4): half of Z Z' e²/(4πε₀) in eV Å, 1/a in 1/Å, both radii in Å.
        table = _table(type_map, inner, outer, _radii_of_pairs(radii or {}, type_map))
        self.register_buffer("table", table)
        # TorchScript reads no constants of the module.
        self.amplitudes, self.decays = list(SCREENING[0]), list(SCREENING[1])

    def reach(self) -> torch.Tensor:
        """Return the largest radius from which on there is no repulsion, (), Å."""
        return self.table[:, 3].max()

    def forward(
        self, edges: torch.Tensor, type_i: torch.Tensor, type_ij: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each atom's energy, and its slopes.

        Parameters
        ----------
        edges
            Edge vectors, (..., nnei, 3), Å; beyond the radii where empty.
        type_i, type_ij
            Types of the atoms, (...), and of their neighbours, (..., nnei).

        Returns
        -------
        tuple
            Energies (..., 1), eV, and slopes in the edges (..., nnei, 3), eV/Å,
            float64.
        """
        edges = edges.to(torch.float64)
        kind = pair_of_types(type_i, type_ij, self.n_types)
        if not edges.is_cpu:
            # To find the few that are close would be to wait for the device.
            energy, by_distance = self._of_pairs(edges.square().sum(-1), kind)
            return energy.sum(-1, keepdim=True), by_distance.unsqueeze(-1) * edges
        square = edges.square().sum(-1).flatten()
        reach = self.reach()
        close = torch.nonzero(square < reach * reach).flatten()
        some, by_distance = self._of_pairs(square[close], kind.flatten()[close])
        zero = torch.zeros_like(square)
        energy = zero.index_put([close], some).view(kind.shape)
        slope = zero.index_put([close], by_distance).view(kind.shape)
        return energy.sum(-1, keepdim=True), slope.unsqueeze(-1) * edges

    def _of_pairs(
        self, square: torch.Tensor, kind: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return V/2 in eV and V'/2r in eV/Å² of squared distances (...), Å²."""
        found = torch.nn.functional.embedding(kind, self.table)
        factor, rate, inner, outer = found.unbind(-1)
        distance = square.sqrt()
        x = distance * rate
        screening, bend = torch.zeros_like(x), torch.zeros_like(x)
        for amplitude, decay in zip(self.amplitudes, self.decays):  # noqa: B905
            part = amplitude * torch.exp(-decay * x)
            screening = screening + part
            bend = bend - decay * part
        width = outer - inner
        place = (distance - inner) / width
        switch = smooth_switch(place, 0.0, 1.0)
        switch_slope = smooth_switch_slope(place, 0.0, 1.0) / width
        bare = factor / distance
        energy = bare * screening
        slope = bare * rate * bend - energy / distance
        by_distance = switch * slope + switch_slope * energy
        return switch * energy, by_distance / distance

    @torch.jit.unused
    def fingerprint(self) -> str:
        """Return a short name that other charges or radii do not have."""
        numbers = self.table.detach().cpu().numpy().tobytes()
        return f"repulsion-{sha256(numbers).hexdigest()[:12]}"

    @torch.jit.unused
    def for_types(
        self,
        type_map: Sequence[str],
        old: Sequence[str],
        fresh: Repulsion | None = None,
    ) -> Repulsion:
        """Return the term for other types; pairs of old types keep their radii.

        Parameters
        ----------
        type_map, old
            Elements of the new and of the present types.
        fresh
            The term of another model for the new types, whose radii pairs with a new
            element get; by ``inner`` and ``outer`` of this one if None.
        """
        made = Repulsion(type_map, *self.scales).to(self.table.device)
        for row, pair in enumerate(product(type_map, repeat=2)):
            if set(pair) <= set(old):
                i, j = (list(old).index(element) for element in pair)
                made.table[row] = self.table[i * len(old) + j]
            elif fresh is not None:
                made.table[row] = fresh.table[row]
        return made

    @torch.jit.unused
    def dump(self) -> dict[str, Any]:
        """Return settings and radii as plain numbers and arrays."""
        table = self.table.detach().cpu().numpy()
        return {"scales": self.scales, "@variables": {"table": table}}

    @classmethod
    def restore(cls, data: dict[str, Any], type_map: Sequence[str]) -> Repulsion:
        """Rebuild what :meth:`dump` wrote."""
        made = cls(type_map, *data["scales"])
        made.table.copy_(torch.as_tensor(data["@variables"]["table"]))
        return made


def radii_up_to_data(shortest: Mapping[str, float]) -> dict[str, list[float]]:
    """Return radii of pairs that are never bonded in the data, as O-O in oxides.

    Between the default radii and their shortest distance a net has nothing to go by,
    and may fall. There the term reaches up to the data, where it is zero, so that a
    training does not see it. Bonds, which nets extrapolate well, are left alone.

    Parameters
    ----------
    shortest
        Shortest distance in the data of each pair, ``{"O-O": 1.77}``, Å.

    Returns
    -------
    dict
        Argument ``radii`` of :class:`Repulsion`, Å; nothing of other pairs.
    """
    found = {}
    for pair, distance in shortest.items():
        bond = _bond(*pair.split("-"))
        if distance > BONDED * bond:
            outer = math.floor(100.0 * min(distance, FURTHEST * bond)) / 100.0
            found[pair] = [round(outer * INNER / OUTER, 2), outer]
    return found


def types_of_pairs(
    extended_atype: torch.Tensor, nlist: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return types of local atoms and of their neighbours, as :class:`Repulsion` reads.

    Parameters
    ----------
    extended_atype
        Types of local and ghost atoms, (nf, nall), negative for no atom.
    nlist
        Neighbour indices, (nf, nloc, nnei), -1 where there is none.

    Returns
    -------
    tuple
        Types (nf, nloc) and (nf, nloc, nnei); any where there is no atom.
    """
    types = extended_atype.clamp(min=0)
    neighbours = gather_neighbours(types.unsqueeze(-1), nlist)
    return types[:, : nlist.shape[1]], neighbours.squeeze(-1)


def _table(
    type_map: Sequence[str],
    inner: float,
    outer: float,
    radii: Mapping[tuple[str, str], tuple[float, float]],
) -> torch.Tensor:
    _require_radii("inner and outer", inner, outer)
    for element in type_map:
        if not is_element(element) or atomic_number(element) > _LAST_WITH_RADIUS:
            raise ConfigError(
                f"repulsion: type {element!r} of the type_map is no element with a "
                "known nuclear charge and covalent radius; name an element, or leave "
                "section repulsion out."
            )
    rows = []
    for first, second in product(type_map, repeat=2):
        z, other = atomic_number(first), atomic_number(second)
        rate = (z**SCREENING_POWER + other**SCREENING_POWER) / SCREENING_LENGTH
        bond = _bond(first, second)
        own = radii.get((first, second), (inner * bond, outer * bond))
        rows.append([0.5 * COULOMB * z * other, rate, *own])
    return torch.tensor(rows, dtype=torch.float64)


def _bond(first: str, second: str) -> float:
    """Return the sum of the covalent radii of two elements, Å."""
    numbers = atomic_number(first), atomic_number(second)
    return float(sum(covalent_radii[number] for number in numbers))


def _radii_of_pairs(
    radii: Mapping[str, Sequence[float]], type_map: Sequence[str]
) -> dict[tuple[str, str], tuple[float, float]]:
    """Return radii of both orders of the pairs that are given by name."""
    found = {}
    for name, values in radii.items():
        pair = name.split("-")
        if len(pair) != 2 or len(values) != 2:
            raise ConfigError(
                'repulsion.radii: expected two radii of a pair in Å, such as "Ni-O": '
                f"[0.9, 1.7]; got {name!r}: {list(values)}."
            )
        for element in pair:
            if element not in type_map:
                raise unknown("element in repulsion.radii", element, type_map)
        inner, outer = (float(value) for value in values)
        _require_radii(f"radii of {name}", inner, outer)
        found[pair[0], pair[1]] = found[pair[1], pair[0]] = inner, outer
    return found


def _require_radii(what: str, inner: float, outer: float) -> None:
    if not 0.0 <= inner < outer:
        raise ConfigError(
            f"repulsion: {what} must be two numbers with 0 <= inner < outer; got "
            f"{inner:g} and {outer:g}."
        )
