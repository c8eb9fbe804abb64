# SPDX-License-Identifier: LGPL-3.0-or-later
"""Atomic energies from edges and moments: descriptor, fitting net, energy bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch
from deepmd.pt.model.atomic_model import DPEnergyAtomicModel

from spin_dp.descriptors import away_where_empty
from spin_dp.model.derivatives import (
    forces_from_edges,
    virial_from_edges,
    virials_from_edges,
)
from spin_dp.model.repulsion import Repulsion, types_of_pairs
from spin_dp.model.statistics import without_repulsion

if TYPE_CHECKING:
    from collections.abc import Callable

    from deepmd.utils.path import DPPath


class SpinAtomicModel(DPEnergyAtomicModel):  # type: ignore[misc]
    """deepmd-kit's energy model of an atom, with moments as a further input.

    Bias, statistics and exclusions are the host's; only the way from the neighbour
    list to the descriptor differs.

    Parameters
    ----------
    *args, **kwargs
        Passed on to the host's model.
    repulsion
        What is added to the energy of the nets at short distances; nothing if None.
    """

    def __init__(
        self, *args: Any, repulsion: Repulsion | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.repulsion = repulsion

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
        described = self.descriptor(edges, nlist, extended_atype, [extended_spin])
        local = extended_atype[:, : nlist.shape[1]]
        result = self.fit_features(described[0][0], local, fparam, aparam)
        repulsion = self.repulsion
        if repulsion is not None:
            type_i, type_ij = types_of_pairs(extended_atype, nlist)
            added, _ = repulsion(edges, type_i, type_ij)
            result["energy"] = result["energy"] + added * result["mask"].unsqueeze(-1)
        return result

    def fit_features(
        self,
        features: torch.Tensor,
        atype: torch.Tensor,
        fparam: torch.Tensor | None,
        aparam: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """Return energies and mask from features.

        Parameters
        ----------
        features
            D, (nf, nloc, n), dimensionless.
        atype
            Types of the local atoms, (nf, nloc), negative for no atom.
        fparam, aparam
            Parameters of the fitting net.

        Returns
        -------
        dict
            ``energy`` (nf, nloc, 1), eV, and ``mask`` (nf, nloc).
        """
        is_atom = atype >= 0
        atype = atype.clamp(min=0)
        fitted = self.fitting_net(features, atype, fparam=fparam, aparam=aparam)
        result = self.apply_out_stat(fitted, atype)
        mask = is_atom.to(torch.int32)
        if self.atom_excl is not None:
            mask = mask * self.atom_excl(atype)
        return {"energy": result["energy"] * mask.unsqueeze(-1), "mask": mask}

    def derivatives(
        self,
        edges: torch.Tensor,
        nlist: torch.Tensor,
        extended_atype: torch.Tensor,
        extended_spin: torch.Tensor,
        fparam: torch.Tensor | None,
        aparam: torch.Tensor | None,
        do_atomic_virial: bool,
        create_graph: bool,
        guess: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return atomic energies, and the derivatives of their sum.

        Parameters
        ----------
        edges, nlist, extended_atype, extended_spin, fparam, aparam
            As for :meth:`forward`.
        do_atomic_virial
            Whether to return atomic virials.
        create_graph
            Whether derivatives are differentiated again, as training does.
        guess
            Other moments, (nf, nall, 3), μB, to be described as well; not by
            compressed models, which are not trained.

        Returns
        -------
        dict
            As :meth:`forward`; besides, ``force`` and ``force_mag`` (nf, nall, 3),
            ``virial`` (nf, 9), if asked for, ``atom_virial`` (nf, nall, 9), and with a
            guess ``features`` and ``vectors`` of :meth:`describe`.
        """
        if self.descriptor.compressed:
            return self._derivatives_in_blocks(
                edges,
                nlist,
                extended_atype,
                extended_spin,
                fparam,
                aparam,
                do_atomic_virial,
            )
        edges = edges.detach()
        edges.requires_grad_(True)
        moments = extended_spin.detach()
        moments.requires_grad_(True)
        spins = [moments]
        if guess is not None:
            spins.append(guess)
        described = self.descriptor(edges, nlist, extended_atype, spins)
        local = extended_atype[:, : nlist.shape[1]]
        result = self.fit_features(described[0][0], local, fparam, aparam)
        energy = result["energy"].sum()
        slopes = torch.autograd.grad(
            [energy], [edges, moments], create_graph=create_graph
        )
        edge_slope, moment_slope = slopes[0], slopes[1]
        assert edge_slope is not None
        assert moment_slope is not None
        repulsion = self.repulsion
        if repulsion is not None:
            # A loss has no slope through it: nothing in it is trained.
            with torch.no_grad():
                type_i, type_ij = types_of_pairs(extended_atype, nlist)
                added, added_slope = repulsion(edges, type_i, type_ij)
                mask = result["mask"].unsqueeze(-1)
            result["energy"] = result["energy"] + added * mask
            edge_slope = edge_slope + added_slope * mask.unsqueeze(-1)
        nall = extended_atype.shape[1]
        result["force"] = forces_from_edges(edge_slope, nlist, nall)
        result["force_mag"] = -moment_slope
        if do_atomic_virial:
            atom_virial = virials_from_edges(edge_slope, edges, nlist, nall)
            result["atom_virial"] = atom_virial
            result["virial"] = atom_virial.sum(1)
        else:
            result["virial"] = virial_from_edges(edge_slope, edges)
        if guess is not None:
            result["features"], result["vectors"] = described[1]
        return result

    def _derivatives_in_blocks(
        self,
        edges: torch.Tensor,
        nlist: torch.Tensor,
        extended_atype: torch.Tensor,
        extended_spin: torch.Tensor,
        fparam: torch.Tensor | None,
        aparam: torch.Tensor | None,
        do_atomic_virial: bool,
    ) -> dict[str, torch.Tensor]:
        """Do as :meth:`derivatives`, so many atoms at a time that caches hold them."""
        nf, nloc, nnei = nlist.shape
        nall = extended_atype.shape[1]
        # The atoms of all frames as one list, their neighbours in one numbering.
        local = torch.nonzero((extended_atype[:, :nloc] >= 0).flatten()).flatten()
        frame = local // nloc
        first = frame * nall
        atoms = local - frame * nloc + first
        neighbours = nlist.view(nf * nloc, nnei)
        edges = edges.view(nf * nloc, nnei, 3)
        types = extended_atype.clamp(min=0).flatten()
        spin = extended_spin.detach().reshape(nf * nall, 3)
        spin.requires_grad_(True)
        scaled = self.descriptor.scaled_moments(spin, types)
        moments = scaled.detach()
        bare = not bool(moments.any())
        energy = torch.zeros([nf * nloc, 1], dtype=torch.float64, device=edges.device)
        mask = torch.zeros([nf * nloc], dtype=torch.int32, device=edges.device)
        slope = torch.zeros_like(spin)
        moment_slope = torch.zeros_like(spin)
        virial = torch.zeros([nf, 9], dtype=torch.float64, device=edges.device)
        atom_virial = virial[:0]
        if do_atomic_virial:
            atom_virial = virial.new_zeros([nf * nall, 9])
        size = self.descriptor.core.block_size(local.shape[0], edges.is_cpu)
        for start in range(0, local.shape[0], size):
            places = local[start : start + size]
            centres = atoms[start : start + size]
            index = neighbours[places].clamp(min=0) + first[
                start : start + size
            ].unsqueeze(-1)
            frame_parameters = fparam
            if fparam is not None:
                frame_parameters = fparam[frame[start : start + size]]
            atom_parameters = aparam
            if aparam is not None:
                atom_parameters = aparam.flatten(0, 1)[places].unsqueeze(1)
            edge = edges[places]
            part = self.slopes_of_atoms(
                edge,
                types[centres],
                types[index],
                moments[centres],
                moments[index],
                frame_parameters,
                atom_parameters,
                bare,
            )
            energy[places] = part["energy"]
            mask[places] = part["mask"]
            edge_slope = part["edge_slope"]
            slope.index_add_(0, index.flatten(), edge_slope.view(-1, 3))
            slope.index_add_(0, centres, -edge_slope.sum(1))
            moment_slope.index_add_(
                0, index.flatten(), part["other_slope"].reshape(-1, 3)
            )
            moment_slope.index_add_(0, centres, part["own_slope"])
            if do_atomic_virial:
                pair = edge_slope.unsqueeze(-1) * edge.unsqueeze(-2)
                atom_virial.index_add_(0, index.flatten(), pair.view(-1, 9))
            pair_sum = edge_slope.transpose(1, 2) @ edge
            virial.index_add_(0, frame[start : start + size], pair_sum.flatten(1))
        by_spin = torch.autograd.grad([(scaled * moment_slope).sum()], [spin])[0]
        assert by_spin is not None
        result = {
            "energy": energy.view(nf, nloc, 1),
            "mask": mask.view(nf, nloc),
            "force": -slope.view(nf, nall, 3),
            "force_mag": -by_spin.view(nf, nall, 3),
            "virial": -virial,
        }
        if do_atomic_virial:
            result["atom_virial"] = -atom_virial.view(nf, nall, 9)
        return result

    def slopes_of_atoms(
        self,
        edges: torch.Tensor,
        type_i: torch.Tensor,
        type_ij: torch.Tensor,
        moments_i: torch.Tensor,
        moments_ij: torch.Tensor,
        fparam: torch.Tensor | None,
        aparam: torch.Tensor | None,
        bare: bool = False,
    ) -> dict[str, torch.Tensor]:
        """Return energies of n atoms and their slopes, with a compressed descriptor.

        Parameters
        ----------
        edges
            Edge vectors, (n, nnei, 3), Å; beyond the cutoff where empty.
        type_i, type_ij
            Types of atoms (n,) and of their neighbours (n, nnei).
        moments_i, moments_ij
            Scaled moments (n, 3) and (n, nnei, 3), dimensionless.
        fparam, aparam
            Parameters of the fitting net, (n, ...) and (n, 1, ...).
        bare
            Whether all moments are zero, which saves the pair net.

        Returns
        -------
        dict
            ``energy`` (n, 1), eV; ``mask`` (n,); slopes of the energies in the edges,
            ``edge_slope`` (n, nnei, 3), eV/Å, and in scaled moments of the atoms,
            ``own_slope`` (n, 3), and of their neighbours, ``other_slope``
            (n, nnei, 3), eV; in float64.
        """
        with torch.no_grad():
            found = self.descriptor.core.sum_neighbours(
                edges, type_i, type_ij, moments_i, moments_ij, bare
            )
        fitted = self._fit_sums(found.sums, found.moments_i, type_i, fparam, aparam)
        with torch.no_grad():
            by_edge, by_own, by_other = self.descriptor.core.slopes(
                found, fitted["sums_slope"]
            )
            own_slope = by_own + fitted["own_slope"]
            energy = fitted["energy"]
            edge_slope = by_edge.transpose(1, 2).contiguous().double()
            repulsion = self.repulsion
            if repulsion is not None:
                added, added_slope = repulsion(edges, type_i, type_ij)
                mask = fitted["mask"].unsqueeze(-1)
                energy = energy + added * mask
                edge_slope = edge_slope + added_slope * mask.unsqueeze(-1)
            return {
                "energy": energy,
                "mask": fitted["mask"],
                "edge_slope": edge_slope,
                "own_slope": own_slope.double(),
                "other_slope": by_other.transpose(1, 2).double(),
            }

    def _fit_sums(
        self,
        sums: torch.Tensor,
        moments: torch.Tensor,
        types: torch.Tensor,
        fparam: torch.Tensor | None,
        aparam: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """Return energies of n atoms and slopes in sums over neighbours and moments.

        Each atom is a frame of its own here: ``fparam`` (n, ...), ``aparam``
        (n, 1, ...).
        """
        sums = sums.detach()
        sums.requires_grad_(True)
        own = moments.detach()
        own.requires_grad_(True)
        features, _ = self.descriptor.core.contract(sums, types, own)
        fitted = self.fit_features(
            features.unsqueeze(1), types.unsqueeze(1), fparam, aparam
        )
        slopes = torch.autograd.grad([fitted["energy"].sum()], [sums, own])
        sums_slope, own_slope = slopes[0], slopes[1]
        assert sums_slope is not None
        assert own_slope is not None
        return {
            "energy": fitted["energy"].detach().squeeze(1).double(),
            "mask": fitted["mask"].squeeze(1),
            "sums_slope": sums_slope,
            "own_slope": own_slope,
        }

    def describe(
        self,
        edges: torch.Tensor,
        nlist: torch.Tensor,
        extended_atype: torch.Tensor,
        extended_spin: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what moments are predicted from; arguments as :meth:`forward`.

        Returns
        -------
        tuple
            Features (nf, nloc, n) and spin vectors (nf, nloc, n', 3).
        """
        described = self.descriptor(edges, nlist, extended_atype, [extended_spin])
        features, vectors = described[0]
        return features, vectors

    def typical_moments(self, atype: torch.Tensor) -> torch.Tensor:
        """Return the typical moment of each atom's type, (nf, nloc), μB; or zero."""
        unit: torch.Tensor = self.descriptor.typical_moments()[atype.clamp(min=0)]
        return unit * (atype >= 0).to(unit.dtype)

    def exclude_pairs(
        self, edges: torch.Tensor, nlist: torch.Tensor, extended_atype: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return edges and neighbours without the excluded pairs of types."""
        if self.pair_excl is not None:
            nlist = self.without_excluded_pairs(nlist, extended_atype)
            edges = away_where_empty(edges, nlist >= 0, self.rcut)
        return edges, nlist

    def without_excluded_pairs(
        self, nlist: torch.Tensor, extended_atype: torch.Tensor
    ) -> torch.Tensor:
        """Return neighbours, -1 instead of those of excluded pairs of types."""
        if self.pair_excl is not None:
            keep = self.pair_excl(nlist, extended_atype) == 1
            nlist = torch.where(keep, nlist, torch.full_like(nlist, -1))
        return nlist

    @torch.jit.unused
    def repulsion_table(self) -> torch.Tensor | None:
        """Return the repulsion's table without atoms that are left out; or None."""
        if self.repulsion is None:
            return None
        table = self.repulsion.table.clone()
        if self.atom_excl is not None:
            types = torch.arange(self.ntypes, device=table.device)
            counts = self.atom_excl(types.unsqueeze(0)).to(table.dtype)
            table[:, 0] *= counts.view(-1).repeat_interleave(self.ntypes)
        return table

    def change_out_bias(
        self,
        sample_merged: Callable[[], list[dict[str, Any]]] | list[dict[str, Any]],
        stat_file_path: DPPath | None = None,
        bias_adjust_mode: str = "change-by-statistic",
    ) -> None:
        """Fit the energy bias; the host's, to what the repulsion leaves of labels.

        Parameters
        ----------
        sample_merged
            Samples of the systems, or a function that returns them.
        stat_file_path
            Folder of deepmd-kit's statistics file, read if it is filled.
        bias_adjust_mode
            ``set-by-statistic`` or ``change-by-statistic``.
        """
        repulsion = self.repulsion
        if repulsion is None or bias_adjust_mode != "set-by-statistic":
            super().change_out_bias(sample_merged, stat_file_path, bias_adjust_mode)
            return
        if stat_file_path is not None:  # other radii, other biases
            stat_file_path = stat_file_path / repulsion.fingerprint()

        def remaining() -> list[dict[str, Any]]:
            samples = sample_merged() if callable(sample_merged) else sample_merged
            return [without_repulsion(sample, self, repulsion) for sample in samples]

        super().change_out_bias(remaining, stat_file_path, bias_adjust_mode)

    def change_type_map(
        self,
        type_map: list[str],
        model_with_new_type_stat: SpinAtomicModel | None = None,
    ) -> None:
        """Reorder, drop or add types; see :meth:`Repulsion.for_types`."""
        old, fresh = list(self.type_map), model_with_new_type_stat
        super().change_type_map(type_map, fresh)
        if self.repulsion is not None:
            self.repulsion = self.repulsion.for_types(
                type_map, old, None if fresh is None else fresh.repulsion
            )

    def serialize(self) -> dict[str, Any]:
        """Return settings and weights as plain numbers and arrays."""
        data: dict[str, Any] = super().serialize()
        if self.repulsion is not None:
            data["repulsion"] = self.repulsion.dump()
        return data

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SpinAtomicModel:
        """Rebuild what :meth:`serialize` wrote."""
        data = dict(data)
        if data.get("repulsion") is not None:
            data["repulsion"] = Repulsion.restore(data["repulsion"], data["type_map"])
        made: SpinAtomicModel = super().deserialize(data)
        return made

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
