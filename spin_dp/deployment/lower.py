# SPDX-License-Identifier: LGPL-3.0-or-later
"""The compressed model as one function of tensors, for the compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from spin_dp.deployment.kernel import DescriptorKernel
from spin_dp.descriptors import edge_vectors
from spin_dp.descriptors.edges import first_columns, inside_cutoff

if TYPE_CHECKING:
    from spin_dp.model.energy import SpinEnergyModel


class _Slopes(NamedTuple):
    """Energies of local atoms, slopes of their sum; n local, m atoms with ghosts."""

    energy: torch.Tensor  # (n, 1), eV
    own_slope: torch.Tensor  # (n, 3): in the atom's scaled moment, eV
    by_position: torch.Tensor  # (m, 3), eV/Å
    by_moment: torch.Tensor  # (m, 3): in scaled moments, without own_slope, eV
    virial: torch.Tensor  # (m, 9): Σ slope ⊗ edge, eV


class _Described(NamedTuple):
    """What the descriptor says of n local atoms, and the pairs that it saw."""

    features: torch.Tensor  # (n, d)
    vectors: torch.Tensor  # (n, M', 3)
    pairs: tuple[torch.Tensor, ...] | None  # edges, types of both ends; not fused


class _Lower(torch.nn.Module):
    """A function of a model where the caller brings the neighbours."""

    def __init__(self, model: SpinEnergyModel, *, fused: bool) -> None:
        super().__init__()
        self.model = model
        self.cutoff = float(model.get_rcut())
        atoms = model.atomic_model
        self.kernel = (
            DescriptorKernel(atoms.descriptor.core, atoms.repulsion_table())
            if fused
            else None
        )

    def _describe(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        spin: torch.Tensor,
        nlist: torch.Tensor,
    ) -> _Described:
        """Return what the descriptor says; arguments as of :class:`LowerModel`."""
        atoms = self.model.atomic_model
        core = atoms.descriptor.core
        nlist = atoms.without_excluded_pairs(nlist, atype)
        types = atype.clamp(min=0).view(-1)
        scaled = atoms.descriptor.scaled_moments(spin.view(-1, 3), types)
        centres = _centres(nlist, coord.shape[1])
        own, moments = types[centres], scaled[centres]
        if self.kernel is None:
            edges, index = self._pairs(coord, nlist)
            pairs = edges, own, types[index]
            found = core.sum_neighbours(*pairs, moments, scaled[index])
            features, vectors = core.contract(found.sums, own, moments)
            return _Described(features, vectors, pairs)
        described, invariants = self.kernel.describe(coord, atype, scaled, nlist)
        features = core.net.with_site([invariants], own, moments)
        vectors = self.kernel.spin_vectors(described)
        return _Described(features, vectors, None)

    def _pairs(
        self, coord: torch.Tensor, nlist: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return edges (nf·nloc, n, 3) in the cutoff and their ends (nf·nloc, n)."""
        nf, nall = coord.shape[:2]
        first = torch.arange(nf, device=coord.device).view(nf, 1, 1) * nall
        nlist = self._inside(coord, nlist, first)
        edges = edge_vectors(coord, nlist, self.cutoff).flatten(0, 1)
        return edges, (nlist.clamp(min=0) + first).flatten(0, 1)

    def _inside(
        self, coord: torch.Tensor, nlist: torch.Tensor, first: torch.Tensor
    ) -> torch.Tensor:
        """Return the neighbours inside the cutoff, in as few columns as possible."""
        inside = (nlist >= 0) & inside_cutoff(
            coord, nlist.clamp(min=0) + first, self.cutoff
        )
        count = inside.cumsum(-1)
        n_columns: Any = count[:, :, -1].max().clamp(min=2).item()
        # The compiler knows nothing of this number but what is said here.
        torch.ops.aten.sym_constrain_range_for_size.default(
            n_columns, min=2, max=1 << 20
        )
        return first_columns(nlist, inside, count, n_columns)


def _centres(nlist: torch.Tensor, nall: int) -> torch.Tensor:
    """Return the numbers of the local atoms among the atoms of all frames."""
    nf, nloc = nlist.shape[:2]
    first = torch.arange(nf, device=nlist.device).view(nf, 1) * nall
    return (torch.arange(nloc, device=nlist.device) + first).view(-1)


