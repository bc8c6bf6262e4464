"""DeepInverse's operators beside ours, with every difference in convention written down where it is undone."""

import math

import pytest
import torch
from torch.nn import functional

from medinr.errors import ShapeError
from medinr.operators import (
    Decimation,
    GaussianPSF,
    ParallelBeam,
    birdcage_maps,
    downsampling,
    from_deepinv,
    operator_report,
    undersampled_fourier,
)

SHAPE = (12, 10)
LINES = (0, 3, 5, 6, 7, 10)


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _complex(*shape: int) -> torch.Tensor:
    return torch.complex(_draw(*shape), _draw(*shape, seed=1))


def _channels(x: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(x).movedim(-1, 1)


def _mask() -> torch.Tensor:
    mask = torch.zeros(SHAPE)
    mask[list(LINES)] = 1.0
    return mask


# --- MR: both centred and orthonormal. Theirs keeps the lines that were not measured, as zeros; ours leaves them out.


def test_single_coil_k_space(deepinv):
    theirs = deepinv.physics.MRI(mask=_mask())
    ours = undersampled_fourier(SHAPE, LINES)
    x = _complex(2, *SHAPE)
    data = theirs.A(_channels(x))
    torch.testing.assert_close(data[..., LINES, :], _channels(ours(x)), rtol=0.0, atol=1e-5)
    left_out = [line for line in range(SHAPE[0]) if line not in LINES]
    assert not data[..., left_out, :].any()
    torch.testing.assert_close(theirs.A_adjoint(data), _channels(ours.H(ours(x))), rtol=0.0, atol=1e-5)


def test_multi_coil_k_space(deepinv):
    maps = birdcage_maps(SHAPE, 3)
    theirs = deepinv.physics.MultiCoilMRI(mask=_mask(), coil_maps=maps[None])
    ours = undersampled_fourier(SHAPE, LINES, maps)
    x = _complex(2, *SHAPE)
    data = theirs.A(_channels(x))
    assert data.shape == (2, 2, 3, *SHAPE)
    torch.testing.assert_close(data[..., LINES, :], _channels(ours(x)), rtol=0.0, atol=1e-5)
    torch.testing.assert_close(theirs.A_adjoint(data), _channels(ours.H(ours(x))), rtol=0.0, atol=1e-5)


# --- CT: theirs takes degrees and square images of pixel size 1, gives (detector, angle) with ceil(sqrt(2) n)
# elements, and interpolates in two dimensions along rays of unit steps (ours along the grid, with the step's true
# length). Its axis is the image's centre, as ours always is, when n and the number of elements are both odd or both
# even, and half a pixel beside it otherwise. Sense of rotation and of the detector agree.


def _blobs(n: int) -> torch.Tensor:
    """Three Gaussians well inside the image, ``(n, n)``: smooth, so that interpolation hardly matters."""
    axis = torch.arange(n) - (n - 1) / 2
    y, x = axis[:, None], axis
    centres = [(0.0, 0.0, 5.0, 1.0), (-6.0, 4.0, 3.0, 0.7), (5.0, 7.0, 2.5, -0.4)]
    return sum(h * torch.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / w**2) for cy, cx, w, h in centres)


def test_projections_about_the_same_axis_agree(deepinv):
    degrees, n = [0.0, 20.0, 45.0, 90.0, 135.0, 200.0, -30.0], 43
    theirs = deepinv.physics.Tomography(angles=torch.tensor(degrees), img_width=n, circle=False, normalize=False)
    ours = ParallelBeam((n, n), (1.0, 1.0), [math.radians(d) for d in degrees], math.ceil(math.sqrt(2.0) * n), 1.0)
    image = _blobs(n)
    expected = theirs.A(image[None, None])[0, 0].T
    found = ours(image)
    torch.testing.assert_close(found[[0, 3]], expected[[0, 3]], rtol=0.0, atol=1e-3)
    assert float((found - expected).abs().max() / expected.abs().max()) < 5e-3


def test_projections_about_axes_half_a_pixel_apart(deepinv):
    n, elements = 12, 17
    theirs = deepinv.physics.Tomography(angles=torch.tensor([0.0, 90.0]), img_width=n, circle=False, normalize=False)
    # One element fewer moves our detector by half an element, which is where theirs is.
    ours = ParallelBeam((n, n), (1.0, 1.0), [0.0, math.pi / 2], elements - 1, 1.0)
    image = _draw(n, n)
    down, across = theirs.A(image[None, None])[0, 0].T
    torch.testing.assert_close(ours(image)[0], down[:-1], rtol=0.0, atol=1e-3)
    torch.testing.assert_close(ours(image)[1], across[1:], rtol=0.0, atol=1e-3)


def test_its_projector_is_an_operator_with_the_derived_adjoint(deepinv):
    physics = deepinv.physics.Tomography(angles=7, img_width=12, circle=False, normalize=False)
    operator = from_deepinv(physics, (12, 12), derive_adjoint=True)
    assert operator.range.shape == (17, 7)
    report = operator_report(operator)
    assert report.ok, str(report)


