"""mrpro's MR operators beside ours. Its images are ``(coils z y x)`` and its results tuples of one."""

import torch

from medinr.operators import Coils, Fourier, Space, birdcage_maps, from_callable, operator_report, undersampled_fourier

SHAPE = (8, 6)


def _image(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


def test_fast_fourier(mrpro):
    theirs = mrpro.operators.FastFourierOp(dim=(-2, -1))
    x = _image(2, 3, 1, *SHAPE)
    torch.testing.assert_close(theirs(x)[0], Fourier(SHAPE)(x))
    torch.testing.assert_close(theirs.H(x)[0], Fourier(SHAPE).H(x))


def test_sensitivities(mrpro):
    maps = birdcage_maps(SHAPE, 3)
    theirs = mrpro.operators.SensitivityOp(maps[:, None])
    x, y = _image(2, 1, 1, *SHAPE), _image(2, 3, 1, *SHAPE)
    torch.testing.assert_close(theirs(x)[0][:, :, 0], Coils(maps)(x[:, 0, 0]))
    torch.testing.assert_close(theirs.H(y)[0][:, 0, 0], Coils(maps).H(y[:, :, 0]))


def test_cartesian_scan_with_coils(mrpro):
    """Its trajectory counts lines from the centre, ``-n // 2 ... n // 2 - 1``, in cycles per field of view."""
    lines, maps = (0, 2, 4, 5), birdcage_maps(SHAPE, 3)
    ky = (torch.tensor(lines, dtype=torch.float32) - SHAPE[0] // 2)[None, None, None, :, None]
    kx = (torch.arange(SHAPE[1], dtype=torch.float32) - SHAPE[1] // 2)[None, None, None, None, :]
    trajectory = mrpro.data.KTrajectory(kz=torch.zeros(1, 1, 1, 1, 1), ky=ky, kx=kx)
    matrix = mrpro.data.SpatialDimension(1, *SHAPE)
    theirs = mrpro.operators.FourierOp(matrix, matrix, trajectory) @ mrpro.operators.SensitivityOp(maps[:, None])
    ours = undersampled_fourier(SHAPE, lines, maps)
    x = _image(1, 1, 1, *SHAPE)
    (data,) = theirs(x)
    torch.testing.assert_close(data[0, :, 0], ours(x[0, 0, 0]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(theirs.H(data)[0][0, 0, 0], ours.H(ours(x[0, 0, 0])), rtol=1e-5, atol=1e-5)


def test_its_operator_is_one_of_ours_through_from_callable(mrpro):
    theirs = mrpro.operators.FiniteDifferenceOp(dim=(-2, -1), mode="forward")
    operator = from_callable(
        lambda x: theirs(x)[0].movedim(0, -3), Space((8, 6)), adjoint=lambda y: theirs.H(y.movedim(-3, 0))[0]
    )
    assert operator.range.shape == (2, 8, 6)
    report = operator_report(operator)
    assert report.ok, str(report)
