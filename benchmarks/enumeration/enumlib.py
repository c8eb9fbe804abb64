# SPDX-License-Identifier: LGPL-3.0-or-later
"""The same counts by enumlib's ``enum.x``, and orderings by pymatgen on top of it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pymatgen.io.ase import AseAtomsAdaptor

from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from ase import Atoms

PROGRAM = "enum.x"
_TIMEOUT_S = 600
_MOST = 100_000  # orderings, more than there are


def require_enumlib() -> None:
    """Raise a ConfigError if a program is not on the PATH."""
    for name in (PROGRAM, "makestr.x"):
        if shutil.which(name) is None:
            raise ConfigError(
                f"{name} is not on the PATH: build enumlib, see "
                "benchmarks/enumeration/README.md."
            )


def count_derivatives(
    primitive: Atoms, element: str, indices: range, labels: int, *, exchange: bool
) -> list[int]:
    """Return the numbers of orderings by size of their own cell.

    Parameters
    ----------
    primitive, element
        A primitive cell, and whose sites are ordered.
    indices
        Sizes.
    labels
        Number of labels that each site may have.
    exchange
        Whether orderings with all labels exchanged are one ("part"); all labels must
        occur then.

    Raises
    ------
    ConfigError
        If enum.x fails.
    """
    with TemporaryDirectory() as folder:
        text = _input(primitive, element, indices, labels, exchange=exchange)
        Path(folder, "struct_enum.in").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [str(shutil.which(PROGRAM))],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    rows = [line.split() for line in done.stdout.splitlines()]
    found = {
        int(words[0]): int(words[6])
        for words in rows
        if len(words) == 8 and words[0].isdigit()
    }
    if done.returncode or set(found) != set(indices):
        raise ConfigError(f"{PROGRAM} failed: {done.stdout[-400:]}{done.stderr[-400:]}")
    return [found[index] for index in indices]


def _input(
    primitive: Atoms, element: str, indices: range, labels: int, *, exchange: bool
) -> str:
    """Return struct_enum.in; other elements are labels of their own, one each."""
    others = sorted(set(primitive.get_chemical_symbols()) - {element})
    own = "/".join(map(str, range(labels)))
    label = {element: own} | {name: str(labels + k) for k, name in enumerate(others)}
    lines = [
        str(primitive.get_chemical_formula()),
        "bulk",
        *(" ".join(f"{x:.10f}" for x in row) for row in primitive.cell.array),
        str(labels + len(others)),
        str(len(primitive)),
        *(
            " ".join(f"{x:.10f}" for x in position) + f" {label[symbol]}"
            for symbol, position in zip(
                primitive.get_chemical_symbols(), primitive.positions, strict=True
            )
        ),
        f"{indices.start} {indices.stop - 1}",
        "1e-4",
        "part" if exchange else "full",
        "",
    ]
    return "\n".join(lines)


def pymatgen_orderings(primitive: Atoms, element: str, largest: int) -> list[Atoms]:
    """Return the antiferromagnetic orderings by pymatgen, with moments.

    All of them: no limits on number or symmetry.

    Parameters
    ----------
    primitive, element
        A primitive cell, and whose sites have moments.
    largest
        Size of the largest cell, in primitive ones; the smallest is the first one in
        which moments can cancel.
    """
    from pymatgen.analysis.magnetism import MagneticStructureEnumerator

    # enum.x leaves files where it is asked for its version.
    with (
        TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        found = MagneticStructureEnumerator(
            AseAtomsAdaptor.get_structure(primitive),
            default_magmoms={element: 5.0},
            strategies=("antiferromagnetic",),
            automatic=False,
            truncate_by_symmetry=False,
            max_orderings=_MOST,
            transformation_kwargs={
                "max_cell_size": largest,
                "check_ordered_symmetry": True,
            },
        )
    return [AseAtomsAdaptor.get_atoms(one) for one in found.ordered_structures]
