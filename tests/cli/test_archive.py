"""A study as it comes from an archive: the right series is found, the rest is named."""

import json
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from medinr.io.nifti import read_nifti

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"


@pytest.fixture
def study(synthetic, tmp_path):
    """A zip of a series, a localiser of three planes, a report and a screenshot."""
    folder = tmp_path / "study"
    paths = synthetic.write_dicom_series(folder / "tra", synthetic.phantom((3, 24, 20)), description="t2 tra")
    uid = generate_uid()
    for number, angles in enumerate(((0, 0, 0), (90, 0, 0), (0, 90, 0))):
        plane = synthetic.phantom((1, 24, 20), geometry=synthetic.affine(angles=angles))
        synthetic.write_dicom_series(folder / "loc" / str(number), plane, series_uid=uid, description="localizer")
    for name, sop_class, dropped in (
        ("report", BASIC_TEXT_SR, ("Rows", "Columns", "PixelData")),
        ("screenshot", SecondaryCaptureImageStorage, ("ImagePositionPatient", "ImageOrientationPatient")),
    ):
        dataset = pydicom.dcmread(paths[0])
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID = generate_uid()
        for keyword in dropped:
            delattr(dataset, keyword)
        dataset.save_as(folder / name, enforce_file_format=True)
    with zipfile.ZipFile(tmp_path / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return tmp_path / "study.zip"


def test_the_series_of_a_zip_is_reconstructed(medinr, synthetic, study, tmp_path):
    command = (
        "reconstruct-simulated",
        study,
        "--task",
        "denoise",
        "--slices",
        "1",
        "--out",
        tmp_path / "out",
        "--debug",
    )
    found = medinr(*command)
    assert found.code == 0, found.err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    said = " ".join(result["notes"])
    for words in ("the only volume", "left aside: localiser, localiser, localiser", "1 x a report", "1 x a screenshot"):
        assert words in said
        assert words in found.out
    assert result["dicom"]["written"]
    written = pydicom.dcmread(tmp_path / "out" / "dicom" / "0001.dcm")
    assert written.SeriesDescription == "medinr simulated denoise"
    image = read_nifti(tmp_path / "out" / "reconstruction.nii.gz", modality="MR")
    original = synthetic.phantom((3, 24, 20)).array[1]
    assert np.corrcoef(image.array.ravel(), original.ravel())[0, 1] > 0.9


def test_a_zip_is_inspected_series_by_series(medinr, study):
    found = medinr("inspect", study, "--debug")
    assert found.code == 0
    for words in ("'t2 tra'", "'localizer'", "1 x a report", "1 x a screenshot"):
        assert words in found.out


def test_a_file_that_cannot_be_read_is_named_on_the_terminal(medinr, synthetic, tmp_path, caplog):
    paths = synthetic.write_dicom_series(tmp_path / "scan", synthetic.phantom((4, 24, 20)))
    whole = paths[3].read_bytes()
    paths[3].write_bytes(whole[: whole.index(b"\x28\x00\x10\x00US")])
    found = medinr("inspect", tmp_path / "scan", "--debug")
    assert found.code == 0
    assert "left aside: 1 x a damaged DICOM file" in found.out
    assert paths[3].name not in found.out
    assert f"{paths[3].name} (a damaged DICOM file)" in caplog.text
    paths[3].unlink()
    paths[3].symlink_to(tmp_path / "gone")
    caplog.clear()
    assert medinr("inspect", tmp_path / "scan").code == 2
    assert f"{paths[3].name} (a link that leads nowhere)" in caplog.text
    caplog.clear()
    assert medinr("inspect", tmp_path / "scan").code == 2
    assert not caplog.text  # once each


def test_many_time_points_are_not_listed_one_by_one(medinr, synthetic, tmp_path):
    for point in range(20):

        def change(dataset, _, point=point):
            dataset.FrameOfReferenceUID, dataset.TemporalPositionIdentifier = "1.2.4", point

        volume = synthetic.phantom((2, 8, 9))
        synthetic.write_dicom_series(tmp_path / "bold" / str(point), volume, series_uid="1.2.3", change=change)
    found = medinr("convert", tmp_path / "bold", "--out", tmp_path / "a.nii.gz")
    assert found.code == 2
    assert "... 18 more of this series ..." in found.err
    assert len(found.err.splitlines()) == 4
    assert medinr("convert", tmp_path / "bold", "--series", "time point 7", "--out", tmp_path / "a.nii.gz").code == 0
