# SPDX-License-Identifier: LGPL-3.0-or-later
"""Formats for dpdata: ``vasp/outcar/spin``, and ``spin_dp`` for all that is read here.

The labelled systems have ``spins`` (nf, nloc, 3) in μB and, where the source has them,
``force_mags`` (nf, nloc, 3) in eV/μB, which ``to("deepmd/npy", ...)`` writes as
``spin.npy`` and ``force_mag.npy``. dpdata loads this module while it is being imported.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from dpdata.format import Format

from spin_dp.data_tools.frame import Frame
from spin_dp.data_tools.readers.registry import find_sources, read_source
from spin_dp.data_tools.readers.vasp.outcar import read_outcar
from spin_dp.data_tools.systems.writing import atom_order
from spin_dp.errors import ConfigError, DataError
from spin_dp.spin_states.elements import type_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spin_dp.data_tools.frame import Array, Rejected

log = logging.getLogger(__name__)


class _SpinFormat(Format):  # type: ignore[misc]
    """What both formats share."""

    def read(self, path: str | os.PathLike[str]) -> Iterator[Frame | Rejected]:
        """Yield all frames of a source, usable or rejected."""
        raise NotImplementedError

    def from_labeled_system(
        self,
        file_name: str | os.PathLike[str] | list[Frame],
        type_map: Sequence[str] | None = None,
        begin: int = 0,
        step: int = 1,
        convergence_check: bool = True,
    ) -> dict[str, Any]:
        """Return the data of a labelled system.

        Parameters
        ----------
        file_name
            What to read; a list of frames comes from :meth:`from_multi_systems`.
        type_map
            Elements in the order of their type numbers; by default those of the frames.
        begin, step
            First usable frame taken, from 0, and distance to the next.
        convergence_check
            dpdata's default; unconverged steps are never taken.

        Returns
        -------
        dict
            Data of dpdata, atoms sorted by type.

        Raises
        ------
        DataError
            If nothing can be used, or frames differ in composition or level of theory.
        """
        if not convergence_check:
            raise ConfigError(
                "convergence_check=False: unconverged steps have no valid moments; "
                "leave the argument out"
            )
        frames = (
            file_name
            if isinstance(file_name, list)
            else _usable(self.read(file_name), file_name)
        )
        return _system(frames[begin::step], type_map)

    def from_multi_systems(
        self,
        directory: str | os.PathLike[str],
        **options: Any,  # noqa: ANN401, ARG002
    ) -> Iterator[list[Frame]]:
        """Yield the frames of each composition, for :class:`dpdata.MultiSystems`."""
        members: dict[str, list[Frame]] = defaultdict(list)
        for frame in _usable(self.read(directory), directory):
            members[frame.formula].append(frame)
        yield from members.values()


@Format.register("vasp/outcar/spin")
class OutcarSpinFormat(_SpinFormat):
    """VASP OUTCAR with the moments of every ionic step."""

    def read(self, path: str | os.PathLike[str]) -> Iterator[Frame | Rejected]:
        """Yield all ionic steps of an OUTCAR, usable or rejected."""
        return read_outcar(Path(path))


@Format.register("spin_dp")
class SpinDPFormat(_SpinFormat):
    """Any file or folder that spin-dp reads."""

    def read(self, path: str | os.PathLike[str]) -> Iterator[Frame | Rejected]:
        """Yield all frames of all sources found, usable or rejected."""
        for source in find_sources([path]):
            yield from read_source(source)


def _usable(
    items: Iterable[Frame | Rejected], path: str | os.PathLike[str]
) -> list[Frame]:
    """Return the usable frames; say how many were left out, and why."""
    frames: list[Frame] = []
    reasons: Counter[str] = Counter()
    for item in items:
        if isinstance(item, Frame):
            frames.append(item)
        else:
            reasons[item.reason] += 1
    words = "; ".join(f"{count} x {why}" for why, count in reasons.most_common())
    if not frames:
        raise DataError(f"{os.fspath(path)}: no frame can be used: {words}")
    if reasons:
        total = len(frames) + reasons.total()
        log.warning(
            "%s: %d of %d frames skipped: %s", path, reasons.total(), total, words
        )
    return frames


def _system(frames: Sequence[Frame], type_map: Sequence[str] | None) -> dict[str, Any]:
    if not frames:
        raise DataError("no frame is left after begin and step")
    _register_data_types()
    names = list(type_map or type_order(frames[0].symbols))
    _check_alike(frames, names)
    orders = [atom_order(frame.symbols, names) for frame in frames]
    types = [names.index(frames[0].symbols[i]) for i in orders[0]]

    def per_atom(arrays: Iterable[Array]) -> Array:
        return np.stack([a[order] for a, order in zip(arrays, orders, strict=True)])

    data: dict[str, Any] = {
        "atom_names": names,
        "atom_numbs": [types.count(kind) for kind in range(len(names))],
        "atom_types": np.array(types),
        "orig": np.zeros(3),
        "cells": np.stack([frame.cell for frame in frames]),
        "coords": per_atom(frame.positions for frame in frames),
        "energies": np.array([frame.energy for frame in frames]),
        "forces": per_atom(frame.forces for frame in frames),
        "spins": per_atom(frame.moments for frame in frames),
    }
    virials = [frame.virial for frame in frames if frame.virial is not None]
    if len(virials) == len(frames):
        data["virials"] = np.stack(virials)
    magnetic = [f.magnetic_forces for f in frames if f.magnetic_forces is not None]
    if len(magnetic) == len(frames):
        data["force_mags"] = per_atom(magnetic)
    return data


def _check_alike(frames: Sequence[Frame], names: Sequence[str]) -> None:
    first = frames[0]
    for frame in frames:
        if frame.formula != first.formula:
            raise DataError(
                f"frames of {first.formula} ({first.source}) and {frame.formula} "
                f"({frame.source}) in one system; read them with dpdata.MultiSystems"
            )
        if frame.level.id != first.level.id:
            raise DataError(
                f"frames at levels {first.level.id} ({first.source}) and "
                f"{frame.level.id} ({frame.source}) in one system; "
                "their energies cannot be compared: read them apart"
            )
    absent = [symbol for symbol in type_order(first.symbols) if symbol not in names]
    if absent:
        raise DataError(
            f"{first.source}: {absent[0]} is not in the type map {', '.join(names)}"
        )


def _register_data_types() -> None:
    """Tell dpdata of spins and force_mags; its own formats do so too when they read."""
    import dpdata
    from dpdata.data_type import Axis, DataType

    for name, file_name in (("spins", "spin"), ("force_mags", "force_mag")):
        kind = DataType(
            name,
            np.ndarray,
            (Axis.NFRAMES, Axis.NATOMS, 3),
            required=False,
            deepmd_name=file_name,
        )
        dpdata.System.register_data_type(kind)
        dpdata.LabeledSystem.register_data_type(kind)
