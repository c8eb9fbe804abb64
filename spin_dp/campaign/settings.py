# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a campaign file says: one TOML file, checked whole before anything is done."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import pydantic
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from spin_dp.campaign.choice_settings import ChoiceSettings
from spin_dp.errors import ConfigError, DataError, unknown
from spin_dp.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

Share = Annotated[float, Field(ge=0.0, le=1.0)]


_ANY_MAGNETIC = (1e6, 2e6)  # eV/μB: none is as large


class _Section(pydantic.BaseModel):
    """A table of the file: unknown keys and wrong types are errors."""

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True
    )


class Start(_Section):
    """What there is before the campaign: ``[start]``.

    Attributes
    ----------
    data
        Files and folders that ``spin-dp collect`` reads.
    type_map
        Elements of the models in type order; those of the data if left out.
    model
        Name or files of trained models to begin with instead of random weights: one
        for all, or one for each.
    validation
        Share of the geometries of each composition that is held out.
    stationary_moments
        Whether DFT's moments are free, so that magnetic forces of frames are zero.
    """

    data: list[str] = Field(min_length=1)
    type_map: list[str] | None = None
    model: str | list[str] | None = None
    validation: Share = 0.1
    stationary_moments: bool = True


class Budget(_Section):
    """When the campaign ends: ``[budget]``; whatever comes first.

    Attributes
    ----------
    dft_runs
        DFT runs in all; finished, unconverged and failed ones count.
    hours
        Wall time of all sessions together, h.
    generations
        Rounds of exploration.
    doubtful
        Ends when no larger share of the explored frames than this is doubtful.
    """

    dft_runs: PositiveInt | None = None
    hours: PositiveFloat | None = None
    generations: PositiveInt = 10
    doubtful: Share = 0.01


class Training(_Section):
    """The ensemble: ``[training]``.

    Attributes
    ----------
    models
        Number of models, which differ by their seeds.
    size
        ``small``, ``medium`` or ``large``, as in ``spin-dp init``.
    steps
        Steps of the first generation; from the amount of data if left out.
    later_steps
        Steps of the next ones, which go on from the models before; a third if left out.
    at_once
        Trainings that run at the same time.
    threads
        Threads of each.
    """

    models: Annotated[int, Field(ge=2, le=16)] = 4
    size: Literal["small", "medium", "large"] = "small"
    steps: PositiveInt | None = None
    later_steps: PositiveInt | None = None
    at_once: PositiveInt = 2
    threads: PositiveInt = 1


