# SPDX-License-Identifier: LGPL-3.0-or-later
"""Frames as stacked arrays, a model as a function of them, and how results compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
from ase.build import bulk
from numpy.typing import NDArray

Array = NDArray[np.float64]
Check = TypeVar("Check", bound=Callable[..., None])

TYPE_MAP = ["Li", "Mn", "Co", "Ni", "O"]
N_FRAMES = 20

FLOAT64 = 1e-10
"""Relative error allowed where the nets are in float64."""
FLOAT32 = 2e-5
"""The same for nets in float32, whose eps is 1.2e-7: rounded inputs and sums over some
fifty neighbours cost up to 4e-6 of the largest force, 1e-7 of the energies."""


@dataclass(frozen=True)
class Frames:
    """Frames of equal numbers of atoms; ``cell`` is None for clusters."""

    positions: Array  # (nf, n, 3), Å
    cell: Array | None  # (nf, 3, 3), Å
    types: NDArray[np.int64]  # (nf, n)
    moments: Array  # (nf, n, 3), μB

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, which: slice | list[int]) -> Frames:
        cell = None if self.cell is None else self.cell[which]
        return Frames(
            self.positions[which], cell, self.types[which], self.moments[which]
        )

    @property
    def box(self) -> Array:
        """Cells of frames that have one."""
        assert self.cell is not None
        return self.cell

    def repeat(self, times: int) -> Frames:
        """Return each frame that many times, copies side by side."""
        return self[[frame for frame in range(len(self)) for _ in range(times)]]


@dataclass(frozen=True)
class Result:
    """What a model says of frames; eV, Å, μB."""

    energy: Array  # (nf,)
    atom_energy: Array  # (nf, n)
    force: Array  # (nf, n, 3)
    force_mag: Array  # (nf, n, 3)
    virial: Array  # (nf, 3, 3)
    atom_virial: Array  # (nf, n, 3, 3)

    def turned(self, turn: Array) -> Result:
        """Return the result for positions turned by matrices (nf, 3, 3)."""
        return replace(
            self,
            force=np.einsum("fab,fib->fia", turn, self.force),
            virial=np.einsum("fab,fbc,fdc->fad", turn, self.virial, turn),
            atom_virial=np.einsum("fab,fibc,fdc->fiad", turn, self.atom_virial, turn),
        )

    def moments_turned(self, turn: Array) -> Result:
        """Return the result for moments turned by matrices (nf, 3, 3)."""
        return replace(self, force_mag=np.einsum("fab,fib->fia", turn, self.force_mag))


def random_frames(number: int = N_FRAMES, seed: int = 0) -> Frames:
    """Return rocksalt cells of mixed cations, displaced, strained, with noncollinear
    moments on every atom (also those whose moments the model must not read)."""
    atoms = bulk("NiO", "rocksalt", a=4.17, cubic=True)
    n = len(atoms)
    rng = np.random.default_rng(seed)
    strain = np.eye(3) + rng.normal(0, 0.02, (number, 3, 3))
    positions = atoms.positions @ strain + rng.normal(0, 0.12, (number, n, 3))
    types = np.where(atoms.numbers == 8, 4, rng.integers(0, 4, (number, n)))
    types[:, 0] = 0  # at least one atom without moment,
    types[:, 1] = 1  # and one with
    moments = rng.normal(0, 1.5, (number, n, 3))
    return Frames(positions, atoms.cell.array @ strain, types, moments)


def random_rotations(number: int, seed: int = 0) -> Array:
    """Return proper rotation matrices (number, 3, 3)."""
    q, _ = np.linalg.qr(np.random.default_rng(1000 + seed).normal(size=(number, 3, 3)))
    return np.asarray(q * np.sign(np.linalg.det(q))[:, None, None])


def tensors(frames: Frames) -> tuple[Any, Any, Any, Any]:
    """Return coordinates, types, moments and box as the model's forward takes them."""
    import torch

    nf = len(frames)
    box = None if frames.cell is None else torch.tensor(frames.cell.reshape(nf, 9))
    return (
        torch.tensor(frames.positions),
        torch.tensor(frames.types),
        torch.tensor(frames.moments),
        box,
    )


def with_neighbours(frames: Frames, reach: float) -> tuple[Any, ...]:
    """Return positions, types and moments with ghosts, neighbours closer than a reach,
    and of which atom each is an image, as LAMMPS gives them."""
    import torch
    from deepmd.pt.utils.nlist import extend_input_and_build_neighbor_list

    coord, types, moments, box = tensors(frames)
    coord, atype, mapping, nlist = extend_input_and_build_neighbor_list(
        coord, types, reach, [1], mixed_types=True, box=box, cap_neighbors=False
    )
    index = mapping.unsqueeze(-1).expand(-1, -1, 3)
    return coord, atype, torch.gather(moments, 1, index), nlist, mapping


