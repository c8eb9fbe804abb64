# SPDX-License-Identifier: LGPL-3.0-or-later
"""vasprun.xml alone and beside its OUTCAR; which files of a folder are one run."""

from __future__ import annotations

import gzip
import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from spin_dp.data_tools import (
    Frame,
    ReadOptions,
    Rejected,
    Source,
    find_sources,
    read_outcar,
    read_source,
)
from spin_dp.data_tools.readers.vasp import run as vasp_run
from spin_dp.data_tools.readers.vasp import step as vasp_step
from spin_dp.data_tools.readers.vasp import vasprun
from spin_dp.data_tools.readers.vasp.outcar import OutcarRun
from spin_dp.data_tools.readers.vasp.vasprun import VasprunRun
from spin_dp.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from spin_dp.data_tools.readers.source import MissingMoments

FEO = "feo-relax-spinflip"
NB = "nb16c8o8-ispin1-relax"
PAIRS = [
    ("batio3-nonmagnetic-relax/OUTCAR.gz", "batio3-nonmagnetic-relax/vasprun.xml.gz"),
    ("fe-monomer-collapsed/OUTCAR.gz", "fe-monomer-collapsed/vasprun.xml.gz"),
    ("fe4-static/OUTCAR.gz", "fe4-static/vasprun.xml.gz"),
    (f"{FEO}/OUTCAR.gz", f"{FEO}/vasprun.xml.gz"),
    ("fes2-broken-step/OUTCAR.gz", "fes2-broken-step/vasprun.xml.gz"),
    ("limn8o16-im1/OUTCAR.relax1.gz", "limn8o16-im1/vasprun.xml.relax1.gz"),
    ("limn8o16-im1/OUTCAR.relax2.gz", "limn8o16-im1/vasprun.xml.relax2.gz"),
    (f"{NB}/OUTCAR.gz", f"{NB}/vasprun.xml.gz"),
]


def unpacked(path: Path) -> str:
    with gzip.open(path, "rt", encoding="latin-1") as stream:
        return stream.read()


def items(
    *files: Path, missing_moments: MissingMoments = "reject"
) -> list[Frame | Rejected]:
    source = Source("vasp", files[0], files)
    return list(read_source(source, ReadOptions(missing_moments=missing_moments)))


def kept(*files: Path, missing_moments: MissingMoments = "reject") -> list[Frame]:
    found = items(*files, missing_moments=missing_moments)
    return [item for item in found if isinstance(item, Frame)]


def reasons(*files: Path, missing_moments: MissingMoments = "reject") -> list[Any]:
    found = items(*files, missing_moments=missing_moments)
    return [(i.step, i.reason) for i in found if isinstance(i, Rejected)]


def written(tmp_path: Path, text: str, name: str = "vasprun.xml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="latin-1")
    return path


@pytest.mark.filterwarnings("ignore:.*is an unconverged VASP run")
@pytest.mark.parametrize("name", [NB, "life4p4o16-hse06-relax", "v4o10-nelm-hit"])
def test_steps_agree_with_pymatgen(vasp_data: Path, name: str) -> None:
    from pymatgen.io.vasp.outputs import Vasprun

    path = vasp_data / name / "vasprun.xml.gz"
    other = Vasprun(
        str(path), parse_dos=False, parse_eigen=False, parse_potcar_file=False
    )
    steps = VasprunRun(path).steps
    assert len(steps) == len(other.ionic_steps)
    for step, same in zip(steps, other.ionic_steps, strict=True):
        assert isinstance(step, Frame)
        assert step.energy == same["e_fr_energy"]
        structure = same["structure"]
        np.testing.assert_array_equal(step.cell, structure.lattice.matrix)
        np.testing.assert_allclose(step.positions, structure.cart_coords, atol=1e-12)
        np.testing.assert_array_equal(step.forces, same["forces"])
        assert step.virial is not None
        kbar = step.virial * 1602.1766 / step.volume
        np.testing.assert_allclose(kbar, same["stress"], rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "formula", "n_rejected"),
    [  # step counts from the README of the data
        ("li16fe16p16o64-relax", "Li16Fe16O64P16", {vasprun.NO_MOMENTS: 11}),
        ("lifeo2-pbesol-relax", "Li4Fe4O8", {vasprun.NO_MOMENTS: 5}),
        ("life4p4o16-truncated", "LiFe4O16P4", {vasprun.NO_MOMENTS: 1}),
        ("v4o10-nelm-hit", "V4O10", {vasp_step.UNCONVERGED: 5}),
        ("fe12f32o2-no-energies", "Fe12O2F32", {vasprun.NO_RESULTS: 1}),
        (
            "fese-config18/vol_07-truncated",
            "Fe8Se8",
            {vasprun.NO_MOMENTS: 8, vasp_step.UNFINISHED: 1},
        ),
        (
            "life4p4o16-energy-overflow",  # a force component of step 2 is stars too
            "LiFe4O16P4",
            {vasprun.NO_MOMENTS: 28, "forces contain NaN or infinite numbers": 1},
        ),
    ],
)
def test_run_without_outcar_is_rejected_step_by_step(
    vasp_data: Path, name: str, formula: str, n_rejected: dict[str, int]
) -> None:
    found = items(vasp_data / name / "vasprun.xml.gz")
    assert all(isinstance(item, Rejected) for item in found)
    assert [item.step for item in found] == list(range(1, sum(n_rejected.values()) + 1))
    assert {item.formula for item in found} == {formula}
    counted = [reason for _, reason in reasons(vasp_data / name / "vasprun.xml.gz")]
    assert {reason: counted.count(reason) for reason in counted} == n_rejected