class Structure(_Section):
    """A crystal to explore: ``[[structure]]``.

    Attributes
    ----------
    file
        Structure file, read by ASE or pymatgen.
    labels
        Spin states to run it in, such as ``"Ni=3+LS"``; one run for each.
    orders
        Magnetic orderings of each, such as ``"FM"`` and ``"AFM"``.
    supercell
        Repetitions along the cell vectors; the cell that DFT will get.
    name
        Of its runs; the file's stem if left out.
    """

    file: str
    labels: list[str] = Field(min_length=1)
    orders: list[str] = Field(default_factory=lambda: ["FM"], min_length=1)
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 1, 1)
    name: str | None = None

    @pydantic.field_validator("supercell", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value  # TOML has arrays


class Exploration(_Section):
    """Where the models go: ``[exploration]``.

    Attributes
    ----------
    from_data
        Compositions of the frames at hand that are explored, each in its lowest states;
        all of them for ``"all"``. Structures of ``[[structure]]`` come besides.
    states
        Spin states of each composition of the data, from the lowest.
    temperatures
        K; one run for each.
    pressures
        GPa, by NPT; runs at constant volume if left out.
    picoseconds
        Length of a run, ps.
    timestep
        fs.
    every
        Time between two looks at the deviation, fs; these frames are candidates.
    shortest
        Distance of two atoms below which a run is stopped, Å; for each pair of elements
        0.8 of the shortest one in the data if left out.
    most_atoms
        Largest cell; what is explored goes to DFT as it is.
    runs
        Runs in a generation at most, drawn from all; each in turn if there are more.
    """

    from_data: list[str] | Literal["all"] | None = None
    states: PositiveInt = 2
    temperatures: list[PositiveFloat] = Field(
        default_factory=lambda: [300.0, 600.0, 1000.0], min_length=1
    )
    pressures: list[float] = Field(default_factory=list)
    picoseconds: PositiveFloat = 2.0
    timestep: PositiveFloat = 1.0
    every: PositiveFloat = 20.0
    shortest: PositiveFloat | None = None
    most_atoms: PositiveInt = 64
    runs: PositiveInt = 24


class Selection(_Section):
    """Which frames go to DFT: ``[choice]``.

    Attributes
    ----------
    frames
        Geometries of a generation at most.
    force
        Band of the largest force deviation of a frame, eV/Å: below, the models know it;
        above, the geometry is not to be trusted.
    magnetic_force
        Band of the largest magnetic-force deviation, eV/μB; it does not count if left
        out, see :class:`spin_dp.lammps_interface.Watch`.
    more_states
        Share of the geometries that are run from further spin states, too.
    """

    frames: PositiveInt = 20
    force: tuple[NonNegativeFloat, PositiveFloat] = (0.5, 1.5)
    magnetic_force: tuple[NonNegativeFloat, PositiveFloat] | None = None
    more_states: Share = 0.5

    @pydantic.field_validator("force", "magnetic_force", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("force", "magnetic_force"):
            band = getattr(self, name)
            if band is not None and not band[0] < band[1]:
                raise ValueError(
                    f"{name}: expected the lower limit first, got {list(band)}"
                )
        return self


class Work(_Section):
    """Where runs go: ``[work]``.

    Attributes
    ----------
    workers
        Processes at a time, for exploration and DFT.
    threads
        Threads of each DFT run.
    scheduler
        Address of a Dask scheduler, whose workers do it instead.
    """

    workers: PositiveInt = 1
    threads: PositiveInt = 1
    scheduler: str | None = None


class CampaignSettings(_Section):
    """A campaign file.

    Attributes
    ----------
    start, budget, training, exploration, choice, work
        Its tables.
    structure
        Crystals to explore, ``[[structure]]``.
    dft
        Table ``[dft]`` as it is: the engine reads it, see :mod:`spin_dp.dft`.
    folder
        Where the campaign is; the file's name without its ending if left out.
    seed
        Of weights, velocities and draws.
    """

    start: Start
    dft: dict[str, Any]
    budget: Budget = Budget()
    training: Training = Training()
    exploration: Exploration = Exploration()
    structure: list[Structure] = Field(default_factory=list)
    choice: Selection = Selection()
    work: Work = Work()
    folder: str | None = None
    seed: int = 1

    @pydantic.model_validator(mode="after")
    def _explores_something(self) -> Self:
        if not self.structure and self.exploration.from_data is None:
            raise ValueError(
                "nothing to explore: name crystals in [[structure]] or compositions of "
                'the data in [exploration], e.g. from_data = "all"'
            )
        return self

    def choice_rules(self) -> ChoiceSettings:
        """Return the limits of the choice in its own terms."""
        return ChoiceSettings(
            force_band=self.choice.force,
            magnetic_band=self.choice.magnetic_force or _ANY_MAGNETIC,
            most_atoms=self.exploration.most_atoms,
            seed=self.seed,
        )

    def working(self, scheduler: str | None, workers: int | None) -> CampaignSettings:
        """Return the settings with another scheduler or number of workers, if given."""
        given = {"scheduler": scheduler, "workers": workers}
        changed = {name: value for name, value in given.items() if value is not None}
        try:
            work = Work.model_validate({**self.work.model_dump(), **changed})
        except pydantic.ValidationError as error:
            raise ConfigError(
                f"workers: expected at least 1, got {workers}."
            ) from error
        return self.model_copy(update={"work": work})


def read_campaign(path: Path) -> CampaignSettings:
    """Read a campaign file; paths in it are seen from its folder.

    Raises
    ------
    DataError
        If there is no such file, or it is no TOML.
    ConfigError
        If a key is unknown or missing, or a value is not what it should be.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such campaign file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a TOML file: {error}.") from error
    try:
        settings = CampaignSettings.model_validate(content)
    except pydantic.ValidationError as error:
        raise _explained(path, error) from error
    return _seen_from(path.resolve().parent, settings)


def write_template(path: Path) -> None:
    """Write a campaign file with all that is asked most often.

    Raises
    ------
    ConfigError
        If there is a file already.
    """
    if path.exists():
        raise ConfigError(f"{path}: exists; give the new campaign file another name.")
    text = files("spin_dp.campaign").joinpath("template.toml").read_text("utf-8")
    write_text(path, text)


def _explained(path: Path, error: pydantic.ValidationError) -> ConfigError:
    """Return the first complaint in one sentence."""
    told = error.errors()
    # A key that is misspelt is unknown and missing: the former says more.
    unknown_keys = [one for one in told if one["type"] == "extra_forbidden"]
    first = (unknown_keys or told)[0]
    place = [part for part in first["loc"] if isinstance(part, str)]
    table, key = ".".join(place[:-1]), place[-1] if place else ""
    where = f"[{table}]" if table else "the file"
    if first["type"] == "extra_forbidden":
        return ConfigError(
            f"{path}: {unknown(f'key in {where}', key, _keys(place[:-1]))}"
        )
    if first["type"] == "missing":
        return ConfigError(f"{path}: {where} needs {key!r}; see docs/learning.md.")
    if first["type"] == "value_error":
        return ConfigError(f"{path}: {first['ctx']['error']!s}.")
    given = first.get("input")
    return ConfigError(
        f"{path}: {'.'.join(place)}: {first['msg'].lower()}; got {given!r}."
    )


def _keys(place: list[str]) -> list[str]:
    """Return the keys of a table of the file."""
    table: Any = CampaignSettings
    for name in place:
        kind = table.model_fields[name].annotation
        table = getattr(kind, "__args__", [kind])[0]
    return list(table.model_fields)


def _seen_from(folder: Path, settings: CampaignSettings) -> CampaignSettings:
    """Return the settings with paths that do not depend on the current folder."""

    def absolute(name: str) -> str:
        return str(folder / name)

    def model(name: str) -> str:  # a name of a shipped model is no path
        return absolute(name) if (folder / name).exists() else name

    start = settings.start
    models = start.model
    if isinstance(models, str):
        models = model(models)
    elif models is not None:
        models = [model(name) for name in models]
    data = [name if ":" in name else absolute(name) for name in start.data]
    return settings.model_copy(
        update={
            "start": start.model_copy(update={"data": data, "model": models}),
            "structure": [
                one.model_copy(update={"file": absolute(one.file)})
                for one in settings.structure
            ],
        }
    )
