# SPDX-License-Identifier: LGPL-3.0-or-later
"""The LAMMPS input deck: settings in, readable text out; no program is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spin_dp.units import PS_PER_FS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spin_dp.lammps_interface.cell import Array
    from spin_dp.lammps_interface.settings import MDSettings

DATA_FILE = "data.spin"
RESTART_FILES = ("restart.a", "restart.b")
RELAX_LOG = "relax.log"

RELAX_STEPS, RELAX_FORCES = 2000, 20_000  # at most, of a minimisation
RELAX_TIMES = 4  # how often a cell is relaxed anew, from where it was: LAMMPS takes the
# strain from its first cell, and stops short of the minimum where that is far away

THERMOSTAT_STEPS = 100  # damping times in time steps, as the LAMMPS manual advises
BAROSTAT_STEPS = 1000

SPIN_COLUMNS = ("sp", "spx", "spy", "spz", "fmx", "fmy", "fmz")
DUMP_COLUMNS = ("id", "element", "xu", "yu", "zu", "vx", "vy", "vz", "fx", "fy", "fz")


@dataclass(frozen=True, kw_only=True)
class Deck:
    """One input deck.

    Attributes
    ----------
    settings
        The run.
    models
        Model files; the first drives the run, more add the model deviation.
    elements
        The models' names of LAMMPS types 1, 2, ...
    moments
        Whether atoms carry moments; without, the models must read none.
    part
        0 for the first start of a run, then one more at each resumption.
    restart
        Restart file to go on from; None starts from the data file.
    strained
        Lower triangular cell vectors at the end of a run that strains the cell, (3, 3),
        Å.
    """

    settings: MDSettings
    models: Sequence[Path]
    elements: Sequence[str]
    moments: bool = True
    part: int = 0
    restart: str | None = None
    strained: Array | None = None

    @property
    def log(self) -> str:
        """Name of the log file."""
        return f"run.{self.part}.log"

    @property
    def dump(self) -> str:
        """Name of the dump file."""
        return f"run.{self.part}.lammpstrj"

    @property
    def deviation(self) -> str:
        """Name of the file of model deviations."""
        return f"run.{self.part}.model_devi"


def render_deck(deck: Deck) -> str:
    """Return the text of an input deck.

    Parameters
    ----------
    deck
        What to write.

    Returns
    -------
    str
        Text for ``lmp -in``, to be run in the folder of the data file.
    """
    run = deck.settings
    what = f"{run.ensemble.upper()} molecular dynamics, {run.temperature:g} K"
    if run.final_temperature is not None:
        what += f" to {run.final_temperature:g} K"
    return f"""\
