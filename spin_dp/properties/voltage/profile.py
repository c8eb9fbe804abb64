# SPDX-License-Identifier: LGPL-3.0-or-later
"""From energies at each content of an ion to the convex hull and voltages.

Between two phases on the hull, x₁ < x₂, the voltage against the metal is

    V = -[E(x₂) - E(x₁) - (x₂ - x₁) E(metal)] / [(x₂ - x₁) z e]

(M. K. Aydinol et al., Phys. Rev. B 56, 1354 (1997)); hull and steps are pymatgen's
``InsertionElectrode``. Whatever gives energies: a model, DFT, or a formula.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spin_dp.drawing import COLOURS
from spin_dp.errors import ConfigError, DataError
from spin_dp.properties.members import over_members
from spin_dp.properties.result import Result, value
from spin_dp.properties.single_points import single_points
from spin_dp.properties.voltage import metals
from spin_dp.spin_states.elements import carries_spin_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from spin_dp.properties.settings import Progress
    from spin_dp.properties.subject import Subject

    Floats = NDArray[np.float64]

_MEV = 1000.0
_SAME = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Phase:
    """One arrangement of ions in one spin state, with its energy.

    Attributes
    ----------
    atoms
        The structure.
    energy
        Of the cell, eV.
    state
        Key of the spin state.
    arrangement
        Number among those of its content, by energy before relaxing.
    is_relaxed
        Whether positions, or cell, are relaxed in this state.
    """

    atoms: Atoms
    energy: float
    state: str = ""
    arrangement: int = 0
    is_relaxed: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Voltage(Result):
    """Voltage curve and phase stability.

    A formula unit has one transition metal, also of several: x in LixMO2 goes from 0 to
    1 with layers, to 0.5 in spinel; without such metals it is that of the framework.

    Attributes
    ----------
    ion, framework
        Element that leaves, and what it leaves.
    metal_energy
        Of the ion's metal, eV an atom.
    steps
        ``x_low``, ``x_high``, ``voltage`` (V), ``capacity`` (mAh a gram of the full
        framework with its ions), ``volume_change`` (%, of charging).
    phases
        All that were looked at: ``x``, ``arrangement``, ``state``, ``energy`` and
        ``formation`` (eV and meV per formula unit, the latter against the ends),
        ``above_hull`` (meV per formula unit), ``volume`` (Å³ per formula unit),
        ``relaxed``, ``stable``.
    structures
        Of the phases on the hull, by growing x.
    """

    name: ClassVar[str] = "voltage"
    overlay: ClassVar[bool] = True

    average_voltage: float = value("V", "average voltage")
    lowest_voltage: float = value("V", "lowest step")
    highest_voltage: float = value("V", "highest step")
    capacity: float = value("mAh/g", "capacity", digits=1)
    volume_change: float = value("%", "change of volume on charging", digits=2)
    stable_phases: float = value("", "phases on the hull", digits=0)
    ion: str
    framework: str
    metal_energy: float
    steps: pd.DataFrame
    phases: pd.DataFrame
    structures: tuple[Atoms, ...] = field(default=())

    def at_same_geometries(
        self,
        other: Subject,
        progress: Progress | None = None,
        *,
        metal_energy: float | None = None,
    ) -> Voltage:
        """Return voltages by energies of another one of the phases on the hull.

        Parameters
        ----------
        other, progress
            As for :meth:`spin_dp.properties.Result.at_same_geometries`.
        metal_energy
            Of the ion's metal by the other one, eV an atom; None: as
            :func:`spin_dp.properties.voltage.metal_energy_by` finds it.

        Returns
        -------
        Voltage
            ``phases`` are those that stood on the hull of this one.
        """
        if metal_energy is None:
            metal_energy = metals.metal_energy_by(other.energies, self.ion)

        def one(member: Subject, tell: Progress) -> Voltage:
            points = single_points(member, self.structures, tell, "energies of phases")
            profile = voltage_profile(
                [
                    Phase(
                        atoms=point.atoms,
                        energy=point.energy,
                        state=point.becomes or point.subject.spin_state,
                    )
                    for point in points
                ],
                metal_energy,
                ion=self.ion,
                model=other.model,
                label_mode=other.label_mode,
            )
            return replace(profile, geometries=self.model)

        return over_members(other, one, progress)

    def plot(self, axes: Axes | None = None) -> Axes:
        """Draw the voltage curve; into a new figure with the hull below it.

        Parameters
        ----------
        axes
            Into these, the voltage curve alone.
        """
        if axes is not None:
            return super().plot(axes)
        figure = Figure(figsize=(6.4, 7.2), layout="constrained")
        above, below = figure.subplots(2)
        self.draw_hull(below)
        return super().plot(above)

    def draw(self, axes: Axes) -> None:
        """Draw voltage against content."""
        if not axes.get_lines():
            axes.set_xlabel(f"x in {self.ion}x{self.framework}")
            axes.set_ylabel(f"voltage against {self.ion} metal, V")
        colour = COLOURS[len(axes.get_lines()) % len(COLOURS)]
        x = self.steps[["x_low", "x_high"]].to_numpy().ravel()
        volts = np.repeat(self.steps["voltage"].to_numpy(), 2)
        axes.plot(x, volts, color=colour, label=self.model)
        axes.legend(fontsize=8)

    def draw_hull(self, axes: Axes) -> None:
        """Draw formation energies and their hull."""
        table = self.phases
        axes.plot(table["x"], table["formation"], "o", ms=3, color=COLOURS[4])
        stable = table[table["stable"]].sort_values("x")
        axes.plot(stable["x"], stable["formation"], "o-", color=COLOURS[0])
        axes.set_xlabel(f"x in {self.ion}x{self.framework}")
        axes.set_ylabel("formation energy, meV per formula unit")


def voltage_profile(
    phases: Sequence[Phase],
    metal_energy: float,
    *,
    ion: str = "Li",
    model: str = "",
    label_mode: str = "",
    spin_state: str = "lowest at each x",
) -> Voltage:
    """Return voltages and hull of phases that differ in one ion.

    Parameters
    ----------
    phases
        At two contents or more; several at one are welcome.
    metal_energy
        Of the ion's metal, eV an atom, at the level of the phases.
    ion
        Element that leaves.
    model, label_mode, spin_state
        Of the result.

    Raises
    ------
    DataError
        If frameworks differ, an energy is no number, or all contents are one.
    """
    from pymatgen.apps.battery.insertion_battery import InsertionElectrode
    from pymatgen.core import Composition
    from pymatgen.entries.computed_entries import ComputedEntry

    if not np.isfinite(metal_energy):
        raise ConfigError(f"metal_energy: expected a number, got {metal_energy}.")
    framework, rows = _rows(phases, ion)
    table = pd.DataFrame(rows)
    entries = [
        ComputedEntry(
            Composition(one.atoms.get_chemical_formula()),
            one.energy,
            entry_id=number,
            data={"volume": one.atoms.get_volume() / row["units"]},
        )
        for number, (one, row) in enumerate(zip(phases, rows, strict=True))
    ]
    # Of equal entries pymatgen keeps one; of each content only the lowest can be on it.
    lowest = table.groupby(table["x"].round(6))["energy"].idxmin()
    used = [entries[int(place)] for place in lowest]
    metal = ComputedEntry(Composition(ion), metal_energy)
    electrode: Any = InsertionElectrode.from_entries(used, metal)
    stable = [int(entry.entry_id) for entry in electrode.stable_entries]
    table["stable"] = table.index.isin(stable)
    hull = table.loc[stable].sort_values("x")
    ends = hull.iloc[[0, -1]]
    straight = np.interp(table["x"], ends["x"], ends["energy"])
    on_hull = np.interp(table["x"], hull["x"], hull["energy"])
    table["formation"] = _MEV * (table["energy"] - straight)
    table["above_hull"] = _MEV * (table["energy"] - on_hull)
    steps = _steps(electrode, table, stable)
    volts = steps["voltage"]
    kept = [int(one) for one in hull.index]
    return Voltage(
        formula=str(phases[kept[-1]].atoms.get_chemical_formula()),
        spin_state=spin_state,
        label_mode=label_mode,
        model=model,
        average_voltage=float(electrode.get_average_voltage()),
        lowest_voltage=float(volts.min()),
        highest_voltage=float(volts.max()),
        capacity=float(electrode.get_capacity_grav()),
        volume_change=100.0
        * float(hull["volume"].iloc[0] / hull["volume"].iloc[-1] - 1.0),
        stable_phases=len(stable),
        ion=ion,
        framework=framework,
        metal_energy=metal_energy,
        steps=steps,
        phases=table.drop(columns="units").sort_values(
            ["x", "energy"], ascending=[False, True], ignore_index=True
        ),
        structures=tuple(phases[k].atoms for k in kept),
    )


def _rows(phases: Sequence[Phase], ion: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the common framework, and a row for each phase."""
    frameworks: list[str] = []
    rows = []
    for one in phases:
        formula = one.atoms.get_chemical_formula()
        framework, units = _framework(one.atoms, ion)
        frameworks.append(framework)
        if framework != frameworks[0]:
            raise DataError(
                f"voltages: expected phases of one framework, got {framework} beside "
                f"{frameworks[0]}."
            )
        if not np.isfinite(one.energy):
            raise DataError(f"phase {formula}: energy is nan.")
        rows.append(
            {
                "x": one.atoms.get_chemical_symbols().count(ion) / units,
                "arrangement": one.arrangement,
                "state": one.state,
                "energy": one.energy / units,
                "volume": one.atoms.get_volume() / units,
                "relaxed": one.is_relaxed,
                "units": units,
            }
        )
    contents = [row["x"] for row in rows]
    if not rows or max(contents) - min(contents) < _SAME:
        raise DataError(
            f"voltages: expected phases of two contents of {ion} or more, got "
            f"{len(rows)} at {contents[0] if contents else 'none'}."
        )
    return frameworks[0], rows


