"""Padding of a CT: one value where it is read, that of its files where a result is written."""

import numpy as np
import pydicom
import pytest

from medinr.io.dicom.derived.write import write_derived_series
from medinr.io.dicom.read import read_dicom_series
from medinr.io.dicom.stored_padding import with_stored_padding

WORDS = {"description": "made up", "settings_summary": "made up"}


def padded(intercept, stored, *, tag=-2000, signed=True):
    """Five rows of padding; HU by another intercept than -1024."""

    def change(dataset, _):
        pixels = np.frombuffer(dataset.PixelData, "<i2").reshape(dataset.Rows, dataset.Columns) - 1024 - intercept
        pixels[:5] = stored
        dataset.RescaleIntercept, dataset.PixelRepresentation = intercept, int(signed)
        dataset.PixelData = (pixels.astype("<i2") if signed else pixels.astype("<u2")).tobytes()
        dataset.add_new(0x00280120, "SS" if tag < 0 else "US", tag)

    return change


@pytest.fixture
def read(synthetic, tmp_path):
    def make(change):
        synthetic.write_dicom_series(tmp_path / "in", synthetic.phantom(modality="CT"), change=change)
        return read_dicom_series(tmp_path / "in")

    return make


@pytest.mark.parametrize(("intercept", "hounsfield"), [(0, -2000), (-1024, -3024), (-1000, -3000)])
def test_it_is_given_back_in_hounsfield_units(read, intercept, hounsfield):
    scan = read(padded(intercept, -2000))
    np.testing.assert_array_equal(scan.array[:, :5], -1024)
    result = scan.array - 3
    result[:, :5] = -1024
    found = with_stored_padding(result, scan)
    np.testing.assert_array_equal(found[:, :5], hounsfield)
    np.testing.assert_array_equal(found[:, 5:], result[:, 5:])
    some = scan.select([1, 3])
    np.testing.assert_array_equal(with_stored_padding(some.array, some)[:, :5], hounsfield)


def test_values_that_a_result_has_there_are_the_results(read):
    scan = read(padded(0, -2000))
    result = scan.array.copy()
    result[1, 2, 3] = -700
    found = with_stored_padding(result, scan)
    assert found[1, 2, 3] == -700
    assert found[1, 2, 4] == -2000


def test_padding_that_is_no_hounsfield_unit_stays_at_the_floor(read):
    # -2000 in the bits of an unsigned number: 63536, which by the rescaling are 62512 HU.
    scan = read(padded(-1024, -2000, tag=63536, signed=False))
    np.testing.assert_array_equal(scan.array[:, :5], -1024)
    np.testing.assert_array_equal(with_stored_padding(scan.array, scan), scan.array)


def test_scans_without_padding_and_lost_files_stay_as_they_are(read):
    plain = read(None)
    assert with_stored_padding(plain.array, plain) is plain.array
    scan = read(padded(0, -2000))
    for path in scan.provenance.files:
        path.unlink()
    assert with_stored_padding(scan.array, scan) is scan.array


def test_a_derived_series_says_what_is_padding(read, tmp_path):
    scan = read(padded(-1024, -2000))
    result = scan.with_array(with_stored_padding(scan.array, scan))
    files = write_derived_series(result, tmp_path / "out", **WORDS).files
    for path in files:
        one = pydicom.dcmread(path)
        assert one.PixelPaddingValue == -3024
        assert "PixelPaddingRangeLimit" not in one
        assert (one.pixel_array[:5] == -3024).all()
    back = read_dicom_series(tmp_path / "out")
    np.testing.assert_array_equal(back.array, scan.array)
    result.array[:, 0] = -2000
    one = pydicom.dcmread(write_derived_series(result, tmp_path / "two", **WORDS).files[0])
    assert (one.PixelPaddingValue, one.PixelPaddingRangeLimit) == (-3024, -2000)
    np.testing.assert_array_equal(read_dicom_series(tmp_path / "two").array, scan.array)
