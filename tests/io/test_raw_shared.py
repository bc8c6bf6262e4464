"""Real raw data beside the checkout, and the sidecars that files without a header need."""

import numpy as np
import pytest
import torch
import yaml
from medinr.pipelines.inspect import inspect

from medinr.data.raw.steps import remove_oversampling
from medinr.data.raw.views import find_rotation_centre, remove_stripes
from medinr.errors import FileError
from medinr.io.raw.read import read_raw
from medinr.io.raw.recognise import is_raw
from medinr.operators import Fourier

pytestmark = pytest.mark.shared

BRAIN = """
kind: kspace
axes: [coil, ky, kx]
spacing_mm: [1, 1]
"""
KNEE = """
kind: kspace
axes: [ky, kx]
variable: kdata
recon_shape: [332, 320]
readout_axis: kx
"""
HEAD = """
kind: kspace
axes: [ky, kx]
variable: data
fov_mm: [240, 240]
"""


def image_of(raw):
    return Fourier(tuple(raw.data.shape[-2:])).H(raw.data).abs().square().sum(dim=(0, 1)).sqrt()


def test_eight_coil_brain(shared_data):
    path = shared_data / "kspace" / "sigpy_tutorial_cartesian_ksp.npy"
    raw = read_raw(path, sidecar=yaml.safe_load(BRAIN))
    assert raw.data.shape == (1, 8, 230, 180)
    assert raw.sampling == "points"
    assert raw.acceleration == pytest.approx(8.04, abs=0.01)
    assert "full centre 23 x 23" in inspect(path, sidecar=yaml.safe_load(BRAIN)).text()
    with pytest.raises(FileError, match="has no names of its axes"):
        read_raw(path)


def test_single_coil_knee_and_head(shared_data, tmp_path):
    sidecar = tmp_path / "knee.yaml"
    sidecar.write_text(KNEE)
    knee = read_raw(shared_data / "kspace" / "larson_coronal_fatsat_2D_knee.mat", sidecar=sidecar)
    assert knee.data.shape == (1, 1, 332, 640)
    assert knee.sampling == "full"
    small = remove_oversampling(knee)
    assert small.data.shape == (1, 1, 332, 320)
    torch.testing.assert_close(image_of(small), image_of(knee)[:, 160:480], rtol=1e-4, atol=1e-7)
    # The leg runs along the readout and out of the field of view that is kept.
    assert float(image_of(small).square().sum() / image_of(knee).square().sum()) == pytest.approx(0.743, abs=0.01)
    head = read_raw(shared_data / "kspace" / "larson_se_t1_sag_data.mat", sidecar=yaml.safe_load(HEAD))
    assert head.facts["spacing_mm"] == (0.9375, 0.9375)
    # Air above the head and brain in the middle: neither shifted nor upside down.
    assert float(image_of(head)[:15].mean()) < 0.3 * float(image_of(head)[60:140, 60:200].mean())


def test_tooth(shared_data):
    raw = read_raw(shared_data / "sinogram" / "tooth.h5")
    assert raw.data.shape == (2, 181, 640)
    assert raw.facts["photons"] == pytest.approx(4.3e4, rel=0.1)
    assert float(raw.data.max()) == pytest.approx(1.954, abs=0.01)
    found = find_rotation_centre(raw, slice_number=0, search=(290, 302))
    assert found.rotation_centre == pytest.approx(296, abs=1.5)
    rows = remove_stripes(raw).data.mean(1)
    # Stripes are what one element's mean differs from its neighbours' by.
    assert float(rows.diff(n=2).abs().mean()) < float(raw.data.mean(1).diff(n=2).abs().mean())


@pytest.mark.parametrize(("name", "first"), [("solid_disc", 1.0), ("ta", 119.0)])
def test_htc_discs(shared_data, name, first):
    path = shared_data / "sinogram" / "htc2022" / f"{name}_subsample73.mat"
    raw = read_raw(path)
    assert is_raw(path)
    assert raw.data.shape == (1, 61, 560)
    assert raw.facts["source_origin_mm"] == 410.66
    assert raw.facts["source_detector_mm"] == 553.74
    assert raw.facts["detector_spacing_mm"] == 0.2
    np.testing.assert_allclose(np.degrees(raw.facts["angles"]), first + 0.5 * np.arange(61))
    assert "views cover 30.0 of 360 degrees" in inspect(path).text()
