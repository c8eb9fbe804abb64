# SPDX-License-Identifier: LGPL-3.0-or-later
"""What runs a model file: with our neighbours, as in LAMMPS, or through deepmd-kit."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from spin_dp.errors import DataError
from spin_dp.inference.kernels import kernel_of_checkpoint, load_kernel
from spin_dp.inference.neighbourhood import find_neighbourhood, stack_neighbourhoods
from spin_dp.inference.training_range import check_positions
from spin_dp.model_file import ModelInfo, require_file

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from spin_dp.inference.kernels import Kernel
    from spin_dp.inference.neighbourhood import Neighbourhood

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Energies and derivatives of nf frames with n atoms.

    Attributes
    ----------
    energies, forces, virials
        (nf,) eV; -dE/dx, (nf, n, 3) eV/Å; minus volume times stress, (nf, 3, 3) eV.
    magnetic_forces
        -dE/dm, (nf, n, 3) eV/μB, zero on elements without moments; None of a model that
        reads no moments.
    atomic_energies
        (nf, n), eV; None of a model that deepmd-kit runs.
    moments
        Predicted from a guess, (nf, n, 3) μB, where that was asked for.
    """

    energies: Floats
    forces: Floats
    virials: Floats
    magnetic_forces: Floats | None = None
    atomic_energies: Floats | None = None
    moments: Floats | None = None

    @classmethod
    def joined(cls, parts: Sequence[Predicted]) -> Predicted:
        """Return the frames of all parts."""
        joined: dict[str, Any] = {}
        for column in fields(cls):
            values = [getattr(part, column.name) for part in parts]
            joined[column.name] = None if values[0] is None else np.concatenate(values)
        return cls(**joined)


@dataclass(frozen=True, eq=False)
class Geometries:
    """nf frames of n atoms each.

    Attributes
    ----------
    positions, cells
        (nf, n, 3) and (nf, 3, 3), vectors as rows, Å.
    periodic
        Along which cell vectors the atoms repeat, in all frames.
    """

    positions: Floats
    cells: Floats
    periodic: Sequence[bool] = (True, True, True)
    _found: dict[float, Neighbourhood] = field(default_factory=dict, repr=False)

    def part(self, rows: slice) -> Geometries:
        """Return some of the frames; the only one if it serves all moments."""
        if len(self.positions) == 1:
            return self
        return Geometries(self.positions[rows], self.cells[rows], self.periodic)

    def neighbourhood(self, cutoff: float) -> Neighbourhood:
        """Return ghosts and neighbours, found once.

        Raises
        ------
        DataError
            If positions or cells are not finite, or a periodic cell has no volume.
        """
        if cutoff not in self._found:
            self._found[cutoff] = stack_neighbourhoods(
                [
                    self._find(positions, cell, cutoff)
                    for positions, cell in zip(self.positions, self.cells, strict=True)
                ]
            )
        return self._found[cutoff]

    def _find(self, positions: Floats, cell: Floats, cutoff: float) -> Neighbourhood:
        check_positions(positions, cell, self.periodic)
        return find_neighbourhood(positions, cell, self.periodic, cutoff)


class Engine(Protocol):
    """What runs a model."""

    info: ModelInfo

    def evaluate(
        self, geometries: Geometries, types: Ints, moments: Floats | None
    ) -> Predicted:
        """Return energies and derivatives; one geometry may serve many moments.

        Parameters
        ----------
        geometries
            nf frames, or one.
        types
            Type of each atom, (n,).
        moments
            (nf, n, 3), μB; None of a model that reads none.
        """

    def energies(
        self, geometries: Geometries, types: Ints, moments: Floats | None
    ) -> Floats:
        """Return energies alone, (nf,), eV; arguments as for :meth:`evaluate`."""

    def predict_moments(
        self, geometries: Geometries, types: Ints, guess: Floats
    ) -> Floats:
        """Return converged moments from a guess, (nf, n, 3), μB."""

    def energies_of(
        self, positions: Floats, types: Ints, moments: Floats, neighbours: Ints
    ) -> Floats:
        """Return the energies of the first atoms, whose neighbours are brought.

        See :meth:`spin_dp.inference.potential.Potential.energies_of`.
        """


def open_engine(path: str | os.PathLike[str], device: str | None = None) -> Engine:
    """Open a model file.

    Raises
    ------
    DataError
        If there is no such file, or deepmd-kit cannot read it.
    """
    path = Path(path)
    require_file(path)
    kernel = load_kernel(path, device)
    if kernel is not None:
        return NeighbourEngine(kernel)
    host = HostEngine(path)
    kernel = kernel_of_checkpoint(path, host.module)
    return host if kernel is None else NeighbourEngine(kernel)