def test_its_fast_back_projection_is_no_adjoint_and_its_normalisation_divides_by_the_norm(deepinv):
    plain = deepinv.physics.Tomography(angles=7, img_width=12, normalize=False, adjoint_via_backprop=False)
    report = operator_report(from_deepinv(plain, (12, 12)))
    assert [finding.claim for finding in report.findings if not finding.ok] == [
        "<A x, y> = <x, A.H y> in float64",
        "<A x, y> = <x, A.H y> in float32",
    ]
    scaled = deepinv.physics.Tomography(angles=7, img_width=12, normalize=True)
    operator = from_deepinv(scaled, (12, 12), derive_adjoint=True)
    assert operator.norm() == pytest.approx(1.0, rel=1e-3)
    x = _draw(12, 12)
    torch.testing.assert_close(
        float(scaled.operator_norm) * operator(x), from_deepinv(plain, (12, 12))(x), rtol=1e-4, atol=1e-4
    )


# --- resolution: theirs takes any filter, in pixels, and reads pixels 0, f, 2f ...; ours a Gaussian in mm (FWHM one
# coarse voxel: sigma = f / 2.3548, where their "gaussian" has sigma = f), and the pixels that centre the coarse grid.
# Border: theirs wraps around, repeats the last pixel or reflects about its centre; ours reflects about its edge.


def _kernel(sigma: float) -> torch.Tensor:
    reach = math.ceil(4.0 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    return torch.outer(weights, weights)[None, None] / weights.sum() ** 2


SIGMA = 2.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))


@pytest.mark.parametrize("padding", ["circular", "replicate", "reflect"])
def test_blurred_and_decimated_away_from_the_border(deepinv, padding):
    theirs = deepinv.physics.Downsampling(img_size=(1, 20, 24), filter=_kernel(SIGMA), factor=2, padding=padding)
    ours = downsampling((20, 24), (0.7, 0.7), 2)
    x = _draw(1, 1, 20, 24)
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(ours(x)[inner], theirs.A(x)[inner], rtol=0.0, atol=1e-5)
    assert not torch.allclose(ours(x), theirs.A(x), atol=1e-3)


def test_the_border_is_a_reflection_about_the_edge(deepinv):
    theirs = deepinv.physics.Downsampling(img_size=(1, 20, 24), filter=_kernel(SIGMA), factor=2, padding="valid")
    ours = downsampling((20, 24), (0.7, 0.7), 2)
    x = _draw(1, 1, 20, 24)
    reach = math.ceil(4.0 * SIGMA)
    rows = [*range(reach - 1, -1, -1), *range(20), *range(19, 19 - reach, -1)]
    columns = [*range(reach - 1, -1, -1), *range(24), *range(23, 23 - reach, -1)]
    mirrored = x[..., rows, :][..., columns]
    torch.testing.assert_close(ours(x), theirs.A(mirrored), rtol=0.0, atol=1e-5)


def test_which_pixels_are_kept(deepinv):
    theirs = deepinv.physics.Downsampling(img_size=(1, 12, 12), filter=None, factor=3)
    x = _draw(1, 1, 12, 12)
    ours = Decimation((12, 12), 3)
    assert ours.offset == (1, 1)
    torch.testing.assert_close(ours(x), theirs.A(x.roll((-1, -1), (-2, -1))))


def test_circular_blur_of_an_image_with_a_dark_rim(deepinv):
    kernel = _kernel(1.1)
    theirs = deepinv.physics.BlurFFT(img_size=(1, 21, 23), filter=kernel)
    ours = GaussianPSF((21, 23), (1.0, 1.0), 1.1 * 2.0 * math.sqrt(2.0 * math.log(2.0)))
    x = functional.pad(_draw(1, 1, 9, 11), (6, 6, 6, 6))
    torch.testing.assert_close(ours(x), theirs.A(x), rtol=0.0, atol=1e-5)


# --- and its physics through our self-test

PHYSICS = {
    "downsampling": (lambda p: p.Downsampling(img_size=(1, 12, 12), filter="gaussian", factor=2), (12, 12), False),
    "blur by fft": (lambda p: p.BlurFFT(img_size=(1, 12, 10), filter=_kernel(1.0)), SHAPE, False),
    "single coil": (lambda p: p.MRI(mask=_mask()), SHAPE, True),
    "coils": (lambda p: p.MultiCoilMRI(mask=_mask(), coil_maps=birdcage_maps(SHAPE, 3)[None]), SHAPE, True),
    "in-painting": (lambda p: p.Inpainting(img_size=(1, 12, 10), mask=_mask()[None]), SHAPE, False),
}


@pytest.mark.parametrize(("make", "shape", "complex_image"), PHYSICS.values(), ids=PHYSICS)
def test_its_physics_as_our_operators(deepinv, make, shape, complex_image):
    operator = from_deepinv(make(deepinv.physics), shape, complex_image)
    report = operator_report(operator)
    assert report.ok, str(report)
    assert operator.to("cpu").device.type == "cpu"


def test_physics_that_is_none_of_ours(deepinv):
    with pytest.raises(ShapeError, match="GaussianNoise"):
        from_deepinv(deepinv.physics.GaussianNoise(), (4, 4))
    single = deepinv.physics.Denoising()
    stacked = single.stack(deepinv.physics.Denoising())
    with pytest.raises(ShapeError, match=r"not one tensor|LinearPhysics"):
        from_deepinv(stacked, (4, 4))
    with pytest.raises(ShapeError, match="two channels"):
        from_deepinv(deepinv.physics.CompressedSensing(m=5, img_size=(2, 4, 4)), (4, 4), complex_image=True)
