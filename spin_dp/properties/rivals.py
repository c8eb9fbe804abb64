# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a model is compared with: another model, DFT, or any ASE calculator, by name."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spin_dp.deployment import fast_models
from spin_dp.dft import EngineCalculator, open_engine
from spin_dp.dft.settings import ENGINES
from spin_dp.errors import ConfigError, DataError
from spin_dp.inference.predictor import SpinDP
from spin_dp.properties.host import quiet
from spin_dp.properties.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ase import Atoms

    from spin_dp.inference.labelling import Given
    from spin_dp.properties.energies import LabelMode
    from spin_dp.spin_states.catalogue import Catalogue


def rival(
    word: str,
    atoms: Atoms,
    labels: Given | None,
    *,
    order: str | None,
    label_mode: LabelMode | None,
    states: Catalogue,
    folder: Path,
) -> Subject:
    """Return a structure in a spin state whose energies something else gives.

    Parameters
    ----------
    word
        A model file or the name of a shipped model; a DFT engine (``gpaw`` at the level
        of the shipped frames) or a TOML file with its settings, as table ``dft`` or at
        the top (``engine = "gpaw"``); or an ASE calculator as ``module:Class``, which
        is made without arguments.
    atoms, labels, order, label_mode
        As for :meth:`spin_dp.properties.Subject.of_model`.
    states
        What names of states stand for, where it is no model.
    folder
        Where DFT runs are kept, in a folder of its own each.

    Raises
    ------
    ConfigError, DataError
        If it is none of these; as :meth:`spin_dp.properties.Subject.of_model`.
    """
    make: Callable[[], Any]
    path, settings = Path(word), word
    if ":" in word and not path.exists():
        make, name = _imported(word), word.partition(":")[2]
    elif word in ENGINES or path.suffix == ".toml":
        table, base = _dft_settings(word)
        engine = open_engine(table, base)
        engine.check()
        name, settings = engine.name if word in ENGINES else path.stem, repr(engine)

        def make() -> Any:  # noqa: ANN401
            return EngineCalculator(engine, folder / name)
    else:
        model = SpinDP(fast_models(word))
        return Subject.of_model(
            atoms,
            model,
            labels,
            order=order,
            label_mode=label_mode,
            name=model_name([word]),
        )
    return Subject.of_calculator(
        atoms,
        make,
        labels,
        name=name,
        order=order,
        states=states,
        settings=settings,
    )


def model_name(words: list[str]) -> str:
    """Return what models are called in tables: the name, or the file of the first."""
    first = Path(words[0])
    stem = first.stem if first.suffix else first.name
    return stem if len(words) == 1 else f"{stem}+{len(words) - 1}"


def _dft_settings(word: str) -> tuple[Mapping[str, Any], Path]:
    if word in ENGINES:
        return {"engine": word}, Path()
    path = Path(word)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: no such file of DFT settings") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not TOML ({error})") from error
    table = content.get("dft", content)
    return table, path.resolve().parent


def _imported(word: str) -> Callable[[], Any]:
    module, _, name = word.partition(":")
    try:
        with quiet():
            found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{word}: no such ASE calculator ({error}); expected module:Class, such as "
            "ase.calculators.emt:EMT, in a package that is installed."
        ) from error
    if not callable(found):
        raise ConfigError(f"{word}: expected a class, got {type(found).__name__}.")
    kept: list[Any] = []

    def make() -> Any:  # noqa: ANN401
        # One is enough, and models take seconds to load.
        if not kept:
            kept.append(found())
        return kept[0]

    return make
