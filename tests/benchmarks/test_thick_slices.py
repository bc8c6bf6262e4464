import json

import numpy as np
import pytest

from benchmarks import thick_slices
from benchmarks.thick_slices import benchmark_thick_slices
from medinr.io.nifti import write_nifti
from medinr.models.checkpoint import load_model_for
from medinr.solve.sharpen_settings import SharpenSettings


@pytest.fixture
def seen(monkeypatch) -> list:
    """Scans and grids that are sharpened from here on, in two iterations."""
    real, found = thick_slices.sharpen_scan, []

    def quick(scan, grid, noise, prior, **more):
        found.append((scan, grid))
        return real(scan, grid, noise, prior, settings=SharpenSettings(iterations=2), **more)

    monkeypatch.setattr(thick_slices, "sharpen_scan", quick)
    return found


def test_planes_in_the_middle_are_sharpened_beside_splines(synthetic, seen, tmp_path, monkeypatch):
    head = synthetic.phantom((30, 40, 36), geometry=synthetic.affine((1.0, 1.0, 1.0)))
    path = write_nifti(head, tmp_path / "head.nii.gz")
    monkeypatch.setattr(thick_slices, "SLICES", ((4.0, 5.0),))
    assert load_model_for("brain_mr", "MR").prior is not None
    table = benchmark_thick_slices([path], 4, "gaussian", "brain_mr", tmp_path / "out")
    ((scan, grid),) = seen
    assert scan.shape == (6, 4, 36)
    assert grid.shape == (30, 4, 36)
    assert grid.final_shape is None
    (row,) = json.loads((tmp_path / "out" / "thick_slices.json").read_text())["rows"]
    assert row["shape"] == [30, 4, 36]
    assert row["gain"] == pytest.approx(row["medinr"] - row["splines"])
    assert np.isfinite(row["splines"])
    assert table.row_count == 1


def test_slices_that_reach_beyond_the_outermost_rows(synthetic, seen, tmp_path, monkeypatch):
    head = synthetic.phantom((12, 41, 36), geometry=synthetic.affine((0.72, 0.72, 3.0)))
    path = write_nifti(head, tmp_path / "head.nii.gz")
    monkeypatch.setattr(thick_slices, "SLICES", ((4.0, 4.0),))
    benchmark_thick_slices([path], 4, "gaussian", "brain_mr", tmp_path / "out")
    (row,) = json.loads((tmp_path / "out" / "thick_slices.json").read_text())["rows"]
    ((_, grid),) = seen
    assert grid.shape[0] > row["shape"][0]
    assert row["gain"] == pytest.approx(row["medinr"] - row["splines"])
