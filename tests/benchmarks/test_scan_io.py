"""The benchmark of reading and writing: its series, its tasks, and what it refuses to compare."""

import sys

import numpy as np
import pytest

from benchmarks import scan_io_tasks
from benchmarks.ct_series import write_ct_series
from benchmarks.scan_io import _difference, _measured
from medinr.errors import MedinrError
from medinr.io.nifti import write_nifti
from medinr.io.scan import read_scan


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    return write_ct_series(tmp_path_factory.mktemp("series"), 6, 32)


def test_series_is_a_ct_with_padding_and_is_kept(series):
    scan = read_scan(series)
    assert scan.shape == (6, 32, 32)
    assert (scan.modality, scan.unit, scan.array.min()) == ("CT", "HU", -1024)
    np.testing.assert_allclose(scan.spacing, (0.7, 0.7, 1.0))
    before = (series / "0000.dcm").stat().st_mtime_ns
    assert write_ct_series(series.parent, 6, 32) == series
    assert (series / "0000.dcm").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", [name for name in scan_io_tasks.TASKS if name.startswith("medinr")])
def test_every_task_of_medinr_runs(name, series, tmp_path, capsys):
    assert scan_io_tasks.main([name, str(series), str(tmp_path)]) == 0
    assert '{"seconds": ' in capsys.readouterr().out
    output = scan_io_tasks.TASKS[name][0]
    if output:
        np.testing.assert_array_equal(read_scan(tmp_path / output).array, read_scan(series).array)


def test_processes_are_measured_and_their_errors_told():
    run, _ = _measured([sys.executable, "-c", "x = bytearray(50 * 2**20); print('{\"seconds\": 0.5}')"])
    assert run["seconds"] == 0.5
    assert run["process_seconds"] > 0
    assert 50 * 2**20 < run["peak_bytes"] < 200 * 2**20
    assert _measured([sys.executable, "-c", "raise ValueError('no such scan')"]) == (None, "ValueError: no such scan")


def test_only_the_same_work_is_compared(series, tmp_path):
    scan = read_scan(series)
    write_nifti(scan, tmp_path / "medinr.nii")
    write_nifti(scan, tmp_path / "monai.nii")
    assert _difference(tmp_path) == 0
    other = scan.array.copy()
    other[3, 16, 16] += 2
    write_nifti(scan.with_array(other), tmp_path / "monai.nii", overwrite=True)
    with pytest.raises(MedinrError, match="differ by up to 2 HU"):
        _difference(tmp_path)