def test_energies_of_rejected_steps_are_told(vasp_data: Path) -> None:
    path = vasp_data / "lifeo2-pbesol-relax" / "vasprun.xml.gz"
    results = unpacked(path).split("<structure>")[1:]
    printed = [
        float(re.findall(r'e_fr_energy">\s*(\S+)', part.split("<scstep>")[0])[0])
        for part in results
    ]
    assert [item.energy for item in items(path)] == printed


@pytest.mark.parametrize(("outcar", "xml"), PAIRS)
def test_both_files_of_a_run_name_the_same_level(
    vasp_data: Path, outcar: str, xml: str
) -> None:
    of_outcar = OutcarRun(vasp_data / outcar).header
    of_xml = VasprunRun(vasp_data / xml).header
    assert of_outcar.symbols == of_xml.symbols
    assert of_outcar.polarised == of_xml.polarised
    assert of_outcar.constrained == of_xml.constrained
    if outcar.startswith(NB):  # VASP 5 does not write IVDW into the vasprun.xml
        differing = {
            key: value
            for key, value in of_xml.level.description.items()
            if of_outcar.level.description[key] != value
        }
        assert differing == {"dispersion": "unnamed"}
    else:
        assert of_outcar.level.id == of_xml.level.id


@pytest.mark.parametrize(("outcar", "xml"), PAIRS)
def test_pair_has_the_digits_of_vasprun_and_the_moments_of_outcar(
    vasp_data: Path, outcar: str, xml: str
) -> None:
    alone = {
        frame.step: frame for frame in kept(vasp_data / outcar, missing_moments="zero")
    }
    steps = VasprunRun(vasp_data / xml).steps
    frames = kept(vasp_data / outcar, vasp_data / xml, missing_moments="zero")
    assert [frame.step for frame in frames] == list(alone)
    for frame in frames:
        single, step = alone[frame.step], steps[frame.step - 1]
        assert isinstance(step, Frame)
        assert (frame.energy, frame.note) == (single.energy, single.note)
        np.testing.assert_array_equal(frame.moments, single.moments)
        np.testing.assert_array_equal(frame.forces, step.forces)
        np.testing.assert_array_equal(frame.cell, single.cell)
        # Same periodic image as in the OUTCAR, to its five decimals.
        np.testing.assert_allclose(frame.positions, single.positions, atol=6e-6)
        shift = (frame.positions - step.positions) @ np.linalg.inv(step.cell)
        np.testing.assert_allclose(shift, np.round(shift), atol=1e-7)
        assert (frame.virial is None) == (single.virial is None)
        if frame.virial is not None and single.virial is not None:
            np.testing.assert_allclose(frame.virial, single.virial, atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "quantity"),
    [  # numbers of the second ionic step; changed so that the file fits in itself
        ("-21.17116421", "-21.17216421", "energy"),
        ("0.21276023", "0.21286023", "positions"),
        ("1.83511117", "1.83521117", "forces"),
        ("-58.87158594", "-58.97158594", "stress"),
    ],
)
def test_disagreement_rejects_the_step(
    vasp_data: Path, tmp_path: Path, old: str, new: str, quantity: str
) -> None:
    text = unpacked(vasp_data / FEO / "vasprun.xml.gz")
    place = text.index("<structure>", text.index("</calculation>"))
    xml = written(tmp_path, text[:place] + text[place:].replace(old, new, 2))
    assert reasons(vasp_data / FEO / "OUTCAR.gz", xml) == [
        (2, vasp_run.DISAGREE.format(quantity))
    ]
    assert len(kept(vasp_data / FEO / "OUTCAR.gz", xml)) == 27


