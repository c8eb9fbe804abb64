# SPDX-License-Identifier: LGPL-3.0-or-later
"""All hops of a crystal: barriers, how far they lead, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from ase import units

from spin_dp.drawing import COLOURS, plain
from spin_dp.properties.migration.barrier import migration_barrier
from spin_dp.properties.migration.ends import hop_ends
from spin_dp.properties.migration.percolation import (
    Edge,
    percolation,
    site_energies,
    vacancy_diffusivity,
)
from spin_dp.properties.migration.rates import attempt_frequency, hop_rate
from spin_dp.properties.migration.settings import NetworkSettings
from spin_dp.properties.migration.surface import Surface
from spin_dp.properties.result import Result, value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from spin_dp.properties.migration.ends import HopEnds
    from spin_dp.properties.migration.hops import HopNetwork
    from spin_dp.properties.migration.result import Barrier
    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

    Floats = NDArray[np.float64]

_SQUARE_CM = 1e4  # of a square metre


@dataclass(frozen=True, kw_only=True, eq=False)
class MigrationNetwork(Result):
    """Hops of a crystal as a network of sites.

    Attributes
    ----------
    vacancies, electron
        As asked for.
    frequency
        Attempt frequency, Hz, or ``harmonic``.
    hops
        A row for each distinct hop: ``hop``, ``way``, ``distance`` (Å), ``copies``,
        ``barrier``, ``back``, ``reaction_energy`` (eV), ``spread`` (of the barrier,
        eV), ``nearest_anion`` and ``nearest_metal`` (Å), ``state`` and ``final_state``
        (keys), ``converged``, ``prefactor`` (Hz), and ``rate at T K`` (1/s).
    edges
        A row for each hop: ``start``, ``end``, ``a``, ``b``, ``c`` (cell of the end),
        ``hop``, ``barrier``, ``back`` (eV).
    sites
        ``x``, ``y``, ``z`` (fractional), ``occupied``, ``energy`` (eV; of the vacancy
        on it, where one is made for each hop).
    diffusivity
        Of a single vacancy in the full crystal: ``temperature`` (K), ``along_a``,
        ``along_b``, ``along_c``, ``mean`` (cm²/s). Empty where vacancies are many.
    """

    name: ClassVar[str] = "migration-network"

    lowest_barrier: float = value("eV", "lowest barrier")
    highest_barrier: float = value("eV", "highest barrier")
    percolation_1d: float = value("eV", "percolates in one dimension")
    percolation_2d: float = value("eV", "percolates in two dimensions")
    percolation_3d: float = value("eV", "percolates in three dimensions")
    along_a: float = value("eV", "percolates along a")
    along_b: float = value("eV", "percolates along b")
    along_c: float = value("eV", "percolates along c")
    vacancies: str
    electron: str
    frequency: str
    hops: pd.DataFrame
    edges: pd.DataFrame
    sites: pd.DataFrame
    diffusivity: pd.DataFrame

    def graph(self) -> nx.MultiDiGraph:
        """Return sites and hops, both directions, with their numbers as attributes."""
        import networkx as nx

        graph = nx.MultiDiGraph()
        for site, row in enumerate(self.sites.to_dict("records")):
            graph.add_node(site, **{str(k): one for k, one in row.items()})
        for row in self.edges.to_dict("records"):
            shift = np.array([row["a"], row["b"], row["c"]])
            for start, end, sign, barrier in (
                (row["start"], row["end"], 1, row["barrier"]),
                (row["end"], row["start"], -1, row["back"]),
            ):
                way = tuple((sign * shift).tolist())
                graph.add_edge(start, end, hop=row["hop"], shift=way, barrier=barrier)
        return graph

    def remarks(self) -> list[str]:
        """Return which hops are not converged."""
        left = self.hops["hop"][~self.hops["converged"].astype(bool)].tolist()
        names = ", ".join(map(str, left))
        return [f"{self.label}: hops {names} did not converge"] if left else []

    def draw(self, axes: Axes) -> None:
        """Draw the barrier of each distinct hop, and where the network percolates."""
        rows = self.hops.sort_values("barrier")
        places = np.arange(len(rows))
        error = rows["spread"].astype(float).fillna(0.0)
        axes.bar(places, rows["barrier"], 0.6, yerr=error, color=COLOURS[0])
        names = [f"{n}: {way}" for n, way in zip(rows["hop"], rows["way"], strict=True)]
        axes.set_xticks(places, names, fontsize=8, rotation=30, ha="right")
        for colour, name in zip(COLOURS[1:], ("1d", "2d", "3d"), strict=False):
            height = getattr(self, f"percolation_{name}")
            if np.isfinite(height):
                axes.axhline(height, color=colour, linewidth=1.2, label=f"{name} open")
        axes.set_ylabel("barrier, eV")
        axes.set_title(self.label, fontsize=9)
        axes.legend(fontsize=8)
        plain(axes)


def migration_network(
    subject: Subject,
    network: HopNetwork,
    settings: NetworkSettings | None = None,
    progress: Progress | None = None,
) -> MigrationNetwork:
    """Return the barriers of all distinct hops of a crystal, and where they lead.

    Parameters
    ----------
    subject
        The crystal.
    network
        Its hops, of :func:`spin_dp.properties.migration.find_hops`.
    settings
        None: the defaults.
    progress
        Called as ``progress(what, done, total)``.

    Raises
    ------
    ConfigError, DataError, BackendError
        As :func:`hop_ends` and :func:`migration_barrier`; where a prefactor is asked
        for and a path does not end on a saddle point.
    """
    chosen = settings or NetworkSettings()
    number = len(network.hops)
    band = chosen.band(subject.label_mode)
    rows, found = [], []
    for k in range(number):
        ends = hop_ends(
            subject,
            network,
            k,
            electron=chosen.electron,  # type: ignore[arg-type]  # it is checked
            holes=chosen.hole_states,
            width=chosen.width,
        )

        def tell(what: str, done: float, total: float, k: int = k) -> None:
            if progress is not None:
                progress(f"hop {k + 1} of {number}: {what}", k + done / total, number)

        one = migration_barrier(ends, band, electron=chosen.electron, progress=tell)
        found.append(one)
        rows.append(_row(k, ends, one, chosen))
    edges = [
        Edge(s.start, s.end, s.shift, found[s.hop].barrier, found[s.hop].back)
        for s in network.steps
    ]
    energies = _vacancy_energies(network, edges)
    heights = percolation(network.atoms.cell.array, edges, energies)
    barriers = [one.barrier for one in found]
    a, b, c = (_or_nan(one) for one in heights.along)
    one_d, two_d, three_d = (_or_nan(one) for one in heights.dimensions)
    return MigrationNetwork(
        **subject.identity,
        lowest_barrier=min(barriers),
        highest_barrier=max(barriers),
        percolation_1d=one_d,
        percolation_2d=two_d,
        percolation_3d=three_d,
        along_a=a,
        along_b=b,
        along_c=c,
        vacancies=network.vacancies,
        electron=chosen.electron,
        frequency=chosen.frequency,
        hops=pd.DataFrame(rows),
        edges=_edge_table(network, edges),
        sites=_site_table(network, energies),
        diffusivity=_diffusivity(network, edges, energies, rows, chosen),
        spread=_spread(found),
    )


def _row(
    number: int, ends: HopEnds, barrier: Barrier, settings: NetworkSettings
) -> dict[str, Any]:
    attempts = settings.attempts
    if attempts is None:
        surface = Surface.of([ends.initial])
        attempts = attempt_frequency(barrier, surface)[0]
    spread = barrier.spread or {}
    rates: dict[str, Any] = {
        f"rate at {t:g} K": hop_rate(barrier.barrier, t, attempts)
        for t in settings.temperatures
    }
    return {
        "hop": number,
        "way": barrier.way,
        "distance": barrier.distance,
        "copies": ends.copies,
        "barrier": barrier.barrier,
        "back": barrier.back,
        "reaction_energy": barrier.reaction_energy,
        "spread": spread.get("barrier", float("nan")),
        "nearest_anion": barrier.nearest_anion,
        "nearest_metal": barrier.nearest_metal,
        "state": barrier.spin_state,
        "final_state": barrier.final_spin_state,
        "converged": barrier.converged,
        "prefactor": attempts,
        **rates,
    }


def _vacancy_energies(network: HopNetwork, edges: Sequence[Edge]) -> Floats | None:
    """Return the energy of a vacancy on each site; None where vacancies are many.

    The ion goes from start to end: the vacancy from end to start.
    """
    if network.vacancies != "one" or (network.occupant < 0).any():
        return None
    return site_energies(len(network.positions), [_of_vacancy(one) for one in edges])


def _of_vacancy(edge: Edge) -> Edge:
    a, b, c = edge.shift
    return Edge(edge.end, edge.start, (-a, -b, -c), edge.forward, edge.back)


def _diffusivity(
    network: HopNetwork,
    edges: Sequence[Edge],
    energies: Floats | None,
    rows: Sequence[dict[str, Any]],
    settings: NetworkSettings,
) -> pd.DataFrame:
    columns = ["temperature", "along_a", "along_b", "along_c", "mean"]
    if energies is None:
        return pd.DataFrame(columns=columns, dtype=float)
    cell = network.atoms.cell.array
    directions = cell / np.linalg.norm(cell, axis=1, keepdims=True)
    ways = [_of_vacancy(one) for one in edges]
    prefactors = [rows[step.hop]["prefactor"] for step in network.steps]
    table = []
    for t in settings.temperatures:
        boltzmann = np.exp(-energies / (units.kB * t))
        # From sites whose energies are one for all paths, so that rates are balanced.
        rates = []
        for one, frequency in zip(ways, prefactors, strict=True):
            top = 0.5 * sum(
                (energies[one.start] + one.forward, energies[one.end] + one.back)
            )
            pair = [
                hop_rate(top - energies[s], t, frequency) for s in (one.start, one.end)
            ]
            rates.append((pair[0], pair[1]))
        tensor = vacancy_diffusivity(
            network.positions, cell, ways, rates, boltzmann / boltzmann.sum()
        )
        along = np.einsum("ia,ab,ib->i", directions, tensor, directions)
        values = [*along, np.trace(tensor) / 3.0]
        table.append([t, *(_SQUARE_CM * np.array(values)).tolist()])
    return pd.DataFrame(table, columns=columns)


def _edge_table(network: HopNetwork, edges: Sequence[Edge]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "start": edge.start,
                "end": edge.end,
                "a": edge.shift[0],
                "b": edge.shift[1],
                "c": edge.shift[2],
                "hop": step.hop,
                "barrier": edge.forward,
                "back": edge.back,
            }
            for edge, step in zip(edges, network.steps, strict=True)
        ]
    )


def _site_table(network: HopNetwork, energies: Floats | None) -> pd.DataFrame:
    cell = network.atoms.cell.array
    table = pd.DataFrame(
        np.linalg.solve(cell.T, network.positions.T).T % 1.0, columns=list("xyz")
    )
    table["occupied"] = network.occupant >= 0
    table["energy"] = np.nan if energies is None else energies
    return table


def _spread(found: Sequence[Barrier]) -> dict[str, float] | None:
    """Return the spread of the lowest and the highest barrier."""
    if found[0].spread is None:
        return None
    order = sorted(found, key=lambda one: one.barrier)
    return {
        name: (one.spread or {}).get("barrier", float("nan"))
        for name, one in (("lowest_barrier", order[0]), ("highest_barrier", order[-1]))
    }


def _or_nan(height: float) -> float:
    return height if np.isfinite(height) else float("nan")
