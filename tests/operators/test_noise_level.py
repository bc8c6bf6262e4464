import numpy as np
import pytest
import torch
from skimage.restoration import estimate_sigma as skimage_sigma

from medinr.errors import IntensityError, ShapeError
from medinr.operators import (
    Coils,
    Fourier,
    Gaussian,
    NonCentralChi,
    Rician,
    birdcage_maps,
    estimate_sigma,
    sigma_from_background,
    sigma_from_kspace,
)

SHAPE = (144, 160)


def _object(radius=0.6):
    """A textured disc with a soft rim; the radius is relative to half the image."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in SHAPE), indexing="ij")
    disc = torch.exp(-(((x / radius) ** 2 + (y / radius) ** 2) ** 6))
    return disc * (1.0 + 0.3 * torch.sin(9 * x) * torch.cos(7 * y))


def test_sigma_is_found_in_an_image(generator):
    y, x = torch.meshgrid(torch.linspace(-1, 1, 127), torch.linspace(-1, 1, 130), indexing="ij")
    clean = torch.stack([torch.exp(-3 * (x**2 + y**2)), (x**2 + y**2 < 0.5).float()]).double()
    noisy = Gaussian(0.05).sample(clean, generator)
    noisy[..., :20] = 0.0  # padding
    np.testing.assert_allclose(estimate_sigma(noisy).numpy(), 0.05, rtol=0.06)


def test_sigma_of_complex_images_is_per_part(generator):
    noisy = Gaussian(0.05).sample(torch.ones(3, 100, 100, dtype=torch.complex64), generator)
    estimate = estimate_sigma(noisy)
    assert estimate.shape == (3,)
    np.testing.assert_allclose(estimate.numpy(), 0.05, rtol=0.05)


def test_a_clean_image_has_no_noise():
    assert estimate_sigma(torch.ones(8, 8)) == 0.0


def test_an_image_without_a_diagonal_is_refused():
    with pytest.raises(ShapeError, match="at least 2 x 2"):
        estimate_sigma(torch.zeros(1, 5))


def test_wavelets_agree_with_skimage(generator):
    noisy = Gaussian(0.05).sample(_object(), generator)
    assert float(estimate_sigma(noisy)) == pytest.approx(skimage_sigma(noisy.numpy()), rel=0.05)


@pytest.mark.parametrize("coils", [1, 4, 32])
@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_background_gives_sigma(coils, sigma, generator):
    noisy = NonCentralChi(sigma, coils).sample(_object().expand(2, 1, *SHAPE), generator)
    estimate = sigma_from_background(noisy, coils)
    assert estimate.shape == (2, 1)
    np.testing.assert_allclose(estimate.numpy(), sigma, rtol=0.05)


def test_air_alone_gives_sigma(generator):
    noisy = Rician(0.3).sample(torch.zeros(SHAPE), generator)
    estimate = sigma_from_background(noisy)
    assert estimate.dtype == torch.float32
    assert float(estimate) == pytest.approx(0.3, rel=0.03)


def test_padding_does_not_count(generator):
    noisy = Rician(0.05).sample(_object(), generator)
    noisy[:40], noisy[:, :21] = 0.0, 0.0
    assert float(sigma_from_background(noisy)) == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize(
    "blanked",
    [
        lambda noisy: torch.where(_object() > 0.1, noisy, 0.0),  # air blanked by the scanner
        lambda noisy: torch.where(_object() > 0.9, noisy, 0.0),
        lambda noisy: noisy + 1.0,  # the object fills the image
        torch.zeros_like,
    ],
)
def test_an_image_without_air_is_refused(blanked, generator):
    noisy = Rician(0.02).sample(_object(), generator)
    with pytest.raises(IntensityError, match="No air with noise"):
        sigma_from_background(blanked(noisy))


def test_a_few_pixels_of_air_are_not_enough(generator):
    image = torch.full((80, 80), 9.0)
    image[:10, :10] = Rician(1.0).sample(torch.zeros(10, 10), generator)
    with pytest.raises(IntensityError, match=r"Only \d+ pixels of air were found; .* wants 100"):
        sigma_from_background(image)


def test_kspace_gives_sigma_per_coil(generator):
    sigmas = torch.tensor([0.01, 0.02, 0.05, 0.1], dtype=torch.float64)
    coils = Coils(birdcage_maps(SHAPE, 4, dtype=torch.complex128))
    clean = Fourier((4, *SHAPE))(coils(_object().to(torch.complex128)))
    noisy = torch.stack([Gaussian(float(s)).sample(k, generator) for s, k in zip(sigmas, clean, strict=True)])
    for radius in (1.0, 0.85):
        np.testing.assert_allclose(sigma_from_kspace(noisy, radius).numpy(), sigmas, rtol=0.04)
    image = Fourier((4, *SHAPE)).H(noisy)
    np.testing.assert_allclose(estimate_sigma(image).numpy(), sigmas, rtol=0.05)

    undersampled = noisy.clone()
    undersampled[:, 1::3] = 0.0
    np.testing.assert_allclose(sigma_from_kspace(undersampled).numpy(), sigmas, rtol=0.05)


def test_a_scan_without_corners_wants_a_smaller_radius(generator):
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    noisy = Gaussian(0.1).sample(torch.zeros(SHAPE, dtype=torch.complex64), generator) * (x**2 + y**2 < 0.95)
    with pytest.raises(IntensityError, match="Choose a smaller radius"):
        sigma_from_kspace(noisy)
    assert float(sigma_from_kspace(noisy, 0.8)) == pytest.approx(0.1, rel=0.05)


def test_wrong_kinds_are_refused():
    with pytest.raises(ShapeError, match="wants complex k-space"):
        sigma_from_kspace(torch.zeros(9, 9))
    with pytest.raises(ShapeError, match="wants magnitudes"):
        sigma_from_background(torch.zeros(9, 9, dtype=torch.complex64))
    with pytest.raises(ShapeError, match="at least 8 x 8"):
        sigma_from_background(torch.zeros(9, 7))


def test_three_ways_agree_on_a_real_scan(shared_data):
    pymatreader = pytest.importorskip("pymatreader")
    scan = pymatreader.read_mat(shared_data / "kspace" / "larson_se_t1_sag_data.mat")
    kspace = next(torch.from_numpy(np.ascontiguousarray(v)) for v in scan.values() if np.iscomplexobj(v))
    image = Fourier(kspace.shape).H(kspace.to(torch.complex128))
    reference = float(sigma_from_kspace(kspace))
    assert float(estimate_sigma(image)) == pytest.approx(reference, rel=0.15)
    assert float(sigma_from_background(image.abs())) == pytest.approx(reference, rel=0.15)
