"""Point spread functions against SciPy; the differences of convention stand in the docstrings of medinr."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, gaussian_filter1d, uniform_filter

from medinr.banded import multiply_along, multiply_banded
from medinr.errors import GeometryError, ShapeError
from medinr.operators import BoxPSF, GaussianPSF, MeasuredPSF
from medinr.operators.resolution.blur import reflecting_matrix
from medinr.units import SIGMA_PER_FWHM

DOUBLE = torch.float64


@pytest.fixture
def image(generator):
    return torch.rand(11, 8, dtype=DOUBLE, generator=generator)


def test_constants_stay_up_to_the_border():
    image = torch.full((9, 6), 3.0, dtype=DOUBLE)
    torch.testing.assert_close(GaussianPSF((9, 6), (1.0, 0.5), (6.0, 2.0))(image), image)
    torch.testing.assert_close(BoxPSF((9, 6), (1.0, 0.5), (6.3, 2.0))(image), image)
    torch.testing.assert_close(MeasuredPSF((9, 6), torch.full((4, 5), 1 / 20, dtype=DOUBLE))(image), image)


def test_width_is_the_one_asked_for():
    spacing, fwhm = (0.1, 0.2), (2.0, 3.0)
    point = torch.zeros(101, 101, dtype=DOUBLE)
    point[50, 50] = 1.0
    spread = GaussianPSF((101, 101), spacing, fwhm)(point)
    for profile, step, width in [(spread[:, 50], 0.1, 2.0), (spread[50], 0.2, 3.0)]:
        profile = profile / profile.max()
        half = np.interp(0.5, profile[50:].flip(0).numpy(), np.arange(50, -1, -1) * step)
        assert 2 * half == pytest.approx(width, rel=2e-3)
    assert float(spread.sum()) == pytest.approx(1.0)


def test_gaussian_agrees_with_scipy(image):
    sigma = 3.0 * SIGMA_PER_FWHM
    expected = gaussian_filter1d(image.numpy(), sigma, axis=0, mode="reflect", radius=int(np.ceil(4 * sigma)))
    np.testing.assert_allclose(GaussianPSF((11, 8), (1, 1), (3.0, 0.0))(image).numpy(), expected, atol=1e-12)


def test_a_kernel_wider_than_the_image_still_averages():
    image = torch.tensor([[0.0, 1.0]], dtype=DOUBLE)
    for psf in (GaussianPSF((1, 2), (1, 1), 40.0), BoxPSF((1, 2), (1, 1), 40.0)):
        torch.testing.assert_close(psf(image), torch.full_like(image, 0.5), atol=1e-2, rtol=0)


def test_zero_width_is_the_identity():
    image = torch.rand(4, 5)
    assert torch.equal(GaussianPSF((4, 5), (1, 1), 0.0)(image), image)
    assert torch.equal(BoxPSF((4, 5), (1, 1), 0.0)(image), image)


def test_box_agrees_with_scipy_for_odd_numbers_of_voxels(image):
    ours = BoxPSF((11, 8), (0.5, 2.0), (1.5, 10.0))(image)
    np.testing.assert_allclose(ours.numpy(), uniform_filter(image.numpy(), (3, 5), mode="reflect"), atol=1e-12)


@pytest.mark.parametrize(
    ("width", "weights"),
    [(0.4, [1]), (1.0, [1]), (2.0, [0.25, 0.5, 0.25]), (3.0, [1 / 3] * 3), (2.5, [0.3, 0.4, 0.3])],
)
def test_box_weights_are_the_lengths_inside(width, weights):
    point = torch.zeros(1, 7, dtype=DOUBLE)
    point[0, 3] = 1.0
    spread = BoxPSF((1, 7), (1.0, 2.0), (0.0, 2.0 * width))(point)[0]
    expected = np.zeros(7)
    expected[3 - len(weights) // 2 : 4 + len(weights) // 2] = weights
    np.testing.assert_allclose(spread.numpy(), expected, atol=1e-12)


def test_the_second_moment_of_a_box_is_that_of_a_continuous_one():
    """Voxels are boxes themselves: their own second moment adds to that of the aperture."""
    point = torch.zeros(1, 31, dtype=DOUBLE)
    point[0, 15] = 1.0
    spread = BoxPSF((1, 31), (1.0, 1.0), (0.0, 7.0))(point)[0]
    distance = torch.arange(31) - 15.0
    assert float((spread * distance.square()).sum()) == pytest.approx((7.0**2 - 1.0) / 12)


@pytest.mark.parametrize("size", [(3, 5), (1, 3), (25, 19), (2, 4), (6, 3), (12, 16)])
def test_measured_agrees_with_scipy(image, size, generator):
    kernel = torch.randn(size, dtype=DOUBLE, generator=generator)
    expected = convolve(image.numpy(), kernel.numpy(), mode="reflect")
    np.testing.assert_allclose(MeasuredPSF((11, 8), kernel)(image).numpy(), expected, atol=1e-11)


@pytest.mark.parametrize("size", [(3, 4), (4, 5)])
def test_a_point_becomes_the_kernel(size, generator):
    kernel = torch.rand(size, dtype=DOUBLE, generator=generator)
    point = torch.zeros(12, 13, dtype=DOUBLE)
    point[6, 6] = 1.0
    top, left = 6 - size[0] // 2, 6 - size[1] // 2
    spread = MeasuredPSF((12, 13), kernel)(point)
    torch.testing.assert_close(spread[top : top + size[0], left : left + size[1]], kernel)
    assert float(spread.sum()) == pytest.approx(float(kernel.sum()))


def test_a_measured_gaussian_is_the_gaussian(image):
    point = torch.zeros(41, 41, dtype=DOUBLE)
    point[20, 20] = 1.0
    kernel = GaussianPSF((41, 41), (1, 1), (2.0, 3.5))(point)
    torch.testing.assert_close(
        MeasuredPSF((11, 8), kernel)(image), GaussianPSF((11, 8), (1, 1), (2.0, 3.5))(image), atol=1e-12, rtol=0
    )


def test_a_volume_may_have_a_kernel_that_is_no_product(generator):
    volume = torch.rand(5, 6, 7, dtype=DOUBLE, generator=generator)
    kernel = torch.rand(3, 3, 3, dtype=DOUBLE, generator=generator)
    expected = convolve(volume.numpy(), kernel.numpy(), mode="reflect")
    np.testing.assert_allclose(MeasuredPSF((5, 6, 7), kernel)(volume).numpy(), expected, atol=1e-12)


def test_impossible_blur_is_refused():
    for psf in (GaussianPSF, BoxPSF):
        with pytest.raises(GeometryError, match=f"{psf.__name__} wants positive voxel sizes"):
            psf((4, 4), (1.0, 0.0), 1.0)
        with pytest.raises(GeometryError, match="at least 0 mm"):
            psf((4, 4), (1.0, 1.0), -1.0)
        with pytest.raises(ShapeError, match="one value per axis"):
            psf((4, 4), (1.0,), 1.0)
    with pytest.raises(ShapeError, match="real kernel of 2 axes"):
        MeasuredPSF((4, 4), torch.ones(3))
    with pytest.raises(ShapeError, match="real kernel"):
        MeasuredPSF((4, 4), torch.ones(3, 3, dtype=torch.complex64))
    with pytest.raises(GeometryError, match="finite kernel"):
        MeasuredPSF((4, 4), torch.full((3, 3), float("nan")))


@pytest.mark.parametrize("batch", [(), (3, 2)])
def test_narrow_kernels_on_large_images_are_the_same_matrix(generator, batch):
    # Wide enough for the banded product along both axes, and more images than are blurred together.
    blur = GaussianPSF((300, 160), (1.0, 0.5), (3.0, 1.2))
    x = torch.rand((*batch, 300, 160), dtype=DOUBLE, generator=generator)
    down, across = blur.matrices
    torch.testing.assert_close(blur(x), down @ x @ across.T)
    torch.testing.assert_close(blur.H(x), down.T @ x @ across)
    (gradient,) = torch.autograd.grad(blur(x.requires_grad_()), x, torch.ones_like(x))
    torch.testing.assert_close(gradient, blur.H(torch.ones_like(x)).detach())


@pytest.mark.parametrize("reach", [1, 3, 40])
@pytest.mark.parametrize("axis", [-2, -1])
def test_a_band_is_multiplied_as_the_whole_matrix(generator, reach, axis):
    """Of complex images too."""
    size = 130
    weights = torch.rand(2 * reach + 1, dtype=DOUBLE, generator=generator)  # uneven, so that mirrored ones would differ
    matrix = reflecting_matrix(size, weights)
    shape = (3, size, 5) if axis == -2 else (3, 5, size)
    x = torch.complex(*torch.rand(2, *shape, dtype=DOUBLE, generator=generator))
    for square in (matrix, matrix.T):
        torch.testing.assert_close(multiply_banded(square, reach, x, axis), multiply_along(square, x, axis))


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE, torch.complex64])
@pytest.mark.parametrize("shape", [(150, 131), (11, 60, 47), (90,)])
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_compiled_loops_and_matrix_products_agree(generator, monkeypatch, dtype, shape, batch):
    pytest.importorskip("numba")
    blur = GaussianPSF(shape, (1.0,) * len(shape), 4.0)
    x = torch.randn(*batch, *shape, dtype=dtype, generator=generator)
    monkeypatch.setattr("medinr.operators.resolution.along_axis._SMALL", 0)
    fast, back = blur(x), blur.H(x)
    monkeypatch.setattr("medinr.operators.resolution.along_axis._SMALL", 10**9)
    torch.testing.assert_close(fast, blur(x))
    torch.testing.assert_close(back, blur.H(x))
