import copy
import math
import pickle

import numpy as np
import pytest
import sigpy
import torch

from medinr.errors import GeometryError, ShapeError
from medinr.operators import (
    Coils,
    Fourier,
    NonUniformFourier,
    ToeplitzNormal,
    birdcage_maps,
    cartesian_trajectory,
    radial_trajectory,
)


def _random(shape, seed=0, dtype=torch.complex128):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _scattered(samples, shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(samples, len(shape), dtype=torch.float64, generator=generator) - 0.5
    return unit * torch.tensor(shape)


def _direct(x, trajectory):
    """The defining sum, term by term."""
    shape = x.shape[-trajectory.shape[-1] :]
    grid = cartesian_trajectory(shape) / torch.tensor(shape)
    phase = torch.einsum("...a,ra->...r", trajectory, grid.reshape(-1, len(shape)))
    wave = torch.polar(torch.ones_like(phase), -2 * math.pi * phase) / math.prod(shape) ** 0.5
    return torch.einsum("...r,br->b...", wave, x.reshape(-1, math.prod(shape)))


@pytest.mark.parametrize("shape", [(16, 12), (15, 9), (9,), (6, 5, 8)])
def test_agrees_with_the_direct_sum(shape):
    x, trajectory = _random((2, *shape)), _scattered(40, shape)
    expected = _direct(x, trajectory)
    error = (NonUniformFourier(shape, trajectory)(x) - expected).abs().max() / expected.abs().max()
    assert error < 1e-10


def test_single_precision_is_good_to_1e_5():
    shape = (64, 48)
    x, trajectory = _random((1, *shape)), _scattered(500, shape)
    expected = _direct(x, trajectory)
    result = NonUniformFourier(shape, trajectory)(x.to(torch.complex64))
    assert result.dtype == torch.complex64
    assert (result - expected).norm() / expected.norm() < 1e-5


@pytest.mark.parametrize("shape", [(6, 8), (7, 5), (4, 5, 6)])
def test_full_cartesian_trajectory_is_fourier(shape):
    x, transform = _random((2, *shape)), NonUniformFourier(shape, cartesian_trajectory(shape))
    fourier = Fourier(shape, tuple(range(-len(shape), 0)))
    torch.testing.assert_close(transform(x), fourier(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(transform.H(x), fourier.H(x), rtol=0, atol=1e-10)


def test_agrees_with_sigpy():
    """Same units, sign and scaling; SigPy's errors are those of its narrow kernel."""
    shape = (32, 24)
    x, trajectory = _random((2, *shape)), radial_trajectory(20, 32, shape)
    transform = NonUniformFourier(shape, trajectory)
    y = transform(x)
    for options, tolerance in (({}, 2e-2), ({"oversamp": 2, "width": 8}, 1e-6)):
        theirs = sigpy.nufft(x.numpy(), trajectory.numpy(), **options)
        assert np.abs(theirs - y.numpy()).max() < tolerance * float(y.abs().max())
        back = sigpy.nufft_adjoint(y.numpy(), trajectory.numpy(), oshape=x.shape, **options)
        image = transform.H(y)
        assert np.abs(back - image.numpy()).max() < tolerance * float(image.abs().max())


def test_data_have_the_axes_of_the_trajectory():
    maps = birdcage_maps((8, 6), 3, dtype=torch.complex128)
    scan = NonUniformFourier((3, 8, 6), radial_trajectory(4, 16, (8, 6))) @ Coils(maps)
    assert scan.range.shape == (3, 4, 16)
    x = _random((2, 2, 8, 6))
    y = scan(x)
    one = NonUniformFourier((8, 6), radial_trajectory(4, 16, (8, 6)))
    torch.testing.assert_close(y[1, 0, 2], one(maps[2] * x[1, 0]))


def test_gradients_of_gradients():
    transform = NonUniformFourier((4, 3), _scattered(7, (4, 3)))
    x = _random((2, 4, 3)).requires_grad_()
    assert torch.autograd.gradcheck(transform, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda v: transform(v).abs().square().sum(), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda v: transform.H(transform(v)).abs().pow(3).sum(), x, fast_mode=True)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own, in jvp
def test_forward_derivative():
    transform = NonUniformFourier((5, 4), _scattered(7, (5, 4)))
    x, tangent = _random((5, 4)), _random((5, 4), seed=1)
    _, result = torch.func.jvp(transform, (x,), (tangent,))
    torch.testing.assert_close(result, transform(tangent))


def test_views_and_conjugates_are_read_right():
    transform, x = NonUniformFourier((4, 5), _scattered(6, (4, 5))), _random((5, 4))
    torch.testing.assert_close(transform(x.mH), transform(x.mH.clone(memory_format=torch.contiguous_format)))
    torch.testing.assert_close(transform(x.T.conj()), transform(x.T.conj().resolve_conj()))
    assert transform(_random((0, 4, 5))).shape == (0, 6)


def test_survives_pickling_and_copying_after_use():
    transform, x = NonUniformFourier((4, 5), _scattered(6, (4, 5)), toeplitz=True), _random((4, 5))
    y = transform(x)
    for other in (pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform), transform.to("cpu")):
        torch.testing.assert_close(other(x), y, rtol=0, atol=0)
        torch.testing.assert_close(other.normal(x), transform.normal(x), rtol=0, atol=0)


def test_plans_for_many_batch_sizes_do_not_pile_up():
    transform = NonUniformFourier((4, 5), _scattered(6, (4, 5)))
    for size in range(1, 12):
        transform(_random((size, 4, 5)))
    assert len(transform._sums._plans) <= 4


@pytest.mark.parametrize("shape", [(7, 6), (5, 4, 3), (9,)])
def test_toeplitz_is_the_weighted_normal_operator(shape):
    trajectory, weights = _scattered(30, shape), torch.rand(30, dtype=torch.float64)
    transform = NonUniformFourier(shape, trajectory, toeplitz=True)
    x = _random((2, *shape))
    torch.testing.assert_close(transform.normal(x), transform.H(transform(x)), rtol=0, atol=1e-9)
    assert isinstance(transform.normal, ToeplitzNormal)
    weighted = ToeplitzNormal(shape, trajectory, weights)
    torch.testing.assert_close(weighted(x), transform.H(weights * transform(x)), rtol=0, atol=1e-9)
    assert not isinstance(NonUniformFourier(shape, trajectory).normal, ToeplitzNormal)


def test_a_multi_coil_scan_keeps_the_faster_normal_operator():
    maps = birdcage_maps((7, 6), 3, dtype=torch.complex128)
    trajectory = radial_trajectory(5, 8, (7, 6))
    scan = NonUniformFourier((3, 7, 6), trajectory, toeplitz=True) @ Coils(maps)
    assert "ToeplitzNormal" in scan.normal.name
    x = _random((7, 6))
    torch.testing.assert_close(scan.normal(x), scan.H(scan(x)), rtol=0, atol=1e-9)


def test_toeplitz_of_coil_images():
    trajectory = _scattered(30, (7, 6))
    transform = NonUniformFourier((3, 7, 6), trajectory, toeplitz=True)
    x = _random((2, 3, 7, 6), dtype=torch.complex64)
    result = transform.normal(x)
    assert result.dtype == torch.complex64
    torch.testing.assert_close(result, transform.H(transform(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "trajectory"),
    [
        ((4, 5), torch.zeros(3)),
        ((4, 5), torch.zeros(3, 4)),
        ((5,), torch.zeros(3, 2)),
        ((4, 5), torch.zeros(3, 2, dtype=torch.complex64)),
        ((4, 5), torch.zeros(3, 2, dtype=torch.int64)),
        ((4, 5), torch.zeros(0, 2)),
    ],
)
def test_impossible_trajectories_are_refused(shape, trajectory):
    with pytest.raises(ShapeError, match="is real and of shape"):
        NonUniformFourier(shape, trajectory)


@pytest.mark.parametrize("value", [math.nan, math.inf, 5.0, -4.5])
def test_trajectories_outside_kspace_are_refused(value):
    with pytest.raises(GeometryError, match="k-space of 6 pixels reaches 3 cycles per field of view"):
        NonUniformFourier((8, 6), torch.tensor([[0.0, 0.0], [0.0, value]]))


@pytest.mark.parametrize("weights", [torch.ones(3), torch.ones(4, dtype=torch.complex64)])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(ShapeError, match=r"real and of shape \(4,\)"):
        ToeplitzNormal((4, 5), torch.zeros(4, 2), weights)