def test_files_of_two_runs_are_not_merged(vasp_data: Path) -> None:
    folder = vasp_data / "limn8o16-im1"
    second = folder / "vasprun.xml.relax2.gz"
    assert reasons(folder / "OUTCAR.relax1.gz", second) == [
        (1, vasp_run.DISAGREE.format("energy"))
    ]
    atoms = vasp_run.DISAGREE.format("atoms")
    assert reasons(vasp_data / FEO / "OUTCAR.gz", second) == [
        (step, atoms) for step in range(1, 29)
    ]


def test_unusable_vasprun_leaves_the_outcar(vasp_data: Path, tmp_path: Path) -> None:
    outcar = vasp_data / FEO / "OUTCAR.gz"
    text = unpacked(vasp_data / FEO / "vasprun.xml.gz")
    places = [match.start() for match in re.finditer("<structure>", text)]
    broken = text[: places[4] + 11] + "<" + text[places[4] + 11 :]
    for content, notes in [
        ("", ["OUTCAR alone: not a vasprun.xml, or cut off before"] * 28),
        (
            text[: places[25]],
            [""] * 25 + ["unfinished ionic step", "not in the", "not in the"],
        ),
        (broken, [""] * 4 + ["the XML of the ionic step"] + [""] * 23),
    ]:
        frames = kept(outcar, written(tmp_path, content))
        assert len(frames) == 28
        for frame, single, note in zip(frames, kept(outcar), notes, strict=True):
            assert note in frame.note
            assert bool(note) == bool(frame.note)
            np.testing.assert_allclose(frame.forces, single.forces, atol=6e-7)
            np.testing.assert_array_equal(frame.moments, single.moments)


def test_steps_that_only_vasprun_has_are_reported(
    vasp_data: Path, tmp_path: Path
) -> None:
    text = unpacked(vasp_data / FEO / "OUTCAR.gz")
    cut = text[: text.index("- Iteration   26(")]
    outcar = written(tmp_path, cut, "OUTCAR")
    assert reasons(outcar, vasp_data / FEO / "vasprun.xml.gz") == [
        (step, vasp_run.NOT_IN_OUTCAR) for step in (26, 27, 28)
    ]
    last = items(outcar, vasp_data / FEO / "vasprun.xml.gz")[-1]
    assert last.energy == -28.21851457  # TOTEN at the end of the whole OUTCAR


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.83, 0.97])
def test_truncated_run_claims_nothing_but_its_closed_steps(
    vasp_data: Path, tmp_path: Path, share: float
) -> None:
    text = unpacked(vasp_data / NB / "vasprun.xml.gz")
    text = text[: int(share * len(text))]
    found = items(written(tmp_path, text), missing_moments="zero")
    n_closed, n_begun = text.count("</calculation>"), text.count("<calculation>")
    assert len([i for i in found if i.step and i.step <= n_closed]) == n_closed
    unfinished = [i for i in found if "unfinished" in getattr(i, "reason", "")]
    assert [item.step for item in unfinished] == [n_begun][: n_begun - n_closed]
    whole = {
        frame.step: frame
        for frame in kept(vasp_data / NB / "vasprun.xml.gz", missing_moments="zero")
    }
    for frame in found:
        if isinstance(frame, Frame):
            np.testing.assert_array_equal(frame.forces, whole[frame.step].forces)


def test_scf_cycle_decides_on_convergence(vasp_data: Path, tmp_path: Path) -> None:
    text = unpacked(vasp_data / NB / "vasprun.xml.gz")
    n_scf = [part.count("</scstep>") for part in text.split("</calculation>")[:-1]]
    limit = sorted(n_scf)[-5]
    for name, value, is_missed in [
        ("NELM", f"{limit:6d}", lambda step: n_scf[step - 1] >= limit),
        ("EDIFF", "      0.00000001", lambda step: True),  # no change is that small
    ]:
        changed = re.sub(rf'(name="{name}">)\s*[\d.]+', rf"\g<1>{value}", text)
        found = reasons(written(tmp_path, changed), missing_moments="zero")
        missed = {step for step, reason in found if reason == vasp_step.UNCONVERGED}
        assert missed == {step for step in range(1, 50) if is_missed(step)}


