from pathlib import Path

import pytest

from medinr.io.provenance import hashed_identifier, last_part, notes_without_names, without_names
from medinr.volume import Provenance, ScanFacts


def test_files_and_uids_are_reduced_and_the_rest_stays():
    facts = ScanFacts(component="phase", thickness=3.0)
    full = Provenance("dicom", (Path("Doe John/IM1"), Path("Doe John/IM2")), "f" * 64, "1.2.3", ("IM2: odd",), facts)
    assert without_names(full) == Provenance("dicom", (), "f" * 64, hashed_identifier("1.2.3"), ("a file: odd",), facts)
    assert without_names(without_names(full)) == without_names(full)
    assert without_names(Provenance()) == Provenance()


def test_frames_of_reference_can_still_be_compared():
    assert hashed_identifier("1.2.840.10008.1") == hashed_identifier("1.2.840.10008.1")
    assert hashed_identifier("1.2.840.10008.1") != hashed_identifier("1.2.840.10008.2")
    assert hashed_identifier("") == ""
    assert len(hashed_identifier("1.2.3")) == len("sha256:") + 16


@pytest.mark.parametrize(
    ("note", "wanted"),
    [
        ("Doe John.nii.gz: no unit of length", "a file: no unit of length"),
        ("Doe John.json names echo 2", "a file names echo 2"),
        ("IM0007 and IM0008 are at one place", "a file and a file are at one place"),
        ("IM00071 is a longer name", "IM00071 is a longer name"),
        ("of Roe_Jane.IMA nothing was read", "of a file nothing was read"),
        ("left out: /data/Roe/IM1, C:\\scans\\Roe and ../Roe/x", "left out: a file, a file and a file"),
        ("'Roe_Jane.dcm' (cut short)", "'a file' (cut short)"),
        ("in scans/Doe John/ there are others", "in a file/ there are others"),
        ("slices are 3 mm apart but 1.5 mm thick", "slices are 3 mm apart but 1.5 mm thick"),
        ("attenuation in 1/mm, 2.5 s/mm^2, and/or", "attenuation in 1/mm, 2.5 s/mm^2, and/or"),
        ("its spacing is SliceThickness (0018,0050)", "its spacing is SliceThickness (0018,0050)"),
    ],
)
def test_notes_name_no_file(note, wanted):
    folder = Path("scans") / "Doe John"
    files = (folder / "Doe John.nii.gz", folder / "IM0007", folder / "IM0008")
    assert notes_without_names([note], files) == (wanted,)


def test_a_file_that_is_called_like_a_word_does_not_take_it_from_the_note():
    assert notes_without_names(["slices are uneven"], [Path("slices.nii.gz")]) == ("slices are uneven",)


def test_last_part_of_any_systems_path():
    assert [last_part(path) for path in ("/a/b.csv", "a\\b.csv", "b.csv", "a/b/", "")] == [
        "b.csv", "b.csv", "b.csv", "b", ""
    ]  # fmt: skip
