"""Decoders in a process of their own: right values, and a sentence where they end it."""

import sys

import numpy as np
import pytest

from medinr.errors import FileError
from medinr.io.dicom import isolated
from medinr.io.dicom.read import read_dicom_series


@pytest.fixture
def lossless(synthetic, tmp_path):
    """A series in JPEG lossless, and its volume."""
    gdcm = pytest.importorskip("gdcm")
    volume = synthetic.phantom((3, 24, 20))
    for path in synthetic.write_dicom_series(tmp_path, volume):
        reader, writer, change = gdcm.ImageReader(), gdcm.ImageWriter(), gdcm.ImageChangeTransferSyntax()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    return tmp_path, volume


def test_values_are_those_that_were_stored(lossless):
    folder, volume = lossless
    np.testing.assert_array_equal(read_dicom_series(folder).array, volume.array)
    np.testing.assert_array_equal(read_dicom_series(folder, slices=[1]).array, volume.array[1:2])


@pytest.mark.parametrize("code", ["import os; os.abort()", "print('nonsense')", "print('{\"bytes\": 9}')"])
def test_a_decoder_that_ends_its_process_does_not_end_ours(lossless, monkeypatch, code):
    folder, volume = lossless
    with monkeypatch.context() as context:
        context.setattr(isolated, "_helper", None)
        context.setattr(isolated, "_COMMAND", (sys.executable, "-c", code))
        with pytest.raises(FileError, match=r"IM000\d: its compressed pixels are damaged"):
            read_dicom_series(folder)
    np.testing.assert_array_equal(read_dicom_series(folder).array, volume.array)


def test_a_damaged_stream_is_refused(lossless):
    folder, _ = lossless
    path = sorted(folder.iterdir())[0]
    whole = bytearray(path.read_bytes())
    start = whole.index(b"\xff\xd8")
    whole[start + 4 : start + 24] = bytes(20)
    path.write_bytes(bytes(whole))
    with pytest.raises(FileError, match=path.name):
        read_dicom_series(folder)
