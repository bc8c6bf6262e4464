import math

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

from medinr.baselines import denoise_magnitude, total_variation
from medinr.errors import ConfigError, ShapeError
from medinr.operators import (
    Gaussian,
    Identity,
    ParallelBeam,
    Rician,
    TransmissionPoisson,
    cartesian_mask,
    fbp,
    undersampled_fourier,
)

SHAPE = (48, 40)


def _phantom() -> Tensor:
    """Piecewise constant, without symmetry."""
    image = torch.zeros(SHAPE, dtype=torch.float64)
    image[6:40, 5:33] = 1.0
    image[12:24, 9:20] = 0.4
    image[28:35, 14:29] = 1.6
    return image


def _tv(x: Tensor) -> Tensor:
    down = torch.diff(x, dim=0, append=x[-1:]).abs()
    right = torch.diff(x, dim=1, append=x[:, -1:]).abs()
    return torch.hypot(down, right).sum()


def _objective(x: Tensor, data: Tensor, operator, weight: float, precision=1.0) -> float:
    precision = torch.as_tensor(precision, dtype=torch.float64)
    mean = precision[precision > 0].mean()
    return float((0.5 * precision * (operator(x) - data).abs() ** 2).sum() + weight * mean.sqrt() * _tv(x))


def _psnr(x: Tensor, reference: Tensor) -> float:
    return -10 * math.log10(float(((x - reference).abs() ** 2).mean()))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_denoising_reaches_the_objective_of_chambolle_and_its_image(generator) -> None:
    noisy, weight = Gaussian(0.15).sample(_phantom(), generator), 0.2
    ours = total_variation(noisy, Identity(SHAPE), weight)
    theirs = torch.from_numpy(denoise_tv_chambolle(noisy.numpy(), weight=weight, eps=1e-9, max_num_iter=3000))
    best = _objective(theirs, noisy, Identity(SHAPE), weight)
    assert _objective(ours, noisy, Identity(SHAPE), weight) <= best * (1 + 1e-3)
    assert float((ours - theirs).abs().max()) < 0.01


def test_denoising_one_dimension_matches_the_solution_by_hand() -> None:
    # A step of height 1 between two pixels: each side moves towards the other by the weight.
    step = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    found = total_variation(step, Identity((1, 2)), 0.2, iterations=2000)
    torch.testing.assert_close(found, torch.tensor([[0.2, 0.8]], dtype=torch.float64), atol=1e-3, rtol=0)


def test_undersampled_phantom_is_recovered_far_better_than_zero_filled(generator) -> None:
    reference = _phantom() * torch.exp(0.7j * torch.linspace(-1, 1, SHAPE[1], dtype=torch.float64))
    operator = undersampled_fourier(SHAPE, cartesian_mask(SHAPE[0], 3, 0.12, seed=1))
    data = Gaussian(0.01).sample(operator(reference), generator)
    precision = torch.full(data.shape, 0.01**-2, dtype=torch.float64)
    found = total_variation(data, operator, 0.5, precision=precision, iterations=400)
    assert found.is_complex()
    assert _psnr(found, reference) > _psnr(operator.H(data), reference) + 12


def test_no_perturbation_lowers_the_objective(generator) -> None:
    operator = undersampled_fourier(SHAPE, cartesian_mask(SHAPE[0], 3, 0.12, seed=1))
    data = Gaussian(0.02).sample(operator(_phantom().to(torch.complex128)), generator)
    precision = 100 * (1 + torch.rand(data.shape, generator=generator, dtype=torch.float64))
    found = total_variation(data, operator, 0.3, precision=precision, iterations=1500)
    lowest = _objective(found, data, operator, 0.3, precision)
    for size in (1e-1, 1e-2):
        for _ in range(5):
            change = torch.randn(SHAPE, generator=generator, dtype=torch.complex128)
            assert _objective(found + size * change, data, operator, 0.3, precision) > lowest
    for scaled in (0.98, 1.02):
        assert _objective(scaled * found, data, operator, 0.3, precision) > lowest


