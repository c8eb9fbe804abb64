# SPDX-License-Identifier: LGPL-3.0-or-later
"""The lowest spin states of a structure: all tried, or chains that search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spin_dp.search.chains import SearchSettings, search_states
from spin_dp.search.choices import find_choices
from spin_dp.search.ranking import rank_states

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from ase import Atoms

    from spin_dp.inference.predictor import SpinDP

SHORT_SEARCH = SearchSettings(sweeps=40, chains=6)


def lowest_states(
    atoms: Atoms,
    model: SpinDP,
    *,
    states: Mapping[str, Sequence[str | float]] | None = None,
    max_patterns: int = 512,
    search: SearchSettings | None = None,
    keep: int = 1,
) -> pd.DataFrame:
    """Return the lowest neutral spin states, whatever way finds them.

    Parameters
    ----------
    atoms, model
        As for :func:`spin_dp.search.rank_states`.
    states
        States to try; elements that the structure does not have are left out.
    max_patterns
        Where there are more distinct assignments, chains search.
    search
        How; a short tempering if None.
    keep
        Largest number of rows.

    Returns
    -------
    pandas.DataFrame
        Of :func:`spin_dp.search.rank_states`.

    Raises
    ------
    ConfigError
        As :func:`spin_dp.search.rank_states`.
    """
    present = set(atoms.get_chemical_symbols())
    given = {name: names for name, names in (states or {}).items() if name in present}
    choices = find_choices(atoms, model, states=given)
    if choices.enumeration.count_distinct() <= max_patterns:
        return rank_states(
            atoms, model, states=given, max_patterns=max_patterns, keep=keep
        )
    settings = search or SHORT_SEARCH
    return search_states(atoms, model, states=given, settings=settings, keep=keep).table