class NeighbourEngine:
    """Runs a model as LAMMPS does: neighbours and ghosts are brought to it.

    Parameters
    ----------
    kernel
        The loaded model.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.info = kernel.info

    def evaluate(
        self, geometries: Geometries, types: Ints, moments: Floats | None
    ) -> Predicted:
        """Return energies and derivatives, see :class:`Engine`."""
        assert moments is not None  # such models read them
        nf, n = moments.shape[:2]
        tensors = self._tensors(geometries, types, moments)
        found, owner = self._kernel.energy(*tensors), tensors[-1]

        def of_atoms(name: str) -> Floats:
            """Add what ghosts feel to the atoms that they are images of."""
            values = found[name].view(nf, -1, 3).double()
            total = values[:, :n].clone()
            index = owner[:, n:, None].expand(-1, -1, 3)
            return _array(total.scatter_add_(1, index, values[:, n:]))

        return Predicted(
            energies=_array(found["energy"].view(nf)),
            forces=of_atoms("force"),
            virials=_array(found["virial"].view(nf, 3, 3)),
            magnetic_forces=of_atoms("force_mag"),
            atomic_energies=_array(found["atom_energy"].view(nf, n)),
        )

    def energies(
        self, geometries: Geometries, types: Ints, moments: Floats | None
    ) -> Floats:
        """Return energies alone, see :class:`Engine`."""
        assert moments is not None  # such models read them
        nf = len(geometries.positions)
        states = moments.reshape(nf, -1, *moments.shape[1:])
        found = self._kernel.energies(*self._tensors(geometries, types, states))
        return _array(found.double().sum(2).view(-1))

    def predict_moments(
        self, geometries: Geometries, types: Ints, guess: Floats
    ) -> Floats:
        """Return converged moments, see :class:`Engine`."""
        return _array(self._kernel.moments(*self._tensors(geometries, types, guess)))

    def energies_of(
        self, positions: Floats, types: Ints, moments: Floats, neighbours: Ints
    ) -> Floats:
        """Return the energies of the first atoms, see :class:`Engine`."""
        import torch

        arrays = (positions, types, moments[None], neighbours, np.arange(len(types)))
        tensors = (torch.as_tensor(a, device=self._kernel.device)[None] for a in arrays)
        return _array(self._kernel.energies(*tensors).view(-1))

    def _tensors(
        self, geometries: Geometries, types: Ints, moments: Floats
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return positions, types, moments, neighbours and owners of all frames.

        Moments are of each frame, (nf, n, 3), or of its states, (nf, ns, n, 3).
        """
        import torch

        near = geometries.neighbourhood(self.info.cutoff)
        nf = len(moments)

        def tensor(array: NDArray[Any]) -> torch.Tensor:
            whole = torch.as_tensor(array, device=self._kernel.device)
            return whole.expand(nf, *whole.shape[1:]).contiguous()

        owner = np.broadcast_to(near.owner, (nf, near.owner.shape[1]))
        members = owner[..., None] if moments.ndim == 3 else owner[:, None, :, None]
        spin = np.take_along_axis(moments, members, axis=-2)
        return (
            tensor(near.positions),
            tensor(types[near.owner]),
            tensor(spin),
            tensor(near.neighbours),
            tensor(near.owner),
        )


class HostEngine:
    """Runs whatever ``deepmd.infer.DeepPot`` opens.

    Parameters
    ----------
    path
        The model's file.

    Attributes
    ----------
    info
        What it says of itself.
    module
        PyTorch's module in it, if there is one.

    Raises
    ------
    DataError
        If deepmd-kit cannot read it.
    """

    def __init__(self, path: Path) -> None:
        from deepmd.infer import DeepPot  # heavy: brings torch

        try:
            self._potential = DeepPot(str(path), auto_batch_size=False)
            type_map = list(self._potential.get_type_map())
        except Exception as error:  # each back end of deepmd-kit fails in its own way
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"{path}: expected a model that deepmd-kit reads ({reason}); "
                "write one with `dp --pt freeze`."
            ) from error
        wrapper = getattr(self._potential.deep_eval, "dp", None)
        self.module: Any = None if wrapper is None else wrapper.model["Default"]
        has_spin = bool(self._potential.has_spin)
        self.info = ModelInfo(
            path,
            type_map,
            [has_spin] * len(type_map),
            float(self._potential.get_rcut()),
            has_spin,
        )

    def evaluate(
        self, geometries: Geometries, types: Ints, moments: Floats | None
    ) -> Predicted:
        """Return energies and derivatives, see :class:`Engine`."""
        n, spin = len(types), {}
        k = len(geometries.positions)
        if moments is not None:
            k = len(moments)
            spin["spin"] = moments.reshape(k, -1)
        positions = np.broadcast_to(geometries.positions, (k, n, 3)).reshape(k, -1)
        cells = np.broadcast_to(geometries.cells, (k, 3, 3)).reshape(k, 9)
        # Energy, force, virial; of a spin model then magnetic force and its mask.
        output = self._potential.eval(
            positions, cells if any(geometries.periodic) else None, types, **spin
        )
        shapes = (k,), (k, n, 3), (k, 3, 3), (k, n, 3)
        used = output[: 3 if moments is None else 4]
        return Predicted(
            *(
                np.asarray(array, dtype=np.float64).reshape(shape)
                for array, shape in zip(used, shapes, strict=False)
            )
        )

    def energies(
        self, geometries: Geometries, types: Ints, moments: Floats | None
    ) -> Floats:
        """Return energies alone, which cost deepmd-kit all that it computes."""
        return self.evaluate(geometries, types, moments).energies

    def predict_moments(
        self, geometries: Geometries, types: Ints, guess: Floats
    ) -> Floats:
        """Refuse: such models predict none."""
        raise NotImplementedError

    def energies_of(
        self, positions: Floats, types: Ints, moments: Floats, neighbours: Ints
    ) -> Floats:
        """Refuse: deepmd-kit finds the neighbours itself."""
        raise NotImplementedError


def _array(values: torch.Tensor) -> Floats:
    return np.asarray(values.numpy(force=True), dtype=np.float64)
