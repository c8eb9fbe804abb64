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
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from deepmd.dpmodel import ModelOutputDef
from deepmd.pt.model.model.dp_model import DPModelCommon
from deepmd.pt.model.model.make_model import make_model
from deepmd.pt.model.model.model import BaseModel
from deepmd.utils.spin import Spin

from spin_dp.descriptors import (
    compact_neighbours,
    edge_vectors,
    neighbours_in_cells,
)
from spin_dp.errors import ConfigError
from spin_dp.model.atomic import SpinAtomicModel
from spin_dp.model.build import model_parts
from spin_dp.model.moment_net import MomentNet

_HostModel = make_model(SpinAtomicModel)


@BaseModel.register("spin_dp")
class SpinEnergyModel(DPModelCommon, _HostModel):  # type: ignore[misc, valid-type]
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

    # What the host calls an energy model: `dp change-bias --bias-value` asks for it.
    model_type = "ener"

    if TYPE_CHECKING:  # a buffer; TorchScript cannot read it as an annotation
        use_spin: torch.Tensor

    def __init__(
        self,
        *args: Any,
        spin: Spin,
        moment_net: MomentNet | None = None,
        **kwargs: Any,
    ) -> None:
        DPModelCommon.__init__(self)
        _HostModel.__init__(self, *args, **kwargs)
        self.spin = spin
        self.moment_net = moment_net
        self.register_buffer(
            "use_spin", torch.tensor(spin.use_spin.tolist(), dtype=torch.bool)
        )
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

    # ---- evaluation -------------------------------------------------------------

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
        guess = spin.view(nf, nloc, 3).to(torch.float64)
        with torch.no_grad():
            edges, nlist = self._neighbours(coord, atype, box)
            edges, nlist = self.atomic_model.exclude_pairs(edges, nlist, atype)
            features, vectors, unit = self.atomic_model.describe(
                edges, nlist, atype, guess
            )
        return self._moments(features, vectors, guess, unit)

    def _moments(
        self,
        features: torch.Tensor,
        vectors: torch.Tensor,
        guess: torch.Tensor,
        unit: torch.Tensor,
    ) -> torch.Tensor:
        net = self.moment_net
        if net is None:
            raise RuntimeError("this model has no moment net; it predicts no moments")
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
            unit = self.atomic_model.typical_moments(atype[:, :nloc])
            features, vectors = result.pop("features"), result.pop("vectors")
            result["moments"] = self._moments(features, vectors, guess[:, :nloc], unit)
        result["atom_energy"] = result["energy"]
        result["energy"] = result["energy"].to(torch.float64).sum(1)
        return result

    def _is_magnetic(self, atype: torch.Tensor) -> torch.Tensor:
        magnetic: torch.Tensor = self.use_spin[atype.clamp(min=0)] & (atype >= 0)
        return magnetic.unsqueeze(-1)

    def _counted_moments(self, atype: torch.Tensor) -> torch.Tensor:
        """Return where magnetic forces count in losses and tests, (nf, nloc, 1)."""
        magnetic = self._is_magnetic(atype)
        # The host takes means over these atoms, and a mean over none is NaN in a loss
        # and a division by zero in `dp test`. Where no atom is magnetic all count:
        # their magnetic forces are exactly zero, as is the label.
        return magnetic | ((atype >= 0).unsqueeze(-1) & ~magnetic.any())

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

    # ---- what the host asks for -------------------------------------------------

    @torch.jit.export
    def has_spin(self) -> bool:
        """Return True: moments are an input."""
        return True

    @torch.jit.export
    def get_use_spin(self) -> list[bool]:
        """Return for each type whether its moments are read."""
        flags: list[bool] = []
        for flag in self.use_spin:
            flags.append(bool(flag.item()))  # noqa: PERF401 (TorchScript)
        return flags

    @torch.jit.unused
    def model_output_def(self) -> ModelOutputDef:
        """Return the output definition, with magnetic forces."""
        atomic = self.atomic_output_def()
        atomic["energy"].magnetic = True
        return ModelOutputDef(atomic)

    @torch.jit.export
    def model_output_type(self) -> list[str]:
        """Return the fitted property."""
        return ["energy"]

    def translated_output_def(self) -> dict[str, Any]:
        """Return the output definition under the public names."""
        data = self.model_output_def().get_data()
        names = {
            "atom_energy": "energy",
            "energy": "energy_redu",
            "mask_mag": "mask_mag",
            "force": "energy_derv_r",
            "force_mag": "energy_derv_r_mag",
            "virial": "energy_derv_c_redu",
            "atom_virial": "energy_derv_c",
        }
        result = {public: copy.deepcopy(data[name]) for public, name in names.items()}
        for public in ("force", "force_mag", "virial", "atom_virial"):
            result[public].squeeze(-2)
        return result

    def change_type_map(
        self, type_map: list[str], model_with_new_type_stat: Any = None
    ) -> None:
        """Reorder, drop or add types; see :meth:`DescrptSpinSeA.change_type_map`."""
        super().change_type_map(type_map, model_with_new_type_stat)
        flags = self.get_descriptor().use_spin
        self.spin = Spin(use_spin=flags)
        self.use_spin = self.use_spin.new_tensor(flags)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        own, stored = self.use_spin.tolist(), state_dict.get(prefix + "use_spin")
        if stored is not None and len(stored) == len(own) and stored.tolist() != own:
            names = np.array(self.get_type_map())
            trained, asked = (
                ", ".join(names[np.array(flags)]) for flags in (stored.tolist(), own)
            )
            raise ConfigError(
                f"spin.use_spin: the model was trained with moments of {trained}, the "
                f"input asks for those of {asked}. An element keeps what it was "
                "trained with; only elements new in the type_map are free."
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def enable_compression(
        self,
        table_extrapolate: float = 5,
        table_stride_1: float = 0.01,
        table_stride_2: float = 0.1,
        check_frequency: int = -1,
    ) -> None:
        """Tabulate the radial nets."""
        shortest = self.get_min_nbor_dist()
        if shortest is None:
            raise ConfigError(
                "the model does not know the shortest distance of its training data; "
                "train without --skip-neighbor-stat or give `-t input.json`."
            )
        self.atomic_model.enable_compression(
            shortest, table_extrapolate, table_stride_1, table_stride_2, check_frequency
        )
        # For inference only, and a scripted graph derives by all that asks for it.
        self.requires_grad_(False)

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
