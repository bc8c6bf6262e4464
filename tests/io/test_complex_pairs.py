from dataclasses import replace

import numpy as np
import pytest

from medinr.errors import GeometryError, IntensityError, UnitError
from medinr.io.images.complex_pairs import combine_magnitude_and_phase, combine_real_and_imaginary
from medinr.volume import Volume


@pytest.fixture
def complex_scan(synthetic) -> Volume:
    volume = synthetic.phantom((3, 20, 18))
    phase = np.random.default_rng(0).uniform(-np.pi, np.pi, volume.shape)
    phase[0, 0, :2] = -np.pi, 3.1415
    return volume.with_array((volume.array * np.exp(1j * phase)).astype(np.complex64)), phase


@pytest.mark.parametrize(
    ("stored", "step"),
    [
        (lambda phase: phase, 1e-6),
        (lambda phase: np.where(phase < 0, phase + 2 * np.pi, phase), 1e-6),
        (lambda phase: np.rint(phase * 1000), 5e-4),
        (lambda phase: np.clip(np.rint(phase / np.pi * 4096), -4096, 4095), np.pi / 4096),
        (lambda phase: np.clip(np.rint(phase / np.pi * 2048) + 2048, 0, 4095), np.pi / 2048),
    ],
)
def test_magnitude_and_phase_make_the_complex_scan(complex_scan, stored, step):
    scan, phase = complex_scan
    magnitude = scan.with_array(np.abs(scan.array))
    joined = combine_magnitude_and_phase(magnitude, scan.with_array(stored(phase).astype(np.float32)))
    assert joined.array.dtype == np.complex64
    error = np.abs(joined.array - scan.array)
    assert (error <= (step + 1e-5) * magnitude.array + 1e-4).all()
    assert joined.provenance.facts.component == "complex"
    assert "phase was stored in" in joined.provenance.notes[-1]


def test_real_and_imaginary_part_make_the_complex_scan(complex_scan):
    scan, _ = complex_scan
    real, imaginary = (scan.with_array(np.ascontiguousarray(part)) for part in (scan.array.real, scan.array.imag))
    np.testing.assert_array_equal(combine_real_and_imaginary(real, imaginary).array, scan.array)


def test_grids_and_kinds_must_agree(complex_scan, synthetic):
    scan, phase = complex_scan
    magnitude = scan.with_array(np.abs(scan.array))
    angles = scan.with_array(phase.astype(np.float32))
    with pytest.raises(GeometryError, match="mm apart"):
        combine_magnitude_and_phase(magnitude, replace(angles, affine=angles.affine + 0.1 * np.eye(4)[:, [3, 0, 1, 2]]))
    with pytest.raises(GeometryError, match="shapes"):
        combine_magnitude_and_phase(magnitude, angles.select([0]))
    with pytest.raises(UnitError, match="complex already"):
        combine_magnitude_and_phase(scan, angles)
    with pytest.raises(UnitError, match="is CT"):
        combine_magnitude_and_phase(synthetic.phantom(modality="CT"), angles)
    with pytest.raises(IntensityError, match="neither radians"):
        combine_magnitude_and_phase(magnitude, angles.with_array(angles.array * 50))
