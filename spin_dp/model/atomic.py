# SPDX-License-Identifier: LGPL-3.0-or-later
"""Atomic energies from edges and moments: descriptor, fitting net, energy bias."""

from __future__ import annotations

from typing import NoReturn

import torch
from deepmd.pt.model.atomic_model import DPEnergyAtomicModel


class SpinAtomicModel(DPEnergyAtomicModel):  # type: ignore[misc]
    """deepmd-kit's energy model of an atom, with moments as a further input.

    Bias, statistics and exclusions are the host's; only the way from the neighbour
    list to the descriptor differs.
    """

    def forward(
        self,
        edges: torch.Tensor,
        nlist: torch.Tensor,
        extended_atype: torch.Tensor,
        extended_spin: torch.Tensor,
        fparam: torch.Tensor | None = None,
        aparam: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return atomic energies and the mask of real atoms.

        Parameters
        ----------
        edges
            Edge vectors, (nf, nloc, nnei, 3), Å.
        nlist
            Neighbour indices, (nf, nloc, nnei), -1 where there is none.
        extended_atype
            Types of local and ghost atoms, (nf, nall), negative for no atom.
        extended_spin
            Moments of local and ghost atoms, (nf, nall, 3), μB.
        fparam, aparam
            Frame (nf, n) and atomic (nf, nloc, n) parameters of the fitting net.

        Returns
        -------
        dict
            ``energy`` (nf, nloc, 1) in eV and ``mask`` (nf, nloc), 1 for real atoms.
        """
        nloc = nlist.shape[1]
        features, _ = self.descriptor(edges, nlist, extended_atype, extended_spin)
        is_atom = extended_atype[:, :nloc] >= 0
        atype = extended_atype[:, :nloc].clamp(min=0)
        fitted = self.fitting_net(features, atype, fparam=fparam, aparam=aparam)
        result = self.apply_out_stat(fitted, atype)
        mask = is_atom.to(torch.int32)
        if self.atom_excl is not None:
            mask = mask * self.atom_excl(atype)
        return {"energy": result["energy"] * mask.unsqueeze(-1), "mask": mask}

    def describe(
        self,
        edges: torch.Tensor,
        nlist: torch.Tensor,
        extended_atype: torch.Tensor,
        extended_spin: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return what moments are predicted from; arguments as :meth:`forward`.

        Returns
        -------
        tuple
            Features (nf, nloc, n), spin vectors (nf, nloc, n', 3) and the typical
            moment of each atom's type, (nf, nloc), μB, zero where it has none.
        """
        nloc = nlist.shape[1]
        features, vectors = self.descriptor(edges, nlist, extended_atype, extended_spin)
        atype = extended_atype[:, :nloc]
        unit = self.descriptor.typical_moments()[atype.clamp(min=0)]
        return features, vectors, unit * (atype >= 0).to(unit.dtype)

    def exclude_pairs(
        self, nlist: torch.Tensor, extended_atype: torch.Tensor
    ) -> torch.Tensor:
        """Return the neighbour list without the excluded pairs of types."""
        if self.pair_excl is not None:
            keep = self.pair_excl(nlist, extended_atype)
            nlist = torch.where(keep == 1, nlist, torch.full_like(nlist, -1))
        return nlist

    def has_chg_spin_ebd(self) -> bool:
        """Return False: no embedding of the total charge or multiplicity."""
        return False

    def get_dim_chg_spin(self) -> int:
        """Return 0: no embedding of the total charge or multiplicity."""
        return 0

    def has_default_chg_spin(self) -> bool:
        """Return False: no embedding of the total charge or multiplicity."""
        return False

    def get_default_chg_spin(self) -> torch.Tensor | None:
        """Return None: no embedding of the total charge or multiplicity."""
        return None

    def has_embedding(self) -> bool:
        """Return False: deepmd-kit's embedding interface passes no moments."""
        return False

    def forward_embedding(
        self,
        extended_coord: torch.Tensor,
        extended_atype: torch.Tensor,
        nlist: torch.Tensor,
        mapping: torch.Tensor | None = None,
        fparam: torch.Tensor | None = None,
        aparam: torch.Tensor | None = None,
        charge_spin: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Refuse: deepmd-kit's embedding interface passes no moments."""
        raise NotImplementedError("a spin_dp model has no embedding without moments")

    def forward_common_atomic(self, *_args: object, **_kwargs: object) -> NoReturn:
        """Refuse: the host's interface passes no moments."""
        raise NotImplementedError("a spin_dp model needs moments: call forward")