class LowerMoments(_Lower):
    """Converged moments from a guess, see :meth:`SpinEnergyModel.moments_lower`.

    Parameters
    ----------
    model
        A compressed model without frame and atomic parameters, with a moment net.
    fused
        Whether the descriptor is one C++ function: for processors, and only to be
        compiled. Otherwise it is made of operations of PyTorch.
    """

    KEYS: Final = ("moments",)
    """Names of the results."""

    def forward(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        spin: torch.Tensor,
        nlist: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return ``moments`` of local atoms, (nf, nloc, 3), μB; spin is the guess."""
        nf, nloc = nlist.shape[:2]
        found = self._describe(coord, atype, spin, nlist)
        moments = self.model.moments_from(
            found.features.view(nf, nloc, -1),
            found.vectors.view(nf, nloc, -1, 3),
            spin[:, :nloc],
            atype[:, :nloc],
        )
        return {"moments": moments}


class LowerEnergies(_Lower):
    """Energies without derivatives, of many spin states of each geometry.

    Parameters
    ----------
    model, fused
        As for :class:`LowerMoments`; the model need not have a moment net.
    """

    KEYS: Final = ("energy",)
    """Names of the results."""

    def forward(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        spin: torch.Tensor,
        nlist: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return energies.

        Parameters
        ----------
        coord, atype, nlist
            As for :class:`LowerModel`.
        spin
            Moments of ns states, (nf, ns, nall, 3), μB.

        Returns
        -------
        dict
            ``energy`` of local atoms, (nf, ns, nloc), eV.
        """
        nf, ns = spin.shape[:2]
        nloc = nlist.shape[1]
        compute = self._by_pairs if self.kernel is None else self._by_kernel
        features, repelled = compute(coord, atype, spin, nlist)
        own = _of_states(atype[:, :nloc], ns).reshape(-1, 1)
        fitted = self.model.atomic_model.fit_features(
            features.unsqueeze(1), own, None, None
        )
        energy = fitted["energy"].squeeze(1).double()
        if repelled is not None:
            energy = energy + repelled * fitted["mask"]
        return {"energy": energy.view(nf, ns, nloc)}

    def _by_kernel(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        spin: torch.Tensor,
        nlist: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return features and repulsion of all states, rows of local atoms."""
        assert self.kernel is not None
        atoms = self.model.atomic_model
        nf, ns, nall = spin.shape[:3]
        nloc = nlist.shape[1]
        nlist = atoms.without_excluded_pairs(nlist, atype)
        types = _of_states(atype.clamp(min=0), ns)
        scaled = atoms.descriptor.scaled_moments(spin.reshape(-1, 3), types.view(-1))
        scaled = scaled.view(nf, ns, nall, 3)
        invariants = self.kernel.describe_states(coord, atype, scaled, nlist)
        own, moments = types[:, :nloc].reshape(-1), scaled[:, :, :nloc].reshape(-1, 3)
        features = atoms.descriptor.core.net.with_site([invariants], own, moments)
        if atoms.repulsion is None:
            return features, None
        alone = self.kernel.repulsion(coord, atype, scaled, nlist)
        return features, _of_states(alone.view(nf, nloc, 1), ns).reshape(-1, 1)

    def _by_pairs(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        spin: torch.Tensor,
        nlist: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Take each state for a frame of its own."""
        coord, atype, nlist = (
            _of_states(x, spin.shape[1]) for x in (coord, atype, nlist)
        )
        found = self._describe(coord, atype, spin.flatten(0, 1), nlist)
        repulsion = self.model.atomic_model.repulsion
        if repulsion is None:
            return found.features, None
        assert found.pairs is not None
        return found.features, repulsion(*found.pairs)[0]


def _of_states(x: torch.Tensor, ns: int) -> torch.Tensor:
    """Repeat what is known of each frame (nf, ...) for its states, (nf·ns, ...)."""
    return x.unsqueeze(1).expand(-1, ns, *x.shape[1:]).flatten(0, 1)


class LowerModel(_Lower):
    """Energies and derivatives where the caller brings the neighbours.

    What :meth:`SpinEnergyModel.forward_lower` computes, without a branch that depends
    on numbers: such a function can be exported. Names and shapes of arguments and
    results are those that deepmd-kit has for exported spin models.

    Parameters
    ----------
    model, fused
        As for :class:`LowerMoments`; the model need not have a moment net.
    """

    KEYS: Final = (
        "energy",
        "energy_redu",
        "energy_derv_r",
        "energy_derv_r_mag",
        "energy_derv_c",
        "energy_derv_c_redu",
    )
    """Names of the results."""

    def forward(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        spin: torch.Tensor,
        nlist: torch.Tensor,
        mapping: torch.Tensor,  # noqa: ARG002
        fparam: None = None,  # noqa: ARG002
        aparam: None = None,  # noqa: ARG002
        charge_spin: None = None,  # noqa: ARG002
    ) -> dict[str, torch.Tensor]:
        """Return energies and derivatives.

        Parameters
        ----------
        coord, atype, spin
            Positions (nf, nall, 3) in Å, types (nf, nall) and moments (nf, nall, 3) in
            μB of local and ghost atoms.
        nlist
            Neighbours, (nf, nloc, nnei), -1 where there is none.
        mapping, fparam, aparam, charge_spin
            Not used.

        Returns
        -------
        dict
            ``energy`` (nf, nloc, 1), ``energy_redu`` (nf, 1), ``energy_derv_r`` and
            ``energy_derv_r_mag`` (nf, nall, 1, 3), ``energy_derv_c`` (nf, nall, 1, 9),
            ``energy_derv_c_redu`` (nf, 1, 9): energies, forces, magnetic forces,
            virials; eV, eV/Å, eV/μB.
        """
        atoms = self.model.atomic_model
        nf, nloc = nlist.shape[0], nlist.shape[1]
        nall = coord.shape[1]
        nlist = atoms.without_excluded_pairs(nlist, atype)
        leaf = spin.detach().clone().view(nf * nall, 3).requires_grad_(True)
        types = atype.clamp(min=0).view(-1)
        scaled = atoms.descriptor.scaled_moments(leaf, types)
        centres = _centres(nlist, nall)
        compute = self._by_pairs if self.kernel is None else self._by_kernel
        found = compute(coord, atype, scaled.detach(), nlist, centres)
        is_atom = (atype[:, :nloc] >= 0).reshape(nf * nloc, 1).to(torch.float64)
        by_moment = found.by_moment.index_add(0, centres, found.own_slope * is_atom)
        (by_spin,) = torch.autograd.grad((scaled * by_moment).sum(), leaf)
        energy = (found.energy * is_atom).view(nf, nloc, 1)
        virial = -found.virial.reshape(nf, nall, 9)
        results = (
            energy,
            energy.sum(1),
            -found.by_position.reshape(nf, nall, 1, 3),
            -by_spin.view(nf, nall, 1, 3),
            virial.unsqueeze(2),
            virial.sum(1, keepdim=True),
        )
        return dict(zip(self.KEYS, results, strict=True))

    def _by_kernel(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        moments: torch.Tensor,
        nlist: torch.Tensor,
        centres: torch.Tensor,
    ) -> _Slopes:
        """Leave all that is done for each neighbour to C++ functions."""
        assert self.kernel is not None
        atoms = self.model.atomic_model
        described, invariants = self.kernel.describe(coord, atype, moments, nlist)
        invariants = invariants.detach().requires_grad_(True)
        own = moments[centres].detach().requires_grad_(True)
        types = atype.reshape(-1)[centres]
        net = atoms.descriptor.core.net
        features = net.with_site([invariants], types.clamp(min=0), own)
        fitted = atoms.fit_features(
            features.unsqueeze(1), types.unsqueeze(1), None, None
        )
        by_feature, own_slope = torch.autograd.grad(
            fitted["energy"].sum(), [invariants, own]
        )
        slopes = self.kernel.slopes(coord, atype, moments, nlist, described, by_feature)
        return _Slopes(
            fitted["energy"].detach().squeeze(1).double() + slopes[centres, 15:],
            own_slope.double(),
            slopes[:, :3],
            slopes[:, 3:6],
            slopes[:, 6:15],
        )

    def _by_pairs(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        moments: torch.Tensor,
        nlist: torch.Tensor,
        centres: torch.Tensor,
    ) -> _Slopes:
        """Use operations of PyTorch on all pairs."""
        atoms = self.model.atomic_model
        nf, nall = atype.shape
        edges, index = self._pairs(coord, nlist)
        types = atype.clamp(min=0).view(-1)
        part = atoms.slopes_of_atoms(
            edges,
            types[centres],
            types[index],
            moments[centres],
            moments[index],
            None,
            None,
        )
        slope, neighbour = part["edge_slope"], index.view(-1)
        zero = torch.zeros([nf * nall, 3], dtype=slope.dtype, device=slope.device)
        by_position = zero.index_add(0, neighbour, slope.view(-1, 3))
        by_position = by_position.index_add(0, centres, -slope.sum(1))
        by_moment = zero.index_add(0, neighbour, part["other_slope"].reshape(-1, 3))
        pairs = (slope.unsqueeze(-1) * edges.unsqueeze(-2)).view(-1, 9)
        none = torch.zeros([nf * nall, 9], dtype=pairs.dtype, device=pairs.device)
        return _Slopes(
            part["energy"],
            part["own_slope"],
            by_position,
            by_moment,
            none.index_add(0, neighbour, pairs),
        )
