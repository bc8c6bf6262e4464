"""Folders straight from an archive: several series, links, damage, archives, and objects that are no scans."""

import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, SegmentationStorage, generate_uid

from medinr.errors import FileError, GeometryError
from medinr.io.dicom.read import list_series, read_dicom_series

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"


def _series(synthetic, folder, shape=(5, 8, 9), modality="MR", **options):
    volume = synthetic.phantom(shape, modality)
    return volume, synthetic.write_dicom_series(folder, volume, **options)


def _rewrite(path, target, change):
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    change(dataset)
    dataset.save_as(target, enforce_file_format=True)


def _screenshot(dataset):
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SeriesInstanceUID = generate_uid()
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient


def _report(dataset):
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = BASIC_TEXT_SR
    dataset.Modality, dataset.SeriesInstanceUID = "SR", generate_uid()
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(dataset, keyword)


def _study(synthetic, folder):
    """A volume with a localiser of three planes, a report and a screenshot."""
    volume, paths = _series(synthetic, folder / "tra", description="t1 tra")
    uid = generate_uid()
    for number, angles in enumerate(((0, 0, 0), (90, 0, 0), (0, 90, 0))):
        plane = synthetic.phantom((1, 8, 9), geometry=synthetic.affine(angles=angles))
        synthetic.write_dicom_series(folder / "loc" / str(number), plane, series_uid=uid, description="localizer")
    _rewrite(paths[0], folder / "report", _report)
    _rewrite(paths[0], folder / "shot", _screenshot)
    return volume


def test_the_only_volume_is_taken_and_the_rest_is_named(synthetic, tmp_path):
    volume = _study(synthetic, tmp_path)
    read = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(read.array, volume.array)
    said = " ".join(read.provenance.notes)
    for words in ("the only volume", "localiser, localiser, localiser", "1 x a report", "1 x a screenshot"):
        assert words in said


def test_a_zip_archive_is_read_as_the_folder_in_it(synthetic, tmp_path):
    volume = _study(synthetic, tmp_path / "study")
    with zipfile.ZipFile(tmp_path / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tmp_path / "study").rglob("*")):
            archive.write(path, path.relative_to(tmp_path))
        archive.writestr("../outside", (tmp_path / "study" / "shot").read_bytes())
    read = read_dicom_series(tmp_path / "study.zip")
    np.testing.assert_array_equal(read.array, volume.array)
    assert read.provenance.sha256 == read_dicom_series(tmp_path / "study").provenance.sha256
    assert all(file.exists() for file in read.provenance.files)
    assert not (tmp_path.parent / "outside").exists()


def test_archives_that_cannot_be_what_they_say(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(80 * 2**20))
    with pytest.raises(FileError, match="no scan shrinks"):
        read_dicom_series(tmp_path / "bomb.zip")
    damaged = bytearray((tmp_path / "bomb.zip").read_bytes())
    damaged[60:200] = bytes(140)
    (tmp_path / "damaged.zip").write_bytes(bytes(damaged[:1000]) + bytes(damaged[-100:]))
    with pytest.raises(FileError):
        read_dicom_series(tmp_path / "damaged.zip")


def test_a_dicomdir_names_its_files(synthetic, tmp_path):
    volume, paths = _series(synthetic, tmp_path / "IMAGES")
    index = Dataset()
    index.SOPClassUID = "1.2.840.10008.1.3.10"
    index.DirectoryRecordSequence = []
    for name in (*(path.name for path in paths), "LOST"):
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["IMAGES", name]
        index.DirectoryRecordSequence.append(record)
    (tmp_path / "outside").write_bytes(paths[0].read_bytes())
    record = Dataset()
    with pydicom.config.disable_value_validation():
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["..", "outside"]
        index.DirectoryRecordSequence.append(record)
    index.file_meta = pydicom.dataset.FileMetaDataset()
    index.file_meta.MediaStorageSOPClassUID = index.SOPClassUID
    index.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    index.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    index.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    with pytest.raises(FileError, match=r"LOST \(a file that the index names"):
        read_dicom_series(tmp_path / "DICOMDIR")
    index.DirectoryRecordSequence.pop(len(paths))
    index.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    read = read_dicom_series(tmp_path / "DICOMDIR")
    np.testing.assert_array_equal(read.array, volume.array)
    assert "left aside: 1 x a file of the index outside its folder" in read.provenance.notes


def test_dangling_links_beside_the_slices_are_named(synthetic, tmp_path):
    _, paths = _series(synthetic, tmp_path)
    for path in (paths[0], paths[1]):
        path.unlink()
        path.symlink_to(tmp_path / "annex" / path.name)
    with pytest.raises(FileError, match=rf"{min(paths[:2]).name} \(a link that leads nowhere\)"):
        read_dicom_series(tmp_path)
    assert sum(one.lost for one in list_series(tmp_path).left_out) == 2


def test_a_link_that_leads_nowhere_as_the_scan(tmp_path):
    (tmp_path / "scan").symlink_to(tmp_path / "gone")
    with pytest.raises(FileError, match="leads nowhere"):
        read_dicom_series(tmp_path / "scan")


