# SPDX-License-Identifier: LGPL-3.0-or-later
"""The model ``spin_dp``: energy and its derivatives in positions and moments.

Positions enter the energy through edge vectors only, so one backward pass to the
edges and the moments gives forces, magnetic forces, virial and atomic virials:

    F_k = Σ_j ∂E/∂r_kj - Σ_i ∂E/∂r_ik,   F_m = -∂E/∂m,   W = -Σ_ij ∂E/∂r_ij ⊗ r_ij

An atomic virial goes to the neighbour j of each edge, as in deepmd-kit.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import torch
from deepmd.pt.model.model.model import BaseModel
from deepmd.utils.spin import Spin

from spin_dp.descriptors import (
    compact_neighbours,
    edge_vectors,
    neighbours_in_cells,
)
from spin_dp.model.atomic import SpinAtomicModel
from spin_dp.model.build import model_parts
from spin_dp.model.hosted import HostedSpinModel
from spin_dp.model.moment_net import MomentNet


@BaseModel.register("spin_dp")
class SpinEnergyModel(HostedSpinModel):
    """Spin-aware Deep Potential without virtual atoms.

    Parameters
    ----------
    spin
        Which types carry moments.
    moment_net
        Predicts converged moments; None: the model does not.
    *args, **kwargs
        Passed on to the host's model.
    """

    def __init__(
        self,
        *args: Any,
        spin: Spin,
        moment_net: MomentNet | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, spin=spin, **kwargs)
        self.moment_net = moment_net
        self.to(self.atomic_model.out_bias.device)

    @classmethod
    def get_model(cls, model_params: dict[str, Any]) -> SpinEnergyModel:
        """Build the model from the ``model`` section of ``input.json``.

        Raises
        ------
        ConfigError
            If the section asks for something that this model does not have.
        """
        made = cls(**model_parts(copy.deepcopy(model_params)))
        made.model_def_script = json.dumps(model_params)
        return made

    def forward(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        spin: torch.Tensor,
        box: torch.Tensor | None = None,
        fparam: torch.Tensor | None = None,
        aparam: torch.Tensor | None = None,
        do_atomic_virial: bool = False,
        charge_spin: torch.Tensor | None = None,
        guess: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return energies and derivatives of whole cells.

        Parameters
        ----------
        coord
            Positions, (nf, nloc, 3), Å.
        atype
            Types, (nf, nloc).
        spin
            Moments, (nf, nloc, 3), μB.
        box
            Cell vectors as rows, (nf, 9), Å, or None for a cluster.
        fparam, aparam
            Parameters of the fitting net.
        do_atomic_virial
            Whether to return atomic virials.
        charge_spin
            Not used; the host passes it to every model.
        guess
            Moments, (nf, nloc, 3), μB, from which converged ones are predicted in
            passing, as training does; see :meth:`predict_moments`.

        Returns
        -------
        dict
            ``energy`` (nf, 1), ``atom_energy`` (nf, nloc, 1), ``force`` and
            ``force_mag`` (nf, nloc, 3), ``virial`` (nf, 9), ``mask_mag``
            (nf, nloc, 1), ``mask`` (nf, nloc), if asked for, ``atom_virial``
            (nf, nloc, 9), and with a guess ``moments`` (nf, nloc, 3); eV, eV/Å,
            eV/μB, μB.
        """
        nf, nloc = atype.shape[:2]
        edges, nlist = self._neighbours(coord, atype, box)
        result = self.evaluate(
            edges,
            nlist,
            atype,
            spin.view(nf, nloc, 3),
            fparam,
            aparam,
            do_atomic_virial,
            None if guess is None else guess.view(nf, nloc, 3),
        )
        result["mask_mag"] = self._counted_moments(atype)
        return result

    def _neighbours(
        self, coord: torch.Tensor, atype: torch.Tensor, box: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return edges (nf, nloc, nnei, 3) and neighbours (nf, nloc, nnei) of cells."""
        nf, nloc = atype.shape[:2]
        edges, nlist = neighbours_in_cells(
            coord.detach().view(nf, nloc, 3).to(torch.float64),
            None if box is None else box.to(torch.float64),
            atype >= 0,
            self.get_rcut(),
        )
        return edges, nlist

    @torch.jit.export
    def predict_moments(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        spin: torch.Tensor,
        box: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return converged moments from a guess of them.

        The descriptor is not trained by it: gradients end at the moment net.

        Parameters
        ----------
        coord
            Positions, (nf, nloc, 3), Å.
        atype
            Types, (nf, nloc).
        spin
            Guess, such as the mean moment of each site's spin state, (nf, nloc, 3),
            μB.
        box
            Cell vectors as rows, (nf, 9), Å, or None for a cluster.

        Returns
        -------
        torch.Tensor
            Moments, (nf, nloc, 3), μB; zero for types without spin.

        Raises
        ------
        RuntimeError
            If the model has no moment net.
        """
        nf, nloc = atype.shape[:2]
        edges, nlist = self._neighbours(coord, atype, box)
        return self._moments_from_edges(edges, nlist, atype, spin.view(nf, nloc, 3))

    @torch.jit.export
    def moments_lower(
        self,
        extended_coord: torch.Tensor,
        extended_atype: torch.Tensor,
        extended_spin: torch.Tensor,
        nlist: torch.Tensor,
    ) -> torch.Tensor:
        """Do as :meth:`predict_moments` where the caller brings the neighbours.

        Parameters
        ----------
        extended_coord, extended_atype, nlist
            As for :meth:`forward_lower`.
        extended_spin
            Guess of local and ghost atoms, (nf, nall, 3), μB.

        Returns
        -------
        torch.Tensor
            Moments of local atoms, (nf, nloc, 3), μB.

        Raises
        ------
        RuntimeError
            If the model has no moment net.
        """
        nf, nall = extended_atype.shape[:2]
        coord = extended_coord.view(nf, nall, 3).to(torch.float64)
        nlist = compact_neighbours(coord, nlist, self.get_rcut())
        edges = edge_vectors(coord, nlist, self.get_rcut())
        guess = extended_spin.view(nf, nall, 3)
        return self._moments_from_edges(edges, nlist, extended_atype, guess)

    def _moments_from_edges(
        self,
        edges: torch.Tensor,
        nlist: torch.Tensor,
        atype: torch.Tensor,
        guess: torch.Tensor,
    ) -> torch.Tensor:
        nloc = nlist.shape[1]
        guess = guess.to(torch.float64)
        with torch.no_grad():
            edges, nlist = self.atomic_model.exclude_pairs(edges, nlist, atype)
            features, vectors = self.atomic_model.describe(edges, nlist, atype, guess)
        return self.moments_from(features, vectors, guess[:, :nloc], atype[:, :nloc])

    def moments_from(
        self,
        features: torch.Tensor,
        vectors: torch.Tensor,
        guess: torch.Tensor,
        atype: torch.Tensor,
    ) -> torch.Tensor:
        """Return moments (nf, nloc, 3), μB, from what the descriptor says of a guess.

        Parameters
        ----------
        features, vectors, guess
            As for :class:`MomentNet`.
        atype
            Types of local atoms, (nf, nloc).

        Raises
        ------
        RuntimeError
            If the model has no moment net.
        """
        net = self.moment_net
        if net is None:
            raise RuntimeError("this model has no moment net; it predicts no moments")
        unit = self.atomic_model.typical_moments(atype)
        moments: torch.Tensor = net(features, vectors, guess, unit)
        return moments

    @torch.jit.export
    def predicts_moments(self) -> bool:
        """Return whether :meth:`predict_moments` works."""
        return self.moment_net is not None

    @torch.jit.export
    def forward_lower(
        self,
        extended_coord: torch.Tensor,
        extended_atype: torch.Tensor,
        extended_spin: torch.Tensor,
        nlist: torch.Tensor,
        mapping: torch.Tensor | None = None,
        fparam: torch.Tensor | None = None,
        aparam: torch.Tensor | None = None,
        do_atomic_virial: bool = False,
        comm_dict: dict[str, torch.Tensor] | None = None,
        charge_spin: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return energies and derivatives where the caller brings the neighbours.

        This is what LAMMPS calls. Neighbours beyond the cutoff are dropped here.

        Parameters
        ----------
        extended_coord
            Positions of local and ghost atoms, (nf, nall, 3), Å.
        extended_atype
            Their types, (nf, nall).
        extended_spin
            Their moments, (nf, nall, 3), μB.
        nlist
            Neighbour indices, (nf, nloc, nnei), -1 where there is none.
        mapping, comm_dict, charge_spin
            Not used: the model is local.
        fparam, aparam
            Parameters of the fitting net.
        do_atomic_virial
            Whether to return atomic virials.

        Returns
        -------
        dict
            As :meth:`forward`, with ``extended_force``, ``extended_force_mag`` and
            ``extended_virial`` over local and ghost atoms.
        """
        nf, nall = extended_atype.shape[:2]
        coord = extended_coord.view(nf, nall, 3).to(torch.float64)
        nlist = compact_neighbours(coord, nlist, self.get_rcut())
        lower = self.evaluate(
            edge_vectors(coord, nlist, self.get_rcut()),
            nlist,
            extended_atype,
            extended_spin.view(nf, nall, 3),
            fparam,
            aparam,
            do_atomic_virial,
        )
        result = {
            "energy": lower["energy"],
            "atom_energy": lower["atom_energy"],
            "virial": lower["virial"],
            "mask": lower["mask"],
            "extended_mask_mag": self._is_magnetic(extended_atype),
            "extended_force": lower["force"],
            "extended_force_mag": lower["force_mag"],
        }
        if do_atomic_virial:
            result["extended_virial"] = lower["atom_virial"]
        return result

    def evaluate(
        self,
        edges: torch.Tensor,
        nlist: torch.Tensor,
        atype: torch.Tensor,
        spin: torch.Tensor,
        fparam: torch.Tensor | None,
        aparam: torch.Tensor | None,
        do_atomic_virial: bool,
        guess: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return energies and derivatives from edges.

        Parameters
        ----------
        edges, nlist
            Edge vectors (nf, nloc, nnei, 3), Å, and the atoms that they lead to, local
            or ghosts, (nf, nloc, nnei), -1 where there is none.
        atype, spin
            Types (nf, nall) and moments (nf, nall, 3) in μB of local and ghost atoms.
        fparam, aparam
            Parameters of the fitting net.
        do_atomic_virial
            Whether to return atomic virials.
        guess
            As for :meth:`forward`, of all atoms, (nf, nall, 3), μB.

        Returns
        -------
        dict
            ``energy`` (nf, 1), ``atom_energy`` (nf, nloc, 1), ``mask`` (nf, nloc),
            ``force`` and ``force_mag`` (nf, nall, 3), ``virial`` (nf, 9), if asked
            for, ``atom_virial`` (nf, nall, 9), and with a guess ``moments``
            (nf, nloc, 3).
        """
        edges, nlist = self.atomic_model.exclude_pairs(edges, nlist, atype)
        if fparam is not None:
            fparam = fparam.to(torch.float64)
        if aparam is not None:
            aparam = aparam.to(torch.float64)
        if guess is not None:
            guess = guess.to(torch.float64)
        result: dict[str, torch.Tensor] = self.atomic_model.derivatives(
            edges,
            nlist,
            atype,
            spin.to(torch.float64),
            fparam,
            aparam,
            do_atomic_virial,
            create_graph=self.training,
            guess=guess,
        )
        if guess is not None:
            nloc = nlist.shape[1]
            result["moments"] = self.moments_from(
                result.pop("features"),
                result.pop("vectors"),
                guess[:, :nloc],
                atype[:, :nloc],
            )
        result["atom_energy"] = result["energy"]
        result["energy"] = result["energy"].to(torch.float64).sum(1)
        return result

    def predict_atomic_outputs_for_stat(
        self,
        coord: torch.Tensor,
        atype: torch.Tensor,
        box: torch.Tensor | None,
        fparam: torch.Tensor | None = None,
        aparam: torch.Tensor | None = None,
        charge_spin: torch.Tensor | None = None,
        spin: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Return atomic energies for the fit of the energy bias (no derivatives)."""
        nf, nloc = atype.shape
        moments = torch.zeros_like(coord) if spin is None else spin
        training = self.training
        self.eval()  # no graph of the derivatives
        result = self.forward(
            coord.view(nf, nloc, 3),
            atype,
            moments.view(nf, nloc, 3),
            box,
            fparam,
            aparam,
        )
        self.train(training)
        return {
            "energy": result["atom_energy"].detach(),
            "mask": result["mask"].detach(),
        }

    def serialize(self) -> dict[str, Any]:
        """Return settings and weights as plain numbers and arrays."""
        return {
            "type": "spin_dp",
            "atomic_model": self.atomic_model.serialize(),
            "spin": self.spin.serialize(),
            "moment_net": None if self.moment_net is None else self.moment_net.dump(),
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SpinEnergyModel:
        """Rebuild what :meth:`serialize` wrote."""
        net = data.get("moment_net")
        return cls(
            atomic_model_=SpinAtomicModel.deserialize(data["atomic_model"]),
            spin=Spin.deserialize(data["spin"]),
            moment_net=None if net is None else MomentNet.restore(net),
        )
