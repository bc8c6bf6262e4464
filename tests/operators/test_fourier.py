import numpy as np
import pytest
import sigpy
import torch
from sigpy.mri import linop as sigpy_linop

from medinr.errors import ShapeError
from medinr.operators import (
    Fourier,
    LineSampling,
    PointSampling,
    birdcage_maps,
    cartesian_mask,
    point_mask,
    undersampled_fourier,
)


def _random(shape, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own, in jvp
@pytest.mark.parametrize("axes", [(-2, -1), (-2,), (-1,)])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_even_images_many_at_a_time_and_their_derivatives(axes, dtype):
    # More images than are transformed together.
    x = _random((40, 64, 66)).to(dtype)
    tolerance = 1e-5 if dtype == torch.complex64 else 1e-12
    operator = Fourier((64, 66), axes)
    expected = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x.numpy(), axes), axes=axes, norm="ortho"), axes)
    np.testing.assert_allclose(operator(x).numpy(), expected, atol=tolerance)
    torch.testing.assert_close(operator.H(operator(x)), x, rtol=0, atol=tolerance)
    strided = x[:, :, 1:65].mT.conj()
    square = Fourier((64, 64), axes)
    torch.testing.assert_close(square(strided), square(strided.resolve_conj().contiguous()))
    tangent = torch.func.jvp(operator, (x[0],), (x[1],))[1]
    torch.testing.assert_close(tangent, operator(x[1]))
    mapped = torch.func.vmap(operator, in_dims=2)(x.movedim(0, 2))
    torch.testing.assert_close(mapped, operator(x))


@pytest.mark.parametrize("shape", [(6, 8), (7, 5), (4, 9)])
def test_agrees_with_numpy(shape):
    x = _random((2, *shape))
    axes = (-2, -1)
    expected = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x.numpy(), axes=axes), norm="ortho"), axes=axes)
    np.testing.assert_allclose(Fourier(shape)(x).numpy(), expected, atol=1e-12)


def test_adjoint_is_inverse():
    fourier = Fourier((7, 6))
    x = _random((7, 6))
    torch.testing.assert_close(fourier.H(fourier(x)), x)


def test_a_uniform_image_is_the_centre_of_kspace():
    spectrum = Fourier((6, 5))(torch.ones(6, 5, dtype=torch.complex128))
    expected = torch.zeros(6, 5, dtype=torch.complex128)
    expected[3, 2] = 30**0.5
    torch.testing.assert_close(spectrum, expected)


def test_unknown_axis_is_refused():
    with pytest.raises(ShapeError, match="axes between -2 and -1"):
        Fourier((4, 4), axes=(0,))


def test_line_sampling_keeps_the_order_given():
    kspace = _random((5, 3))
    sampling = LineSampling((5, 3), (4, 1))
    torch.testing.assert_close(sampling(kspace), kspace[[4, 1]])
    filled = sampling.H(sampling(kspace))
    torch.testing.assert_close(filled[[1, 4]], kspace[[1, 4]])
    assert filled[[0, 2, 3]].abs().max() == 0


@pytest.mark.parametrize("lines", [(), (0, 0), (-1,), (5,)])
def test_impossible_lines_are_refused(lines):
    with pytest.raises(ShapeError, match="different lines between 0 and 4"):
        LineSampling((5, 3), lines)


def test_a_mask_for_another_scan_is_refused():
    with pytest.raises(ShapeError, match=r"for 8 lines, but k-space \(5, 3\) has 5"):
        LineSampling((5, 3), cartesian_mask(8, 2, 0.1))


def test_maps_of_another_scan_are_refused():
    with pytest.raises(ShapeError, match=r"\(2, 4, 4\) do not fit images of shape \(6, 5\)"):
        undersampled_fourier((6, 5), (0, 1), birdcage_maps((4, 4), 2))


def test_single_coil_agrees_with_fourier_then_sampling():
    shape, mask = (9, 6), cartesian_mask(9, 2, 0.2)
    x = _random((3, *shape))
    expected = LineSampling(shape, mask)(Fourier(shape)(x))
    torch.testing.assert_close(undersampled_fourier(shape, mask)(x), expected)