@pytest.mark.skipif(shutil.which("setpriv") is None or os.getuid() != 0, reason="needs setpriv and root")
def test_files_and_folders_without_permission_are_named(synthetic, tmp_path):
    _, paths = _series(synthetic, tmp_path / "scan")
    _series(synthetic, tmp_path / "scan" / "locked")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    (tmp_path / "scan" / "locked").chmod(0)
    code = "import sys; from medinr.io.dicom.read import read_dicom_series as r; print(r(sys.argv[1]).provenance.notes)"
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-B", "-c"]
    if subprocess.run([*nobody, "import medinr"], capture_output=True, check=False).returncode:
        pytest.skip("another user cannot run this Python")
    command = [*nobody, code, str(tmp_path / "scan")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "a folder that cannot be opened (permission)" in found.stdout, found.stderr
    paths[1].chmod(0)
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"{paths[1].name} (a file that cannot be opened (permission))" in found.stderr
    (tmp_path / "scan").chmod(0)
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "FileError" in found.stderr
    assert "permission denied" in found.stderr


def test_a_header_cut_before_rows_is_named_and_the_rest_read(synthetic, tmp_path):
    volume, paths = _series(synthetic, tmp_path)
    whole = paths[4].read_bytes()
    # Rows (0028,0010), explicit little endian.
    paths[4].write_bytes(whole[: whole.index(b"\x28\x00\x10\x00US")])
    read = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(read.array, volume.array[:4])
    assert "left aside: 1 x a damaged DICOM file" in read.provenance.notes
    assert [one.path.name for one in list_series(tmp_path).left_out] == [paths[4].name]
    paths[2].unlink()
    with pytest.raises(GeometryError, match=f"missing.*Damaged files.*{paths[4].name}"):
        read_dicom_series(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "words"), [("PatientID", "patient 2"), ("FrameOfReferenceUID", "frame of reference 2")]
)
def test_one_series_uid_of_two_is_split(synthetic, tmp_path, keyword, words):
    def of(value, start):
        def change(dataset, number):
            dataset.FrameOfReferenceUID = "1.2.4"
            dataset.ImagePositionPatient[2] = start + 3 * number
            setattr(dataset, keyword, value)

        return change

    for number, start in ((1, 0), (2, 15)):
        volume = synthetic.phantom((5, 8, 9), seed=number)
        synthetic.write_dicom_series(
            tmp_path / str(number), volume, series_uid="1.2.3", change=of(f"1.2.{number}", start)
        )
    listing = list_series(tmp_path)
    assert [len(series.frames) for series in listing.series] == [5, 5]
    assert words in listing.series[1].words
    with pytest.raises(FileError, match="2 series"):
        read_dicom_series(tmp_path)
    np.testing.assert_array_equal(read_dicom_series(tmp_path, 2).array, synthetic.phantom((5, 8, 9), seed=2).array)


@pytest.mark.parametrize("keyword", ["ImageOrientationPatient", "PixelSpacing"])
def test_rounding_of_directions_and_spacing_splits_nothing(synthetic, tmp_path, keyword):
    def rounded(dataset, number):
        if number % 2:
            dataset[keyword].value[0] = (
                f"{float(dataset[keyword].value[0]) + (1e-7 if keyword[0] == 'I' else 1e-6):.10f}"
            )

    # The third decimal of this cosine is on the edge of rounding.
    angle = float(np.degrees(np.arccos(0.9995)))
    volume = synthetic.phantom((6, 8, 9), geometry=synthetic.affine((0.70005, 0.8, 3.0), (0, 0, angle)))
    synthetic.write_dicom_series(tmp_path, volume, change=rounded)
    read = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(read.array, volume.array)
    np.testing.assert_allclose(read.affine, volume.affine, atol=1e-5)


def test_objects_that_are_no_scans_are_called_what_they_are(synthetic, tmp_path):
    _, paths = _series(synthetic, tmp_path / "in", modality="CT")

    def segmentation(dataset):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SegmentationStorage

    def projections(dataset):
        for group in (0x7029, 0x7031):
            dataset.private_block(group, "TCIA", create=True).add_new(1, "LO", "x")

    for change, words in (
        (segmentation, r"a segmentation \(labels\), not a scan"),
        (projections, r"raw CT projections \(DICOM-CT-PD\), not a scan. medinr reconstruct"),
        (_report, "a report, not a scan"),
        (_screenshot, r"a screenshot .*, not a scan"),
    ):
        _rewrite(paths[0], tmp_path / "object.dcm", change)
        with pytest.raises(FileError, match=words):
            read_dicom_series(tmp_path / "object.dcm")


def test_series_are_chosen_by_uid_and_by_description(synthetic, tmp_path):
    for number, words in enumerate(("T2_TSE_tra", "T2_TSE_sag", "T1_tra")):
        volume = synthetic.phantom((3, 8, 9), seed=number)
        synthetic.write_dicom_series(tmp_path / words, volume, series_uid=f"1.2.{number}", description=words)
    for wanted, number in (("t2*tra", 0), ("1.2.1", 1), ("T1", 2), (1, 2), ("2", 1)):
        read = read_dicom_series(tmp_path, wanted)
        np.testing.assert_array_equal(read.array, synthetic.phantom((3, 8, 9), seed=number).array)
    with pytest.raises(FileError, match="t2 was asked for, and 2 fit"):
        read_dicom_series(tmp_path, "t2")
    with pytest.raises(FileError, match="flair was asked for; there are 3"):
        read_dicom_series(tmp_path, "flair")
