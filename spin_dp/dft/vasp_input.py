# SPDX-License-Identifier: LGPL-3.0-or-later
"""The parts of a VASP input that pymatgen's sets leave to us."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pymatgen.core import Structure

    from spin_dp.dft.request import Request

STATIC = {
    "ALGO": "Normal",
    "EDIFF": 1.0e-5,
    "ISMEAR": 0,  # the tetrahedron method has no forces for metals
    "SIGMA": 0.05,
    "NELM": 200,
    "LCHARG": False,
    "LWAVE": False,
    "LREAL": False,
}
OURS = {
    "ISPIN": "every run is spin-polarised",
    "MAGMOM": "the moments of the run are given",
    "LORBIT": "moments must be printed",
    "NSW": "geometries are calculated as they are",
    "LNONCOLLINEAR": "runs are collinear",
    "LSORBIT": "runs are collinear",
}
HUBBARD = ("LDAU", "LDAUTYPE", "LDAUL", "LDAUU", "LDAUJ", "LDAUPRINT")
_D_SHELL, _F_SHELL = 2, 3


def sorted_structure(request: Request) -> Structure:
    """Return the cell with equal elements together, as POSCAR and MAGMOM need it."""
    from pymatgen.core import Element, Lattice, Structure

    symbols = request.symbols
    order = sorted(
        range(len(symbols)), key=lambda i: (Element(symbols[i]).X, symbols[i])
    )
    return Structure(
        Lattice(request.atoms.cell.array),
        [symbols[i] for i in order],
        request.atoms.positions[order],
        coords_are_cartesian=True,
        site_properties={"magmom": request.moments[order].tolist()},
    )


def one_of_each(elements: Sequence[str]) -> Structure:
    """Return a cell of elements for which only the input is looked at."""
    from pymatgen.core import Lattice, Structure

    places = [[(i + 0.5) / len(elements), 0.0, 0.0] for i in range(len(elements))]
    return Structure(
        Lattice.orthorhombic(3.0 * len(elements), 3.0, 3.0),
        list(elements),
        places,
        site_properties={"magmom": [1.0] * len(elements)},
    )


def hubbard_tags(table: Mapping[str, float], structure: Structure) -> dict[str, Any]:
    """Return the tags of DFT+U for a structure, with U by element (eV)."""
    from pymatgen.core import Element

    kinds = list(dict.fromkeys(site.specie.symbol for site in structure))
    if not set(kinds) & set(table):
        return {}
    is_f = [Element(kind).is_lanthanoid or Element(kind).is_actinoid for kind in kinds]
    shells = [_F_SHELL if f else _D_SHELL for f in is_f]
    return {
        "LDAU": True,
        "LDAUTYPE": 2,
        "LDAUL": [
            shell if kind in table else -1
            for kind, shell in zip(kinds, shells, strict=True)
        ],
        "LDAUU": [float(table.get(kind, 0.0)) for kind in kinds],
        "LDAUJ": [0.0] * len(kinds),
        "LMAXMIX": 6 if any(is_f) else 4,
    }


def check_tags(incar: Mapping[str, Any]) -> None:
    """Refuse tags that VASP does not know, as pymatgen has them."""
    from pymatgen.io.vasp.inputs import BadIncarWarning, Incar

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", BadIncarWarning)
        Incar({tag.upper(): value for tag, value in incar.items()}).check_params()
    for warning in said:
        if issubclass(warning.category, BadIncarWarning):
            raise ConfigError(f"vasp: incar: {warning.message}")


def potcar_folder() -> str | None:
    """Return where pymatgen finds POTCARs; None if it was not told."""
    from pymatgen.core import SETTINGS

    folder = SETTINGS.get("PMG_VASP_PSP_DIR")
    return str(folder) if folder else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings back: of spglib about its own next version, and of POTCARs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