def test_run_without_spin_is_taken_on_demand(vasp_data: Path) -> None:
    path = vasp_data / NB / "vasprun.xml.gz"
    assert reasons(path) == [(step, vasp_step.UNPOLARISED) for step in range(1, 50)]
    frames = kept(path, missing_moments="zero")
    assert reasons(path, missing_moments="zero") == [(2, vasp_step.POSITIVE)]
    outcar = [
        item
        for item in read_outcar(vasp_data / NB / "OUTCAR.gz", missing_moments="zero")
        if isinstance(item, Frame)
    ]
    for frame, same in zip(frames, outcar, strict=True):
        assert frame.energy == pytest.approx(same.energy, abs=1e-8)
        np.testing.assert_allclose(frame.forces, same.forces, atol=6e-7)
        assert not frame.moments.any()
        assert frame.note == vasp_step.NO_SPIN_NOTE


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name="ISMEAR">     0', 'name="ISMEAR">     *', "damaged .*invalid literal"),
        ('name="LSORBIT"> F', 'name="LSORBIT"> X', "damaged .*LSORBIT.* X"),
        ('   <i name="ENMAX">', '   <i name="EN">', "does not state ENMAX"),
        ("</parameters>", "</parameter>", "damaged .*: Opening and ending tag"),
        ("<rc><c>O </c><c>   2</c></rc>", "", "damaged or cut off"),
        (
            "<rc><c>O </c><c>   2",
            "<rc><c>Fe</c><c>   2",
            "do not fit each other",
        ),
        ('name="LDAUU">      4.00000000', 'name="LDAUU">', "LDAUL, LDAUU, LDAUJ"),
        ("<c> PAW_PBE Fe 06", "<c> PAW_PBE Xx 06", "no element can be read"),
    ],
)
def test_damaged_head_is_refused(
    vasp_data: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = unpacked(vasp_data / FEO / "vasprun.xml.gz")
    assert old in text
    with pytest.raises(DataError, match=message):
        VasprunRun(written(tmp_path, text.replace(old, new)))


def test_settings_are_not_taken_from_an_incar_that_lies_beside(
    vasp_data: Path, tmp_path: Path
) -> None:
    """Where a number is stars pymatgen looks for any INCAR in the folder."""
    from pymatgen.io.vasp.outputs import Vasprun

    text = unpacked(vasp_data / FEO / "vasprun.xml.gz")
    path = written(tmp_path, text.replace('"LDAUU">      4.00000000', '"LDAUU"> ****'))
    (tmp_path / "INCAR.other").write_text("LDAUU = 5.3 0.0\n")
    with pytest.warns(UserWarning, match="INCAR found"):
        assert Vasprun(str(path), parse_potcar_file=False).hubbards["Fe"] == 5.3
    with pytest.raises(DataError, match=r"head of the vasprun\.xml is damaged"):
        VasprunRun(path)


def test_damage_beyond_the_results_of_a_step_costs_nothing(
    vasp_data: Path, tmp_path: Path
) -> None:
    text = unpacked(vasp_data / FEO / "vasprun.xml.gz")
    place = text.index("<eigenvalues>")
    assert place > text.index("</energy>", text.index("<structure>"))
    outcar = vasp_data / FEO / "OUTCAR.gz"
    broken = written(tmp_path, text[:place] + "<eigen\x00 " + text[place + 13 :])
    for frame, same in zip(
        kept(outcar, broken),
        kept(outcar, vasp_data / FEO / "vasprun.xml.gz"),
        strict=True,
    ):
        assert not frame.note
        np.testing.assert_array_equal(frame.forces, same.forces)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("      0.13043327", "      0.13143327", vasp_step.FORCE_SUM),
        ("-2.61340383", "-2.61350383", vasp_step.DAMAGED_CELL),
        ('wo_entrp">    -21.17', 'wo_entrp">    -21.27', vasp_step.DAMAGED_ENERGY),
        ("0.21276023", "0.212_6023", vasprun.DAMAGED_XML),
        ("0.42552047 ", "0.4255 2047 ", vasprun.DAMAGED_XML),
        ("</energy>", "</energ>", vasprun.DAMAGED_XML),
    ],
)
def test_damaged_step_is_told_by_what_the_file_states_twice(
    vasp_data: Path, tmp_path: Path, old: str, new: str, reason: str
) -> None:
    text = unpacked(vasp_data / FEO / "vasprun.xml.gz")
    place = text.index("<structure>", text.index("</calculation>"))
    end = text.index("</calculation>", place)
    assert old in text[place:end]
    changed = text[place:end].replace(old, new, 1)
    found = reasons(written(tmp_path, text[:place] + changed + text[end:]))
    expected = vasprun.NO_RESULTS if "energ>" in new else reason
    assert found[1] == (2, expected)
    assert {reason for step, reason in found if step != 2} == {vasprun.NO_MOMENTS}