def test_multi_coil_agrees_with_sigpy():
    shape, mask = (10, 8), cartesian_mask(10, 2, 0.2, seed=3)
    maps = birdcage_maps(shape, 4, dtype=torch.complex128)
    scan = undersampled_fourier(shape, mask, maps)
    weights = mask.as_tensor().numpy().astype(np.float64)[:, None] * np.ones(shape)
    reference = sigpy_linop.Sense(maps.numpy(), weights=weights)
    x = _random(shape)
    kept = reference(x.numpy())[:, list(mask.lines)]
    np.testing.assert_allclose(scan(x).numpy(), kept, atol=1e-10)

    y = _random(scan.range.shape)
    full = LineSampling((4, *shape), mask).H(y)
    np.testing.assert_allclose(scan.H(y).numpy(), reference.H(full.numpy()), atol=1e-10)


def test_full_sampling_agrees_with_sigpy_fft():
    x = _random((7, 6))
    np.testing.assert_allclose(Fourier((7, 6))(x).numpy(), sigpy.fft(x.numpy(), axes=(-2, -1)), atol=1e-12)


def test_points_are_those_of_the_flattened_plane():
    points = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) < 0.5
    kspace = _random((2, 5, 3))
    sampling = PointSampling((2, 5, 3), points)
    torch.testing.assert_close(sampling(kspace), kspace[:, points])
    torch.testing.assert_close(sampling.H(sampling(kspace)), kspace * points)


def test_points_of_a_volume_keep_the_readout():
    points = point_mask((6, 5), 3, 2)
    kspace = _random((4, 6, 5, 3))
    sampling = PointSampling((6, 5, 3), points, axes=(-3, -2))
    assert sampling.range.shape == (10, 3)
    torch.testing.assert_close(sampling(kspace), kspace[:, points.as_tensor()])


@pytest.mark.parametrize(
    "points", [torch.ones(5, 3), torch.ones(3, 5).bool(), torch.zeros(5, 3).bool(), torch.ones(15).bool()]
)
def test_impossible_points_are_refused(points):
    with pytest.raises(ShapeError, match=r"booleans \(5, 3\) with at least one point"):
        PointSampling((5, 3), points)


def test_planes_of_separate_axes_are_refused():
    with pytest.raises(ShapeError, match="two neighbouring negative axes"):
        PointSampling((5, 3, 2), torch.ones(5, 2).bool(), axes=(-3, -1))


def test_scan_of_points_agrees_with_sigpy():
    shape, mask = (10, 8), point_mask((10, 8), 3, 2)
    maps = birdcage_maps(shape, 4, dtype=torch.complex128)
    weights = mask.as_tensor().numpy().astype(np.float64)
    reference = sigpy_linop.Sense(maps.numpy(), weights=weights)
    x = _random(shape)
    for points in (mask, mask.as_tensor()):
        scan = undersampled_fourier(shape, points, maps)
        np.testing.assert_allclose(scan(x).numpy(), reference(x.numpy())[:, weights > 0], atol=1e-10)
        y = scan(x)
        full = PointSampling((4, *shape), points).H(y)
        np.testing.assert_allclose(scan.H(y).numpy(), reference.H(full.numpy()), atol=1e-10)


def test_scan_of_points_of_a_volume():
    shape = (6, 5, 4)
    points = point_mask(shape[:2], 2, 2).as_tensor()
    maps = _random((3, *shape), seed=2)
    x = _random(shape)
    expected = np.stack([sigpy.fft((m * x).numpy()) for m in maps])[:, points.numpy()]
    np.testing.assert_allclose(undersampled_fourier(shape, points, maps)(x).numpy(), expected, atol=1e-10)


def test_masks_of_lines_may_be_tensors():
    mask, x = cartesian_mask(9, 2, 0.2), _random((9, 6))
    expected = undersampled_fourier((9, 6), mask)(x)
    torch.testing.assert_close(undersampled_fourier((9, 6), mask.as_tensor())(x), expected)
    torch.testing.assert_close(undersampled_fourier((9, 6), mask.indices)(x), expected)
    with pytest.raises(ShapeError, match="for 8 lines"):
        undersampled_fourier((9, 6), torch.ones(8).bool())


def test_two_sets_of_maps_are_two_scans_added():
    shape, mask = (7, 6), (1, 3, 4)
    maps, x = _random((2, 3, *shape)), _random((2, *shape), seed=1)
    expected = sum(undersampled_fourier(shape, mask, m)(image) for m, image in zip(maps, x, strict=True))
    torch.testing.assert_close(undersampled_fourier(shape, mask, maps)(x), expected)
