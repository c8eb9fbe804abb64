# SPDX-License-Identifier: LGPL-3.0-or-later
"""Running any model of deepmd-kit over labelled frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spin_dp.errors import DataError

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from spin_dp.evaluation.systems import LabelledSystem

    Floats = NDArray[np.float64]

_ATOMS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What a model gives for the frames of one system.

    Attributes
    ----------
    energies, forces
        (nf,) eV; -dE/dx, (nf, natoms, 3) eV/Å.
    virials
        -dE/dstrain, (nf, 3, 3) eV.
    magnetic_forces
        -dE/dm, (nf, natoms, 3) eV/μB, zero on elements without moments; None of a
        model that reads no moments.
    moments
        Predicted from the guess of the system, (nf, natoms, 3) μB; None of a model that
        predicts none, or without a guess.
    """

    energies: Floats
    forces: Floats
    virials: Floats
    magnetic_forces: Floats | None
    moments: Floats | None = None


class Potential:
    """A model file that ``deepmd.infer.DeepPot`` opens, with or without spin.

    Parameters
    ----------
    path
        A frozen model (.pth), a checkpoint (.pt), or another format that an installed
        back end of deepmd-kit reads.

    Raises
    ------
    DataError
        If there is no such file or deepmd-kit cannot read it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(
                f"{self.path}: no such model file; write one with "
                f"`dp --pt freeze -o {self.path}`."
            )
        from deepmd.infer import DeepPot  # heavy: brings torch

        try:
            self._potential = DeepPot(str(self.path), auto_batch_size=False)
            self.type_map: list[str] = list(self._potential.get_type_map())
        except Exception as error:  # each back end of deepmd-kit fails in its own way
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"{self.path}: expected a model that deepmd-kit reads ({reason}); "
                "write one with `dp --pt freeze`."
            ) from error
        self.reads_moments = bool(self._potential.has_spin)
        wrapper = getattr(self._potential.deep_eval, "dp", None)
        self._module = None if wrapper is None else wrapper.model["Default"]
        asked = getattr(self._module, "predicts_moments", None)
        self.predicts_moments = bool(asked()) if asked is not None else False

    def predict(self, system: LabelledSystem) -> Predicted:
        """Return energies and their derivatives for all frames of a system.

        Parameters
        ----------
        system
            The frames; a spin model gets their moments.

        Returns
        -------
        Predicted
            In the order of the frames.

        Raises
        ------
        DataError
            If the model lacks an element of the system, or an energy is not a finite
            number.
        """
        types = self._types(system)
        n_frames = len(system.positions)
        parts = [self._run(system, types, part) for part in _parts(system)]
        columns = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        energies, forces, virials = columns[:3]
        wrong = int((~np.isfinite(energies)).sum())
        if wrong:
            raise DataError(
                f"{self.path}: its energy is not a finite number for {wrong} of "
                f"{n_frames} frames of {system.name}; check how it was trained."
            )
        return Predicted(
            energies,
            forces,
            virials,
            columns[3] if self.reads_moments else None,
            self._moments(system, types),
        )

    def _moments(self, system: LabelledSystem, types: list[int]) -> Floats | None:
        if system.initial_moments is None or not self.predicts_moments:
            return None
        import torch

        assert self._module is not None
        device = next(self._module.parameters()).device

        def tensor(array: Floats) -> torch.Tensor:
            return torch.tensor(np.array(array), device=device)

        parts = []
        for part in _parts(system):
            positions = tensor(system.positions[part])
            kinds = torch.tensor(types, device=device).expand(len(positions), -1)
            guess = tensor(system.initial_moments[part])
            cells = tensor(system.cells[part]).view(-1, 9)
            moments = self._module.predict_moments(positions, kinds, guess, cells)
            parts.append(moments.detach().cpu().numpy())
        return np.concatenate(parts)

    def _types(self, system: LabelledSystem) -> list[int]:
        missing = sorted(set(system.symbols) - set(self.type_map))
        if missing:
            raise DataError(
                f"{self.path}: the model knows {', '.join(self.type_map)}, but "
                f"{system.name} holds {', '.join(missing)}; give a model trained with "
                "these elements in its type map, or leave the model out."
            )
        return [self.type_map.index(symbol) for symbol in system.symbols]

    def _run(
        self, system: LabelledSystem, types: list[int], part: slice
    ) -> list[Floats]:
        """Return energies, forces, virials and, of a spin model, magnetic forces."""
        positions = np.array(system.positions[part])
        n_frames = len(positions)
        spin = {}
        if self.reads_moments:
            spin["spin"] = np.array(system.moments[part]).reshape(n_frames, -1)
        output = self._potential.eval(
            positions.reshape(n_frames, -1),
            np.array(system.cells[part]).reshape(n_frames, -1),
            types,
            **spin,
        )
        # Energy, force, virial; of a spin model then magnetic force and its mask.
        shapes = [(n_frames,), positions.shape, (n_frames, 3, 3)]
        if self.reads_moments:
            shapes.append(positions.shape)
        return [
            np.asarray(values, dtype=float).reshape(shape)
            for values, shape in zip(output, shapes, strict=False)
        ]


def _parts(system: LabelledSystem) -> list[slice]:
    """Return slices of the frames that hold about as many atoms as a batch."""
    n_frames, n_atoms = system.positions.shape[:2]
    size = max(1, _ATOMS_AT_ONCE // n_atoms)
    return [slice(start, start + size) for start in range(0, n_frames, size)]