def test_two_hundred_iterations_are_converged_for_sparse_view_ct(generator) -> None:
    reference = 0.02 * _phantom()
    projector = ParallelBeam(SHAPE, (1.0, 1.0), (torch.arange(24) * math.pi / 24).tolist())
    noise = TransmissionPoisson(1e5)
    data = noise.sample(projector(reference), generator)
    _, precision = noise.surrogate(data, data)
    short, long = (
        total_variation(data, projector, 5.0, precision=precision, iterations=n, nonnegative=True) for n in (200, 2000)
    )
    assert float(short.min()) >= 0.0
    assert _objective(short, data, projector, 5.0, precision) < 1.01 * _objective(long, data, projector, 5.0, precision)
    assert _psnr(short, reference) > _psnr(fbp(data, projector), reference) + 6


def test_weight_zero_is_least_squares(generator) -> None:
    operator = undersampled_fourier(SHAPE, [5, 20, 23, 24, 25, 40])
    data = operator(_phantom().to(torch.complex128))
    torch.testing.assert_close(total_variation(data, operator, 0.0), operator.H(data), atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("operator", [Identity(SHAPE), ParallelBeam(SHAPE, (1.0, 1.0), [0.1, 0.9, 1.7, 2.6])])
def test_one_weight_serves_every_intensity_scale(operator, scale, generator) -> None:
    data = Gaussian(0.1).sample(operator(_phantom()), generator)
    precision = torch.full((), 0.1**-2, dtype=torch.float64)
    found = total_variation(data, operator, 1.0, precision=precision, iterations=50)
    scaled = total_variation(scale * data, operator, 1.0, precision=precision / scale**2, iterations=50)
    torch.testing.assert_close(scaled / scale, found, atol=1e-6, rtol=1e-6)


def test_batch_equals_loop_and_keeps_single_precision(generator) -> None:
    data = Gaussian(0.1).sample(_phantom().float().expand(2, 3, *SHAPE), generator)
    together = total_variation(data, Identity(SHAPE), 0.1, iterations=20)
    assert together.shape == data.shape
    assert together.dtype == torch.float32
    torch.testing.assert_close(together[1, 2], total_variation(data[1, 2], Identity(SHAPE), 0.1, iterations=20))


def test_data_are_left_alone_and_empty_data_give_an_empty_image() -> None:
    data = _phantom()
    before = data.clone()
    total_variation(data, Identity(SHAPE), 0.1, iterations=5)
    assert torch.equal(data, before)
    assert not total_variation(torch.zeros(SHAPE), Identity(SHAPE), 0.1).any()


def test_global_random_state_is_untouched() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    total_variation(_phantom(), ParallelBeam(SHAPE, (1.0, 1.0), [0.0]).normal, 0.1, iterations=5)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_wrong_arguments_are_named() -> None:
    image = _phantom()
    with pytest.raises(ConfigError, match="at least 0; got -1"):
        total_variation(image, Identity(SHAPE), -1)
    with pytest.raises(ConfigError, match="at least one iteration"):
        total_variation(image, Identity(SHAPE), 1, iterations=0)
    with pytest.raises(ShapeError, match="does not fit the data"):
        total_variation(image, Identity(SHAPE), 1, precision=torch.ones(3))
    with pytest.raises(ShapeError, match="1 / variance"):
        total_variation(image, Identity(SHAPE), 1, precision=-torch.ones(SHAPE))
    with pytest.raises(ShapeError, match="nonnegative"):
        total_variation(image.to(torch.complex128), Identity(SHAPE), 1, nonnegative=True)


def test_magnitudes_are_denoised_without_the_rician_floor(generator) -> None:
    reference, noise = _phantom(), Rician(0.1)
    magnitude = noise.sample(reference, generator)
    found = denoise_magnitude(magnitude, noise, 1.0)
    air = reference == 0
    assert float(magnitude[air].mean()) > 0.12
    assert float(found[air].mean()) < 0.07
    assert _psnr(found, reference) > _psnr(magnitude, reference) + 6
