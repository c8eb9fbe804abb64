# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a run shows: states of sites, their bonds and moments, and who sits beside them.

Frames are read one at a time, so that a trajectory of any length will do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from spin_dp.dynamics.frames import read_trajectory, time_of
from spin_dp.dynamics.layers import REACH, find_layers
from spin_dp.errors import ConfigError, DataError
from spin_dp.files import replacing
from spin_dp.neighbours import find_pairs
from spin_dp.sampling.ion_sites import ALKALI
from spin_dp.spin_states.elements import carries_spin_state
from spin_dp.spin_states.nominal import find_nominal_state
from spin_dp.structures import NO_STATE, SPIN_STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from spin_dp.neighbours import Pairs

    Floats = NDArray[np.float64]

LIGANDS = ("O", "S", "F")
_LIGAND_COUNT = 6
_SHELL = 3.3  # Å: metals and lithium of the first shell around a metal
_RDF_END, _RDF_BIN = 6.0, 0.05  # Å
_EDGES = np.arange(0.0, _RDF_END + 0.5 * _RDF_BIN, _RDF_BIN)
_SMALL_MUB = 0.1

FILES = ("frames.csv", "states.csv", "rdf.csv")
"""Tables that :meth:`Analysis.write` leaves."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """Tables of a run.

    Attributes
    ----------
    frames
        A row for each frame: ``time_ps``; ``energy`` (eV); ``temperature`` (K);
        ``volume`` (Å³ an atom); ``a``, ``b``, ``c`` (Å), ``alpha``, ``beta``,
        ``gamma`` (°) of the cell; ``layer_spacing`` and ``slab`` (Å, see
        :class:`spin_dp.dynamics.layers.Layers`; nan without layers); ``moment`` (sum
        of the moments along z, μB); ``order`` (mean cosine between moments of
        neighbouring metals, nan without); ``changed`` (sites in another state than in
        the first frame); ``charge`` (sum of the oxidation states of the metals, e; nan
        if one is not known); ``alkali`` (ions a metal, x of LixMO2);
        ``ligand_charge`` (what metals and alkali ions leave for each ligand of a
        neutral cell, e: -2 for O2-, above it where oxygen holds a part of the holes)
        and ``ligand_moment``, ``ligand_moment_max`` (mean and largest length of their
        moments, μB); ``n STATE`` (sites in it).
    states
        A row for each state, means over sites and frames: ``sites`` (mean number);
        ``bond`` (to the six nearest ligands, Å); ``distortion`` (Δ = mean of
        |l - mean l| / mean l of them: W. H. Baur, Acta Cryst. B 30, 1195 (1974));
        ``stretch`` (two longest over four shortest: Jahn-Teller elongation above 1);
        ``moment`` (length, μB) and ``moment_spread``; ``mobile`` (alkali atoms within
        3.3 Å, to be compared between states: a hole that likes vacancies has fewer).
    rdf
        ``r`` (Å), and for each state the pair distribution to ligands and to metals,
        ``STATE-O``, ``STATE-metal``.
    """

    frames: pd.DataFrame
    states: pd.DataFrame
    rdf: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write the tables into a folder, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        tables = (self.frames, self.states, self.rdf)
        for name, table in zip(FILES, tables, strict=True):
            with replacing(folder / name) as part:
                table.round(6).to_csv(part, index=False)


def analyse(
    run: Path,
    *,
    skip_ps: float = 0.0,
    progress: Callable[[int], None] | None = None,
) -> Analysis:
    """Look at a run.

    Parameters
    ----------
    run
        Output folder of ``spin-dp md``, or a trajectory in extended XYZ. Frames of
        named labels have states; of others the elements take their place.
    skip_ps
        Left out at the start, ps.
    progress
        Called with the number of frames read.

    Raises
    ------
    DataError
        If there is no trajectory, or no frame with a metal in it.
    ConfigError
        If nothing is left.
    """
    seen = _Seen()
    for atoms in read_trajectory(run, progress):
        if (time_of(atoms) or 0.0) >= skip_ps:
            seen.add(atoms)
    if not seen.rows:
        raise ConfigError(
            f"{run}: no frame after {skip_ps:g} ps; skip less at the start."
        )
    if not seen.sites:
        raise DataError(f"{run}: expected metals with spin states, found none.")
    return seen.analysis()


@dataclass(eq=False)
class _Seen:
    """What was seen so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    sites: Counter[str] = field(default_factory=Counter)
    sums: dict[str, defaultdict[str, float]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(float))
    )
    distances: dict[str, Floats] = field(default_factory=dict)
    densities: dict[str, float] = field(default_factory=dict)  # summed over sites, 1/Å³
    first: Sequence[str] = ()

    def add(self, atoms: Atoms) -> None:
        names = _names(atoms)
        metals = np.array([name != "" for name in names])
        moments = _moments(atoms)
        pairs = find_pairs(atoms.cell.array, atoms.positions, REACH)
        self._count_frame(atoms, names, moments, pairs, metals)
        if metals.any():
            self._count_sites(atoms, names, moments, pairs, metals)

    def _count_frame(
        self,
        atoms: Atoms,
        names: Sequence[str],
        moments: Floats,
        pairs: Pairs,
        metals: NDArray[np.bool_],
    ) -> None:
        if not self.first:
            self.first = names
        near = metals[pairs.first] & metals[pairs.second] & (pairs.distances < _SHELL)
        first, second = pairs.first[near], pairs.second[near]
        lengths = np.linalg.norm(moments, axis=1)
        both = (lengths[first] > _SMALL_MUB) & (lengths[second] > _SMALL_MUB)
        first, second = first[both], second[both]
        cosines = (moments[first] * moments[second]).sum(axis=1)
        cosines /= lengths[first] * lengths[second]
        counts = Counter(name for name in names if name)
        charges = [find_nominal_state(name) for name in names if name]
        known = all(one is not None for one in charges)
        a, b, c, alpha, beta, gamma = atoms.cell.cellpar()
        ligands = np.isin(atoms.get_chemical_symbols(), LIGANDS)
        alkali = int(np.isin(atoms.get_chemical_symbols(), ALKALI).sum())
        charge = (
            float(sum(one.oxidation for one in charges if one is not None))
            if known
            else np.nan
        )
        layers = find_layers(atoms.cell.array, atoms.positions, pairs, metals, ligands)
        self.rows.append(
            {
                "time_ps": float(atoms.info.get("time_fs", 0.0)) * 1e-3,
                "energy": float(atoms.get_potential_energy()),
                "temperature": float(atoms.get_temperature()),
                "volume": float(atoms.get_volume()) / len(atoms),
                "a": a,
                "b": b,
                "c": c,
                "alpha": alpha,
                "beta": beta,
                "gamma": gamma,
                "layer_spacing": np.nan if layers is None else layers.spacing,
                "slab": np.nan if layers is None else layers.slab,
                "moment": float(moments[:, 2].sum()),
                "order": _mean(cosines),
                "changed": sum(
                    one != other for one, other in zip(names, self.first, strict=True)
                ),
                "charge": charge,
                "alkali": alkali / (metals.sum() or np.nan),
                "ligand_charge": -(charge + alkali) / (ligands.sum() or np.nan),
                "ligand_moment": _mean(lengths[ligands]),
                "ligand_moment_max": lengths[ligands].max(initial=0.0),
                **{f"n {name}": count for name, count in sorted(counts.items())},
            }
        )

    def _count_sites(
        self,
        atoms: Atoms,
        names: Sequence[str],
        moments: Floats,
        pairs: Pairs,
        metals: NDArray[np.bool_],
    ) -> None:
        symbols = np.array(atoms.get_chemical_symbols())
        is_ligand, is_mobile = np.isin(symbols, LIGANDS), np.isin(symbols, ALKALI)
        order = np.lexsort((pairs.distances, pairs.first))
        first, second = pairs.first[order], pairs.second[order]
        distances = pairs.distances[order]
        lengths = np.linalg.norm(moments, axis=1)
        bounds = np.searchsorted(first, np.arange(len(atoms) + 1))
        volume = atoms.get_volume()
        for site in np.flatnonzero(metals).tolist():
            name = names[site]
            here = slice(bounds[site], bounds[site + 1])
            others, apart = second[here], distances[here]
            bonds = apart[is_ligand[others]][:_LIGAND_COUNT]
            sums = self.sums[name]
            self.sites[name] += 1
            sums["moment"] += lengths[site]
            sums["moment_square"] += lengths[site] ** 2
            sums["mobile"] += int((is_mobile[others] & (apart < _SHELL)).sum())
            if len(bonds) == _LIGAND_COUNT:
                mean = float(bonds.mean())
                sums["octahedra"] += 1
                sums["bond"] += mean
                sums["distortion"] += float(np.abs(bonds - mean).mean()) / mean
                sums["stretch"] += float(bonds[4:].mean() / bonds[:4].mean())
            for kind, wanted in (("O", is_ligand), ("metal", metals)):
                key = f"{name}-{kind}"
                found, _ = np.histogram(apart[wanted[others]], _EDGES)
                self.distances[key] = self.distances.get(key, 0.0) + found
                density = float(wanted.sum()) / volume
                self.densities[key] = self.densities.get(key, 0.0) + density

    def analysis(self) -> Analysis:
        n_frames = len(self.rows)
        frames = pd.DataFrame(self.rows)
        for column in [str(name) for name in frames if str(name).startswith("n ")]:
            frames[column] = frames[column].fillna(0).astype(int)
        rows = []
        for name in sorted(self.sites):
            count, sums = self.sites[name], self.sums[name]
            octahedra = sums["octahedra"] or np.nan
            mean = sums["moment"] / count
            variance = max(sums["moment_square"] / count - mean**2, 0.0)
            rows.append(
                {
                    "state": name,
                    "sites": count / n_frames,
                    **{
                        key: sums[key] / octahedra
                        for key in ("bond", "distortion", "stretch")
                    },
                    "moment": mean,
                    "moment_spread": np.sqrt(variance),
                    "mobile": sums["mobile"] / count,
                }
            )
        shells = 4.0 / 3.0 * np.pi * np.diff(_EDGES**3)
        rdf = {"r": 0.5 * (_EDGES[1:] + _EDGES[:-1])}
        for key in sorted(self.distances):
            rdf[key] = self.distances[key] / (shells * (self.densities[key] or np.nan))
        return Analysis(frames, pd.DataFrame(rows), pd.DataFrame(rdf))


def _names(atoms: Atoms) -> list[str]:
    """Return the state of each site, its element where it has no name, else ""."""
    symbols = atoms.get_chemical_symbols()
    carried = atoms.arrays.get(SPIN_STATES)
    states = (
        [NO_STATE] * len(atoms)
        if carried is None
        else [str(one).removeprefix("-") for one in carried]
    )
    return [
        state if state != NO_STATE else (symbol if carries_spin_state(symbol) else "")
        for state, symbol in zip(states, symbols, strict=True)
    ]


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else np.nan


def _moments(atoms: Atoms) -> Floats:
    results = {} if atoms.calc is None else atoms.calc.results
    moments = np.asarray(results.get("magmoms", np.zeros(len(atoms))), dtype=np.float64)
    if moments.ndim == 1:
        moments = np.stack([np.zeros_like(moments)] * 2 + [moments], axis=1)
    return moments
