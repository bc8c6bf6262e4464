"""Total variation and plug-and-play on the same projections, and which run of the former is near its limit."""

import json

import numpy as np
import pytest

from medinr.io.nifti import write_nifti
from medinr.volume import Volume


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    y, x = np.indices((48, 48)) - 23.5
    hu = np.where(np.hypot(y, x) < 18, 40.0, -1000.0) + 60.0 * (np.hypot(y - 4, x + 5) < 5)
    volume = Volume(hu[None].astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]), "CT", "HU")
    return write_nifti(volume, tmp_path_factory.mktemp("ct") / "disc.nii.gz")


def test_both_are_timed_on_every_beam(benchmark, scan, tmp_path):
    found = benchmark(
        "ct", "--scan", scan, "--views", 20, "--iterations", 5, 150, 300, "--out", tmp_path / "ct", "--debug"
    )
    assert found.code == 0
    rows = json.loads((tmp_path / "ct" / "ct.json").read_text())["rows"]
    assert [row["beam"] for row in rows] == ["parallel", "fan"]
    for row in rows:
        # Five iterations are far from the limit.
        assert row["tv_iterations"] in (150, 300)
        assert min(row["tv_seconds"], row["medinr_seconds"]) > 0
        assert min(row["tv_psnr"], row["medinr_psnr"]) > 25
    assert "beside total variation" in found.out
    again = benchmark("ct", "--scan", scan, "--out", tmp_path / "ct")
    assert again.code == 2
    assert "--overwrite" in again.err


def test_a_slice_that_is_not_there_is_bad_input(benchmark, scan, tmp_path):
    found = benchmark("ct", "--scan", scan, "--slice", 7, "--out", tmp_path)
    assert found.code == 2
    assert "7" in found.err
