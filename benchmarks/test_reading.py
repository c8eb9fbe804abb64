# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time of reading VASP outputs: here every ionic step, in pymatgen what it reads.

Gzipped files of real runs, one process, one thread. pymatgen reads more of an OUTCAR
(plane waves, energy contributions) but of each table only the last one; its DOS,
eigenvalues and POTCAR are switched off. Of a vasprun.xml spin_dp gives pymatgen only
the head and the results of each step to read.
"""

import warnings
from pathlib import Path

import pytest

from spin_dp.data_tools import ReadOptions, Source, read_source

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "vasp"
OUTCARS = {
    "OUTCAR, 1 step of 108 atoms": ["nmc111-lisv-k0.2/OUTCAR.gz"],
    "OUTCAR, 7 steps of 16 atoms": ["fese-config21/vol_01/OUTCAR.1relax.gz"],
    "OUTCAR, 5 steps of 31 atoms": ["fe31-vacancy-neb-endpoint/OUTCAR.gz"],
}
PAIRS = {
    f"OUTCAR + vasprun.xml, {what}": [f"{folder}/OUTCAR{end}", f"{folder}/vasprun{xml}"]
    for what, folder, end, xml in [
        ("28 steps of 4 atoms", "feo-relax-spinflip", ".gz", ".xml.gz"),
        ("49 steps of 32 atoms", "nb16c8o8-ispin1-relax", ".gz", ".xml.gz"),
        ("20 MB", "limn8o16-im1", ".relax1.gz", ".xml.relax1.gz"),
    ]
}
RUNS = OUTCARS | PAIRS


def read(files):
    source = Source("vasp", files[0], tuple(files))
    return list(read_source(source, ReadOptions(missing_moments="zero")))


def read_with_pymatgen(files):
    from pymatgen.io.vasp.outputs import Outcar, Vasprun

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcar = Outcar(str(files[0]))
        runs = [
            Vasprun(
                str(file),
                parse_dos=False,
                parse_eigen=False,
                parse_potcar_file=False,
                exception_on_bad_xml=False,
            )
            for file in files[1:]
        ]
    return outcar, runs


@pytest.mark.parametrize("name", ["spin_dp", "pymatgen"])
@pytest.mark.parametrize("run", RUNS)
def test_reading(benchmark, run, name):
    files = [DATA / file for file in RUNS[run]]
    if not files[0].exists():
        pytest.skip(f"the VASP outputs are not here: {DATA}")
    benchmark.group = f"reading {run}, 1 thread"
    function = read if name == "spin_dp" else read_with_pymatgen
    assert function(files)  # once before the clock: imports, file cache
    benchmark.pedantic(function, args=(files,), rounds=7)
