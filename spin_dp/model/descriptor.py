# SPDX-License-Identifier: LGPL-3.0-or-later
"""``spin_se_e2_a`` as deepmd-kit knows a descriptor."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import torch
from deepmd.pt.model.descriptor.base_descriptor import BaseDescriptor
from deepmd.pt.utils import env
from deepmd.pt.utils.update_sel import UpdateSel
from deepmd.utils.finetune import get_index_between_two_maps

from spin_dp.descriptors import (
    CompressedSpinDescriptor,
    SpinDescriptor,
    SpinDescriptorConfig,
    neighbours_in_cells,
)
from spin_dp.descriptors.edges import gather_neighbours
from spin_dp.descriptors.spin_se_e2_a import Surroundings  # noqa: TC001 (TorchScript)
from spin_dp.errors import ConfigError, unknown
from spin_dp.model.hosted_descriptor import HostedDescriptor
from spin_dp.model.statistics import RunningStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from deepmd.utils.path import DPPath

_CONFIG_NAMES = frozenset(f.name for f in fields(SpinDescriptorConfig))
_HOST_NAMES = frozenset({"type", "ntypes", "type_map", "use_spin"})
# Å; what is lost between the knots is less than what rounding loses.
_TABLE_STRIDE = {torch.float64: 0.02, torch.float32: 0.05}
_TABLE_START = 0.3
"""Å; atoms that come closer are beyond what any net says of them."""
_PER_TYPE = ("tebd", "on_site", "moment_gain")  # first axis: types


def config_from_params(params: dict[str, Any]) -> SpinDescriptorConfig:
    """Return the descriptor's settings from its section of ``input.json``.

    Raises
    ------
    ConfigError
        If a name is unknown or a value cannot be used.
    """
    for name in params:
        if name not in _CONFIG_NAMES | _HOST_NAMES:
            raise unknown("setting of descriptor spin_se_e2_a", name, _CONFIG_NAMES)
    values = {k: v for k, v in params.items() if k in _CONFIG_NAMES}
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    sel = values.get("sel", 0)
    if isinstance(sel, str):
        raise ConfigError(
            f"descriptor: sel is {sel!r}, which only `dp --pt train` with neighbour "
            "statistics can fill in; give a number or drop --skip-neighbor-stat."
        )
    if isinstance(sel, tuple):
        values["sel"] = int(sum(sel))
    if values.get("precision", "default") == "default":
        values["precision"] = "float64"
    return SpinDescriptorConfig(**values)


def _packed(values: torch.Tensor, atoms: torch.Tensor | None) -> torch.Tensor:
    """Return values (nf, nloc, ...) of some atoms as (1, n, ...); as given if None."""
    if atoms is None:
        return values
    return values.flatten(0, 1)[atoms].unsqueeze(0)


def _unpacked(
    values: torch.Tensor, atoms: torch.Tensor, nf: int, nloc: int
) -> torch.Tensor:
    """Put values (1, n, d) of atoms to their places, (nf, nloc, d); zero elsewhere."""
    width = values.shape[2]
    places = torch.zeros([nf * nloc, width], dtype=values.dtype, device=values.device)
    return places.index_copy(0, atoms, values[0]).view(nf, nloc, width)


@BaseDescriptor.register("spin_se_e2_a")
class DescrptSpinSeA(HostedDescriptor):
    """Host adapter of :class:`spin_dp.descriptors.SpinDescriptor`.

    Parameters
    ----------
    use_spin
        For each type whether its moments are read; given by the model.
    type_map
        Element of each type.
    **params
        Fields of :class:`spin_dp.descriptors.SpinDescriptorConfig`.

    Raises
    ------
    ConfigError
        If it is used outside a model of type ``spin_dp``.
    """

    __constants__ = ("compressed",)

    def __init__(
        self,
        *,
        use_spin: list[bool] | None = None,
        type_map: list[str] | None = None,
        **params: Any,
    ) -> None:
        torch.nn.Module.__init__(self)
        if use_spin is None or type_map is None:
            raise ConfigError(
                "descriptor spin_se_e2_a works only in a model of type 'spin_dp'; "
                'put "type": "spin_dp" into the model section of input.json.'
            )
        self.config = asdict(config_from_params(params))
        config = SpinDescriptorConfig(**self.config)
        self.type_map = list(type_map)
        self.use_spin = list(use_spin)
        self.rcut = config.rcut
        self.sel = [max(1, config.sel)]
        self.dim_out = config.dim_out
        self.compressed = False
        self.core: torch.nn.Module = SpinDescriptor(config, self.use_spin).to(
            env.DEVICE
        )

    def forward(
        self,
        edges: torch.Tensor,
        nlist: torch.Tensor,
        extended_atype: torch.Tensor,
        spins: list[torch.Tensor],
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return features and spin vectors of the local atoms for sets of moments.

        Derivatives are those of the first set; what comes from the others is constant.

        Parameters
        ----------
        edges
            Edge vectors, (nf, nloc, nnei, 3), Å.
        nlist
            Neighbour indices, (nf, nloc, nnei), -1 where there is none.
        extended_atype
            Types of local and ghost atoms, (nf, nall), negative for no atom.
        spins
            Sets of moments of local and ghost atoms, each (nf, nall, 3), μB.

        Returns
        -------
        list
            D (nf, nloc, dim_out) and V (nf, nloc, M', 3) of each set; zero where there
            is no atom.
        """
        nf, nloc, nnei = nlist.shape
        types = extended_atype.clamp(min=0)
        is_atom = (extended_atype[:, :nloc] >= 0).flatten()
        # Cells of different size in one batch: the atoms of all as those of one.
        atoms: torch.Tensor | None = None
        if not bool(is_atom.all()):
            atoms = torch.nonzero(is_atom).flatten()
        index = nlist.clamp(min=0).view(nf, nloc * nnei)
        type_i = _packed(types[:, :nloc], atoms)
        type_ij = _packed(torch.gather(types, 1, index).view(nf, nloc, nnei), atoms)
        edges = _packed(edges, atoms)
        found: Surroundings | None = None
        if not self.compressed:
            found = self.core.surroundings(edges)  # type: ignore[operator]
        moments = self.scaled_moments(spins[0], types)
        described = [
            self._describe(edges, found, nlist, type_i, type_ij, moments, atoms)
        ]
        with torch.no_grad():
            for spin in spins[1:]:
                moments = self.scaled_moments(spin, types)
                described.append(
                    self._describe(edges, found, nlist, type_i, type_ij, moments, atoms)
                )
        return described

    def _describe(
        self,
        edges: torch.Tensor,
        found: Surroundings | None,
        nlist: torch.Tensor,
        type_i: torch.Tensor,
        type_ij: torch.Tensor,
        moments: torch.Tensor,
        atoms: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return D and V for scaled moments of all atoms, (nf, nall, 3)."""
        nf, nloc = nlist.shape[:2]
        spin_i = _packed(moments[:, :nloc], atoms)
        spin_ij = _packed(gather_neighbours(moments, nlist), atoms)
        if self.compressed:
            features, vectors = self.core(edges, type_i, type_ij, spin_i, spin_ij)
        else:
            assert found is not None
            features, vectors = self.core.describe(  # type: ignore[operator]
                found, type_i, type_ij, spin_i, spin_ij
            )
        if atoms is not None:
            width = vectors.shape[2]
            features = _unpacked(features, atoms, nf, nloc)
            vectors = _unpacked(vectors.flatten(2), atoms, nf, nloc)
            vectors = vectors.view(nf, nloc, width, 3)
        return features, vectors

    def scaled_moments(
        self, moments: torch.Tensor, types: torch.Tensor
    ) -> torch.Tensor:
        """Return what is read of moments (..., 3), μB; see :class:`SpinDescriptor`."""
        scaled: torch.Tensor = self.core.scaled_moments(  # type: ignore[operator]
            moments, types
        )
        return scaled

    def typical_moments(self) -> torch.Tensor:
        """Return the root mean square moment of each type, (nt,), μB; or zero."""
        moments: torch.Tensor = self.core.typical_moments()  # type: ignore[operator]
        return moments

    # ---- statistics and compression -------------------------------------------

    @torch.jit.unused
    def compute_input_stats(
        self,
        merged: Callable[[], list[dict[str, Any]]] | list[dict[str, Any]],
        path: DPPath | None = None,
    ) -> None:
        """Set the input scales from sampled training data, or from ``path``.

        Parameters
        ----------
        merged
            Samples of the systems: coord, atype, box and spin.
        path
            Folder of deepmd-kit's statistics file, read if it is filled.
        """
        stored = None if path is None else path / "spin_se_e2_a"
        if stored is not None and (stored / "scales").is_file():
            statistics = RunningStatistics.from_array((stored / "scales").load_numpy())
        else:
            statistics = RunningStatistics(len(self.type_map))
            for sample in merged() if callable(merged) else merged:
                self._count_sample(statistics, sample)
            if stored is not None:
                stored.mkdir(exist_ok=True, parents=True)
                (stored / "scales").save_numpy(statistics.to_array())
        self.core.set_statistics(**statistics.scales())  # type: ignore[operator]

    @torch.jit.unused
    def _count_sample(
        self, statistics: RunningStatistics, sample: dict[str, Any]
    ) -> None:
        atype = sample["atype"]
        coord = sample["coord"].view(atype.shape[0], atype.shape[1], 3)
        coord = coord.to(torch.float64)
        box = sample.get("box")
        box = None if box is None else box.to(torch.float64)
        edges, nlist = neighbours_in_cells(coord, box, atype >= 0, self.rcut)
        core: Any = self.core
        rows, _ = core.rows(edges)
        spin = sample.get("spin")
        moments = None if spin is None else spin.view(coord.shape)
        statistics.add(rows / core.row_scale, nlist >= 0, atype, moments)

    @torch.jit.unused
    def enable_compression(
        self,
        min_nbor_dist: float,
        table_extrapolate: float = 5,
        table_stride_1: float = 0.01,
        table_stride_2: float = 0.1,
        check_frequency: int = -1,
    ) -> None:
        """Replace the radial nets by tables of the distance.

        Parameters
        ----------
        min_nbor_dist
            Shortest distance in the training data, Å.
        table_extrapolate
            The tables begin at so small a share of it, or at 0.3 Å if that is less.
        table_stride_1, table_stride_2, check_frequency
            Not used: those of deepmd-kit are strides of the radial weight.

        Raises
        ------
        ConfigError
            If it is compressed already.
        """
        if not isinstance(self.core, SpinDescriptor):
            raise ConfigError(
                "this model is compressed already; compress the original frozen model."
            )
        self.core = CompressedSpinDescriptor(
            self.core,
            inner=min(min_nbor_dist / table_extrapolate, _TABLE_START),
            stride=_TABLE_STRIDE[self.core.dtype],
        ).to(env.DEVICE)
        self.compressed = True

    # ---- changes that the host asks for ------------------------------------------

    def share_params(
        self,
        base_class: Any,
        shared_level: int,
        **_kwargs: Any,
    ) -> None:
        """Share the weights with another branch of a multi-task model."""
        if shared_level != 0:
            raise ConfigError(
                f"descriptor spin_se_e2_a can only be shared whole (level 0); got "
                f"level {shared_level}."
            )
        self.core = base_class.core

    def change_type_map(
        self,
        type_map: list[str],
        model_with_new_type_stat: Any = None,
    ) -> None:
        """Reorder, drop or add types; the host asks for it when it fine-tunes.

        Parameters
        ----------
        type_map
            Elements of the model that is trained on.
        model_with_new_type_stat
            Descriptor of that model, with the statistics of its data. New types take
            their rows from it; without it they start at random, without moments.

        Raises
        ------
        ConfigError
            If the descriptor is compressed, or the other one has other widths.
        """
        if not isinstance(self.core, SpinDescriptor):
            raise ConfigError(
                "a compressed model cannot change its type_map; fine-tune the original."
            )
        order, _ = get_index_between_two_maps(self.type_map, type_map)
        fresh = model_with_new_type_stat
        if fresh is None:
            fresh = DescrptSpinSeA(
                **self.config, type_map=type_map, use_spin=[False] * len(type_map)
            )
        for name in _PER_TYPE:
            own = getattr(self.core, name)
            added = getattr(fresh.core, name).to(own)
            if own.shape[1:] != added.shape[1:]:
                raise ConfigError(
                    f"descriptor: the pretrained model has {name} of width "
                    f"{own.shape[1]}, the new one of {added.shape[1]}; give both the "
                    "same settings, or add --use-pretrain-script to `dp train`."
                )
            # Types of the old model count from the front, new ones from the back.
            rows = torch.cat([own.detach(), added.detach()])[order]
            if isinstance(own, torch.nn.Parameter):
                rows = torch.nn.Parameter(rows, requires_grad=own.requires_grad)
            setattr(self.core, name, rows)
        flags = [*self.use_spin, *fresh.use_spin]
        self.use_spin = [flags[place] for place in order]
        self.type_map = list(type_map)

    def set_stat_mean_and_stddev(self, mean: Any, stddev: Any) -> None:
        """Set the input scales, as :meth:`get_stat_mean_and_stddev` gives them."""
        self.core.load_state_dict(stddev, strict=False)

    def get_stat_mean_and_stddev(self) -> tuple[None, dict[str, torch.Tensor]]:
        """Return no means and the buffers with the input scales."""
        return None, dict(self.core.named_buffers())

    def serialize(self) -> dict[str, Any]:
        """Return settings and weights as plain numbers and arrays."""
        if not isinstance(self.core, SpinDescriptor):
            raise ConfigError(
                "a compressed model cannot be converted; use the original."
            )
        return {
            "@class": "Descriptor",
            "type": "spin_se_e2_a",
            "@version": 1,
            "config": self.config,
            "use_spin": self.use_spin,
            "type_map": self.type_map,
            "@variables": {
                name: value.detach().cpu().numpy()
                for name, value in self.core.state_dict().items()
            },
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DescrptSpinSeA:
        """Rebuild what :meth:`serialize` wrote."""
        made = cls(
            use_spin=data["use_spin"], type_map=data["type_map"], **data["config"]
        )
        made.core.load_state_dict(
            {name: torch.as_tensor(v) for name, v in data["@variables"].items()}
        )
        return made

    @classmethod
    def update_sel(
        cls,
        train_data: Any,
        type_map: list[str] | None,
        local_jdata: dict[str, Any],
    ) -> tuple[dict[str, Any], float | None]:
        """Fill in ``sel: auto`` and find the shortest distance in the data."""
        found = local_jdata.copy()
        shortest, sel = UpdateSel().update_one_sel(
            train_data, type_map, found["rcut"], found.get("sel", "auto"), True
        )
        found["sel"] = sel[0]
        return found, shortest
