"""What `medinr inspect` says of raw data, and what it warns of."""

import numpy as np
import pytest
import torch
from medinr.pipelines.inspect import inspect

from medinr.errors import FileError
from medinr.jobs.inspect.raw import describe_raw
from medinr.raw import CARTESIAN, NON_CARTESIAN, SINOGRAM, RawMeasurement


def kspace(peak=(4, 3), mask=None, covariance=None, weak=1.0, **facts):
    data = torch.full((1, 2, 8, 6), 0.1 + 0j, dtype=torch.complex64)
    data[..., peak[0], peak[1]] = 5
    data[:, 1] *= weak
    arrays = {"mask": mask, "noise_covariance": covariance}
    arrays = {name: value for name, value in arrays.items() if value is not None}
    return RawMeasurement("kspace", data, CARTESIAN, {"image_shape": (8, 6)} | facts, arrays)


def sinogram(angles, values=1.0, **facts):
    data = torch.full((1, len(angles), 12), values)
    data[..., [0, -1]] = 0
    return RawMeasurement("sinogram", data, SINOGRAM, {"geometry": "parallel", "angles": angles} | facts)


def test_kspace_in_words():
    mask = torch.zeros(8, 6, dtype=torch.bool)
    mask[2:7] = True
    covariance = torch.tensor([[4, 1], [1, 1]], dtype=torch.complex64)
    raw = kspace(mask=mask, covariance=covariance, spacing_mm=(1.0, 2.0), slice_thickness_mm=3.0, recon_shape=(8, 3))
    text = describe_raw(raw.after("Looked at."))
    assert text.splitlines() == [
        "raw         k-space, from array",
        "axes        slice 1, coil 2, ky 8, kx 6",
        "image       6 x 8 pixels, 2.000 x 1.000 mm, field of view 12 x 8 mm",
        "slice       3.00 mm thick",
        "oversampled 1.00 x 2.00 (y, x); 3 x 8 pixels without it",
        "sampling    lines, 62.5 % of samples, acceleration 1.60; full centre 6 x 5",
        "noise       measured, standard deviation 1 to 2 from coil to coil, correlation up to 0.50",
        "signal      largest sample 5, at the centre",
        "step        Looked at.",
    ]


def test_spokes_in_words():
    path = torch.zeros(5, 7, 2)
    path[..., 0], path[..., 1] = 3.5, torch.linspace(-2, 2, 7)
    facts = {"image_shape": (8, 6), "trajectory": "radial", "noise_sigma": 0.25}
    raw = RawMeasurement("kspace", torch.ones(1, 1, 5, 7) + 0j, NON_CARTESIAN, facts, {"trajectory": path})
    text = describe_raw(raw)
    assert "radial, 5 readouts of 7 samples, out to 2.0 x 3.5 cycles per field of view (x, y)" in text
    assert "zero frequency within 3.50 cycles of a sample" in text
    assert "standard deviation 0.25" in text


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (kspace(peak=(0, 0)), "zero frequency in the corner"),
        (kspace(), "add spacing_mm or fov_mm"),
        (kspace(weak=1e-4), "coil 1 is 10000 times weaker"),
        (kspace(covariance=torch.diag(torch.tensor([1, 100 + 0j]))), "coil 1 is much noisier"),
        (kspace(mask=torch.eye(8, 6, dtype=torch.bool)), "zero frequency itself was not measured"),
        (sinogram(np.linspace(0, 1, 9)), "views cover 57.3 of 180 degrees"),
        (sinogram(np.linspace(0, 1, 9)), "add detector_spacing_mm"),
        (sinogram([0, 0.5, 1, 2.5, 3]), "unevenly spaced"),
        (sinogram(np.linspace(0, 3, 9), values=-1.0), "clearly negative"),
        (sinogram([0.1]).after("", data=torch.ones(1, 1, 12)), "wider than the field of view"),
    ],
)
def test_cautions(raw, words):
    cautions = [line for line in describe_raw(raw).splitlines() if line.startswith("caution")]
    assert any(words in line for line in cautions)


def test_good_data_get_no_caution():
    assert "caution" not in describe_raw(kspace(spacing_mm=(1, 1)))
    good = sinogram(np.arange(60) * np.pi / 60, detector_spacing_mm=0.5, photons=1e4, flat_counts=2e4)
    text = describe_raw(good)
    assert "caution" not in text
    assert "views       60 from 0.0 to 177.0 degrees, 3.000 degrees apart" in text
    assert "12 elements, 0.5 mm apart, 6.0 mm in all; the rotation axis is seen by element 5.50" in text
    assert "flat field 20000 counts, about 1e+04 photons per element" in text


def test_a_sidecar_is_for_raw_data(synthetic, tmp_path):
    np.save(tmp_path / "k.npy", np.ones((4, 4), np.complex64))
    assert "ky 4, kx 4" in inspect(tmp_path / "k.npy", sidecar={"kind": "kspace", "axes": ["ky", "kx"]}).text()
    synthetic.write_dicom_series(tmp_path / "dicom", synthetic.phantom())
    with pytest.raises(FileError, match="explains raw data; this is none"):
        inspect(tmp_path / "dicom", sidecar={"kind": "kspace"})