@pytest.mark.parametrize(
    ("names", "runs"),
    [
        (["OUTCAR.gz", "vasprun.xml.gz"], [["OUTCAR.gz", "vasprun.xml.gz"]]),
        (["OUTCAR", "vasprun.xml.gz"], [["OUTCAR", "vasprun.xml.gz"]]),
        (
            ["OUTCAR.relax1.gz", "vasprun.xml.relax1.gz", "vasprun.xml.relax2.gz"],
            [["OUTCAR.relax1.gz", "vasprun.xml.relax1.gz"], ["vasprun.xml.relax2.gz"]],
        ),
        (
            ["OUTCAR_1", "vasprun_1.xml", "OUTCAR.relax2", "vasprun.relax2.xml"],
            [["OUTCAR.relax2", "vasprun.relax2.xml"], ["OUTCAR_1", "vasprun_1.xml"]],
        ),
        (["vasprun.xml", "vasprun.xml.gz"], [["vasprun.xml"], ["vasprun.xml.gz"]]),
        (
            ["OUTCAR", "OUTCAR.gz", "vasprun.xml"],
            [["OUTCAR", "vasprun.xml"], ["OUTCAR.gz"]],
        ),
        (
            ["OUTCAR", "OUTCAR.gz", "vasprun.xml", "vasprun.xml.gz"],
            [["OUTCAR", "vasprun.xml"], ["OUTCAR.gz", "vasprun.xml.gz"]],
        ),
        (["OUTCAR", "vasprun.xml", "vasprun.xml.gz"], [["OUTCAR", "vasprun.xml"]]),
        (
            ["OUTCAR.bz2", "vasprun.xml.xz", "vasprun.xml.bz2"],
            [["OUTCAR.bz2", "vasprun.xml.bz2"]],
        ),
        (["OUTCAR", "._vasprun.xml", "INCAR", "OSZICAR"], [["OUTCAR"]]),
    ],
)
def test_files_of_a_folder_are_sorted_into_runs(
    tmp_path: Path, names: list[str], runs: list[list[str]]
) -> None:
    for name in names:
        (tmp_path / name).touch()
    found = [source for source in find_sources([tmp_path]) if source.reader == "vasp"]
    assert [[file.name for file in source.files] for source in found] == runs
    assert all(source.path == source.files[0] for source in found)


def test_outcar_of_another_name_is_known_by_its_first_line(
    vasp_data: Path, tmp_path: Path
) -> None:
    shutil.copy(vasp_data / "fe4-static/OUTCAR.gz", tmp_path / "run1.outcar.gz")
    shutil.copy(vasp_data / "fe4-static/vasprun.xml.gz", tmp_path / "run1.vasprun.xml")
    (tmp_path / "notes.outcar").write_text("see run1\n")
    (source,) = (s for s in find_sources([tmp_path]) if s.reader == "vasp")
    assert [file.name for file in source.files] == [
        "run1.outcar.gz",
        "run1.vasprun.xml",
    ]
    assert len(list(read_source(source))) == 1


def test_files_named_one_by_one_are_read_together(vasp_data: Path) -> None:
    folder = vasp_data / FEO
    (pair,) = find_sources([folder / "vasprun.xml.gz", folder / "OUTCAR.gz"])
    assert [file.name for file in pair.files] == ["OUTCAR.gz", "vasprun.xml.gz"]
    (single,) = find_sources([folder / "OUTCAR.gz"])
    assert single.files == (folder / "OUTCAR.gz",)