# {what}, {run.steps} steps of {run.timestep:g} fs; moments are labels.
# Stock LAMMPS with the deepmd-kit plug-in; run in this folder: lmp -in FILE
{render_setup(deck)}
# ---- Run
restart         {run.restart_every} {" ".join(RESTART_FILES)}
run             {run.steps} upto{run.span}
"""


def render_setup(deck: Deck, *, output: bool = True) -> str:
    """Return the part of a deck that comes before the first ``run``.

    Parameters
    ----------
    deck
        What to write.
    output
        Whether log, thermo lines and frames are written.
    """
    blocks = [_system(deck), _potential(deck)]
    if deck.restart is None and deck.settings.relax != "no":
        blocks.append(_relaxation(deck, output=output))
    if output:
        blocks = [[f"log             {deck.log}"], *blocks, _output(deck)]
    blocks.append(_dynamics(deck))
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _system(deck: Deck) -> list[str]:
    if deck.restart is not None:
        return [
            "# ---- System: box, atoms, moments, velocities of a restart file",
            f"read_restart    {deck.restart}",
        ]
    style, columns = "atomic", "id type x y z"
    if deck.moments:
        style, columns = "spin", "id type x y z, direction and |moment| (muB)"
    return [
        "# ---- System: eV, Angstrom, ps, bar",
        "units           metal",
        f"atom_style      {style}",
        "atom_modify     map yes            # models with message passing need it",
        "boundary        p p p",
        f"read_data       {DATA_FILE}          # {columns}",
    ]


def _potential(deck: Deck) -> list[str]:
    models = " ".join(_quoted(model) for model in deck.models)
    style = "deepspin" if deck.moments else "deepmd"
    lines = [f"# ---- Potential: reads positions{' and moments' * deck.moments}"]
    if len(deck.models) > 1:
        every = deck.settings.watch_every
        lines += [
            "# The first model moves the atoms; the spread of all goes to out_file.",
            f"pair_style      {style} {models} &",
            f"                out_file {deck.deviation} out_freq {every} atomic",
        ]
    else:
        lines += [f"pair_style      {style} {models}"]
    return [
        *lines,
        f"pair_coeff      * * {' '.join(deck.elements)}",
        "neighbor        2.0 bin",
        "neigh_modify    every 1 delay 0 check yes",
    ]


def _relaxation(deck: Deck, *, output: bool) -> list[str]:
    run = deck.settings
    minimize = f"minimize        0.0 {run.relax_force:g} {RELAX_STEPS} {RELAX_FORCES}"
    lines = [
        "# ---- Relaxation at fixed moments, to the largest component of a force, eV/A",
        "min_style       cg",
        "min_modify      norm inf",
    ]
    if output:
        lines += [f"log             {RELAX_LOG}"]
    lines += [minimize]
    if run.relax == "cell":  # in a cell that fits its atoms, it is on its way
        bar = run.pressure or 0.0
        for _ in range(RELAX_TIMES):
            lines += [
                f"fix             cell all box/relax {run.cell_change} {bar:g}",
                minimize,
                "unfix           cell",
            ]
    lines += ["reset_timestep  0"]
    return [*lines, f"log             {deck.log}"] if output else lines


def _output(deck: Deck) -> list[str]:
    run = deck.settings
    cell = " lx ly lz xy xz yz" if run.cell_changes else ""
    return [
        "# ---- Output",
        "# sp: |moment| (muB), spx spy spz: direction, fm = |moment|/hbar * (-dE/dm)",
        f"compute         moment all property/atom {' '.join(SPIN_COLUMNS)}",
        f"thermo          {run.thermo_every}",
        f"thermo_style    custom step temp pe ke etotal press vol{cell}",
        "thermo_modify   line one flush yes format float %.15g",
        f"dump            frames all custom {run.dump_every} {deck.dump} &",
        f"                {' '.join(DUMP_COLUMNS)} c_moment[*]",
        f"dump_modify     frames sort id element {' '.join(deck.elements)} &",
        "                format float %.12g",
    ]


def _dynamics(deck: Deck) -> list[str]:
    run = deck.settings
    lines = [
        "# ---- Dynamics",
        "# These integrators move the atoms only: every moment keeps its size and",
        "# direction, that is, the run stays on the energy surface of its spin labels.",
        f"timestep        {run.timestep * PS_PER_FS:.10g}            # ps",
    ]
    if deck.restart is None and run.temperature > 0.0:
        lines += [
            f"velocity        all create {run.temperature:g} {run.seed} "
            "mom yes rot no dist gaussian"
        ]
    if run.ensemble == "npt":
        lines += [
            "# flip no: frames are turned back into the structure's own cell vectors"
        ]
    lines += [f"fix             integrate all {_integrator(run)}"]
    if deck.strained is not None:
        lines += ["# The cell at the end, evenly", *_deformation(deck.strained)]
    return lines


def _deformation(box: Array) -> list[str]:
    """Return the fix that deforms the cell to the box, its corner at the origin."""
    lengths = [f"{name} final 0 {box[k, k]:.12g}" for k, name in enumerate("xyz")]
    tilts = [
        f"{name} final {box[row, column]:.12g}"
        for name, row, column in (("xy", 1, 0), ("xz", 2, 0), ("yz", 2, 1))
    ]
    return [
        f"fix             strain all deform 1 {' '.join(lengths)} &",
        f"                {' '.join(tilts)} remap x flip no",
    ]


def _integrator(run: MDSettings) -> str:
    if run.ensemble == "nve":
        return "nve"
    step = run.timestep * PS_PER_FS
    kelvin = f"{run.temperature:g} {run.temperature_at(run.steps):g}"
    thermostat = f"temp {kelvin} {THERMOSTAT_STEPS * step:g}"
    if run.ensemble == "nvt":
        return f"nvt {thermostat}"
    bar = f"{run.pressure or 0.0:g}"
    barostat = f"{run.cell_change} {bar} {bar} {BAROSTAT_STEPS * step:g}"
    return f"npt {thermostat} {barostat} flip no"


def _quoted(path: Path) -> str:
    text = str(path)
    return f'"{text}"' if set(text) & set(" \t#$&'") else text
