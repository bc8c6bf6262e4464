"""Noise that the user tells: values, maps, and what is refused in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medinr.errors import ConfigError, IntensityError, ShapeError
from medinr.noise.told import told_noise


def test_a_number(head, as_volume):
    noise = told_noise(as_volume(head), 4)
    assert (noise.kind, noise.sigma, noise.coils, noise.sigma_map) == ("rician", 4.0, 1, None)
    assert noise.reliable


@pytest.mark.parametrize(
    ("modality", "unit", "dtype", "kind"),
    [
        ("CT", "HU", np.float32, "gaussian"),
        ("MR", "a.u.", np.complex64, "gaussian"),
        ("OT", "a.u.", np.float32, "rician"),
    ],
)
def test_the_kind_follows_the_scan(head, as_volume, modality, unit, dtype, kind):
    assert told_noise(as_volume(head.astype(dtype), modality, unit), 4.0).kind == kind


def test_coils(head, as_volume):
    noise = told_noise(as_volume(head), 4.0, coils=8)
    assert (noise.kind, noise.coils) == ("chi", 8)


@pytest.mark.parametrize("as_scan", [False, True])
def test_a_map(head, as_volume, as_scan):
    sigma = np.broadcast_to(np.linspace(2.0, 4.0, head.shape[2], dtype=np.float32), head.shape).copy()
    sigma[head == 0] = 0.0
    noise = told_noise(as_volume(head), as_volume(sigma) if as_scan else sigma)
    np.testing.assert_allclose(noise.sigma_map[head > 0], sigma[head > 0])
    assert (noise.sigma_map > 0).all()
    assert noise.sigma == pytest.approx(np.median(sigma[head > 0]))


def test_an_even_map_is_a_number(head, as_volume):
    noise = told_noise(as_volume(head), np.full(head.shape, 3.0))
    assert noise.sigma_map is None
    assert noise.sigma == 3.0


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan, np.inf])
def test_numbers_that_are_no_sigma(head, as_volume, sigma):
    with pytest.raises(IntensityError, match="positive, finite"):
        told_noise(as_volume(head), sigma)


@pytest.mark.parametrize("bad", [np.nan, -1.0])
def test_maps_with_bad_entries(head, as_volume, bad):
    sigma = np.full(head.shape, 3.0)
    sigma[0, 0, 0] = bad
    with pytest.raises(IntensityError, match="map"):
        told_noise(as_volume(head), sigma)


def test_sigma_larger_than_the_signal(head, as_volume):
    with pytest.raises(IntensityError, match="larger than the signal"):
        told_noise(as_volume(head), 500.0)


def test_a_map_of_another_shape(head, as_volume):
    with pytest.raises(ShapeError, match="shape"):
        told_noise(as_volume(head), np.ones((2, 3, 4)))


def test_a_map_that_lies_elsewhere(head, as_volume):
    sigma = as_volume(np.full(head.shape, 3.0))
    moved = sigma.affine.copy()
    moved[0, 3] += 5
    with pytest.raises(ShapeError, match="elsewhere"):
        told_noise(as_volume(head), replace(sigma, affine=moved))


def test_scans_of_zeros_and_nan(head, as_volume):
    with pytest.raises(IntensityError, match="zero everywhere"):
        told_noise(as_volume(np.zeros_like(head)), 1.0)
    with pytest.raises(IntensityError, match="NaN"):
        told_noise(as_volume(np.full_like(head, np.nan)), 1.0)


def test_complex_values_are_not_rician(head, as_volume):
    with pytest.raises(ConfigError):
        told_noise(as_volume(head.astype(np.complex64)), 1.0, kind="rician")