def _framework(atoms: Atoms, ion: str) -> tuple[str, int]:
    """Return what the ion leaves, for one metal, and how many of that there are."""
    left = atoms[[symbol != ion for symbol in atoms.symbols]]
    if not len(left):
        raise DataError(f"phase {atoms.get_chemical_formula()}: is all {ion}.")
    counts = left.symbols.formula.convert("metal").count()
    metals = sum(n for symbol, n in counts.items() if carries_spin_state(symbol))
    units = metals or int(np.gcd.reduce(list(counts.values())))
    shares = {symbol: round(n / units, 3) for symbol, n in counts.items()}
    text = "".join(f"{k}{v:g}" if v != 1.0 else k for k, v in shares.items())
    return text, units


def _steps(electrode: Any, table: pd.DataFrame, stable: Sequence[int]) -> pd.DataFrame:  # noqa: ANN401
    by_id = {
        k: (float(table["x"].iloc[k]), float(table["volume"].iloc[k])) for k in stable
    }
    rows = []
    for pair in electrode.voltage_pairs:
        low, volume_low = by_id[int(pair.entry_charge.entry_id)]
        high, volume_high = by_id[int(pair.entry_discharge.entry_id)]
        rows.append(
            {
                "x_low": low,
                "x_high": high,
                "voltage": float(pair.voltage),
                "capacity": float(pair.mAh) / electrode.normalization_mass,
                "volume_change": 100.0 * (volume_low / volume_high - 1.0),
            }
        )
    return pd.DataFrame(rows).sort_values("x_low", ignore_index=True)
