# SPDX-License-Identifier: LGPL-3.0-or-later
"""Many spins with their couplings, and what a mean field says of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from spin_dp.errors import ConfigError
from spin_dp.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from spin_dp.magnetism.bonds import Bonds

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_EV_PER_MEV = 1e-3
_FINE = 12  # points along each reciprocal vector where the largest J(q) is looked for


@dataclass(frozen=True, eq=False)
class SpinLattice:
    """Classical spins with bilinear couplings, H = -1/2 sum_ij J_ij e_i.e_j.

    Attributes
    ----------
    couplings
        Symmetric, (N, N), eV; no spin couples to itself.
    """

    couplings: csr_matrix

    @classmethod
    def of(cls, bonds: Bonds, repeats: Sequence[int] = (1, 1, 1)) -> SpinLattice:
        """Return the lattice of fitted bonds, repeated along the cell vectors.

        Spin ``c * ns + i`` is site i in cell c; cells count with the last vector
        fastest.

        Raises
        ------
        ConfigError
            If shells have biquadratic constants, which are not sampled here.
        """
        if any(shell.biquadratic for shell in bonds.shells):
            raise ConfigError(
                "a spin lattice has bilinear couplings only; fit without biquadratic "
                "constants, or sample the full model (run_md with rotate)."
            )
        ns = len(bonds.kinds)
        shape = np.array(repeats)
        cells = np.array(list(product(*map(range, repeats))), dtype=np.int64)
        exchange = np.array([shell.exchange for shell in bonds.shells]) * _EV_PER_MEV
        rows, columns, values = [], [], []
        for cell in cells:
            others = np.mod(cell + bonds.shifts, shape)
            here = np.ravel_multi_index(tuple(cell), repeats) * ns
            there = np.ravel_multi_index(tuple(others.T), repeats) * ns
            rows.append(here + bonds.first)
            columns.append(there + bonds.second)
            values.append(exchange[bonds.shell])
        row, column = np.concatenate(rows), np.concatenate(columns)
        value = np.concatenate(values)
        number = len(cells) * ns
        # An image of a spin itself adds a constant.
        other = row != column
        one_way = csr_matrix(
            (value[other], (row[other], column[other])), shape=(number, number)
        )
        return cls(csr_matrix(one_way + one_way.T))

    def __len__(self) -> int:
        return int(self.couplings.shape[0])

    def energies(self, spins: Floats) -> Floats:
        """Return energies of configurations, (N, k, d) unit vectors: (k,), eV."""
        n, k, d = spins.shape
        fields = (self.couplings @ spins.reshape(n, k * d)).reshape(n, k, d)
        found: Floats = -0.5 * np.einsum("nkd,nkd->k", fields, spins)
        return found

    @cached_property
    def colours(self) -> list[Ints]:
        """Groups of spins that do not couple to each other: updated at once."""
        matrix = self.couplings
        colour = np.full(len(self), -1, dtype=np.int64)
        for spin in range(len(self)):
            near = matrix.indices[matrix.indptr[spin] : matrix.indptr[spin + 1]]
            used = set(colour[near].tolist())
            colour[spin] = next(c for c in range(len(used) + 1) if c not in used)
        return [np.flatnonzero(colour == c) for c in range(int(colour.max()) + 1)]


@dataclass(frozen=True, eq=False)
class MeanField:
    """What the largest eigenvalue of the couplings says.

    Attributes
    ----------
    temperature
        Of ordering, K: k T = λ/3 of classical vectors (J. S. Smart, Effective Field
        Theories of Magnetism, 1966); above the true one, by a third in three
        dimensions.
    wave_vector
        Of the order, in reciprocal vectors of the cell.
    amplitudes
        Of the sites, (ns,), complex, largest 1.
    """

    temperature: float
    wave_vector: tuple[float, float, float]
    amplitudes: NDArray[np.complex128]


def mean_field(bonds: Bonds) -> MeanField:
    """Return ordering temperature and wave vector in a mean field.

    The wave vector is looked for on a mesh that has all simple fractions
    (J. M. Luttinger and L. Tisza, Phys. Rev. 70, 954 (1946)).
    """
    exchange = np.array([shell.exchange for shell in bonds.shells]) * _EV_PER_MEV
    ns = len(bonds.kinds)
    best = (-np.inf, (0.0, 0.0, 0.0), np.ones(ns, dtype=np.complex128))
    for point in sorted(product(range(_FINE), repeat=3), key=sum):
        q = np.array(point) / _FINE
        matrix = np.zeros((ns, ns), dtype=np.complex128)
        phases = exchange[bonds.shell] * np.exp(2j * np.pi * bonds.shifts @ q)
        np.add.at(matrix, (bonds.first, bonds.second), phases)
        matrix += matrix.conj().T
        values, vectors = np.linalg.eigh(matrix)
        if values[-1] > best[0] + 1e-9:
            vector = vectors[:, -1] / vectors[np.abs(vectors[:, -1]).argmax(), -1]
            best = (float(values[-1]), (float(q[0]), float(q[1]), float(q[2])), vector)
    return MeanField(best[0] / 3.0 / BOLTZMANN_EV_PER_K, best[1], best[2])