def evaluate(model: Any, frames: Frames) -> Result:
    """Return what a model says, all frames in one batch."""
    nf, n = frames.types.shape
    out = model(*tensors(frames), do_atomic_virial=True)
    shapes = {
        "energy": (nf,),
        "atom_energy": (nf, n),
        "force": (nf, n, 3),
        "force_mag": (nf, n, 3),
        "virial": (nf, 3, 3),
        "atom_virial": (nf, n, 3, 3),
    }
    return Result(
        **{
            name: np.asarray(out[name].detach().numpy().reshape(shape), float)
            for name, shape in shapes.items()
        }
    )


def assert_same(got: Array, expected: Array, relative: float, what: str) -> None:
    """Compare arrays (nf, ...), relative to the largest entry of each frame."""
    axes = tuple(range(1, expected.ndim))
    assert got.shape == expected.shape, f"{what}: {got.shape}, not {expected.shape}"
    error = np.abs(got - expected).max(axis=axes)
    scale = np.abs(expected).max(axis=axes)
    good = error <= relative * scale  # False for NaN, too
    if not good.all():
        worst = int(np.argmin(good))
        raise AssertionError(
            f"{what} of frame {worst}: off by {error[worst]:.3g}, largest entry "
            f"{scale[worst]:.3g}, {relative:.0e} of it allowed"
        )


def assert_results(got: Result, expected: Result, relative: float) -> None:
    """Compare everything a model says."""
    for entry in fields(Result):
        name = entry.name
        assert_same(getattr(got, name), getattr(expected, name), relative, name)


@dataclass(frozen=True)
class Variant:
    """One way to build the model of a contract.

    Parameters
    ----------
    descriptor
        Settings of the descriptor beyond those of the contract.
    use_spin
        Elements whose moments are read.
    precision
        Of the nets, descriptor and fitting.
    compressed
        Whether radial nets are tabulated.
    repulsion
        Whether the model has the repulsion of the contract.
    """

    descriptor: dict[str, Any] = field(default_factory=dict)
    use_spin: tuple[str, ...] = ("Mn", "Co", "Ni")
    precision: Literal["float64", "float32"] = "float64"
    compressed: bool = False
    repulsion: bool = True


@dataclass(frozen=True)
class Subject:
    """A model under test and the frames it is tested on.

    Parameters
    ----------
    model
        The model, a module with the forward of ``spin_dp.model.energy``.
    frames
        Frames to test on.
    variant
        How it was built.
    build
        Builds the model of another variant with the same weights.
    contract
        The contract class, for what else a check has to know.
    """

    model: Any
    frames: Frames
    variant: Variant = Variant()
    build: Callable[[Variant], Any] | None = None
    contract: Any = None

    @cached_property
    def result(self) -> Result:
        """What the model says of its frames."""
        return evaluate(self.model, self.frames)

    @property
    def relative(self) -> float:
        """Relative error allowed."""
        return FLOAT64 if self.variant.precision == "float64" else FLOAT32

    @property
    def reads_moment(self) -> NDArray[np.bool_]:
        """For each type whether its moments are read."""
        return np.array([name in self.variant.use_spin for name in TYPE_MAP])

    @property
    def cutoff(self) -> float:
        """Cutoff radius, Å."""
        return float(self.model.get_rcut())

    def evaluate(self, frames: Frames) -> Result:
        """Return what the model says of other frames."""
        return evaluate(self.model, frames)

    def expect(self, frames: Frames, expected: Result) -> None:
        """Assert what the model says of other frames."""
        assert_results(self.evaluate(frames), expected, self.relative)

    def twin(self, **changes: Any) -> Any:
        """Return a model of the same weights, built with changes to the variant."""
        assert self.build is not None
        return self.build(replace(self.variant, **changes))


def requires(*capabilities: str) -> Callable[[Check], Check]:
    """Mark a check that is skipped where a contract switches a capability off."""

    def mark(check: Check) -> Check:
        check.requires = capabilities  # type: ignore[attr-defined]
        return check

    return mark


def only_for(wanted: Callable[[Variant], bool]) -> Callable[[Check], Check]:
    """Mark a check that is made for some of the variants only."""

    def mark(check: Check) -> Check:
        check.only_for = wanted  # type: ignore[attr-defined]
        return check

    return mark


def in_double(variant: Variant) -> bool:
    """Tell variants with nets in float64: differences are too noisy in float32."""
    return variant.precision == "float64"


def not_compressed(variant: Variant) -> bool:
    """Tell variants whose nets are nets: tables are for inference alone."""
    return not variant.compressed


def first_only(variant: Variant) -> bool:
    """Tell the default variant, for checks that take long."""
    return variant == Variant()
