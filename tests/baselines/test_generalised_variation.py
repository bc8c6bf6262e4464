import math

import pytest
import torch
from torch import Tensor

from medinr.baselines import denoise_magnitude, generalised_variation, total_variation
from medinr.errors import ConfigError
from medinr.operators import (
    Gaussian,
    Identity,
    ParallelBeam,
    Rician,
    TransmissionPoisson,
    cartesian_mask,
    undersampled_fourier,
)

SHAPE = (40, 36)


def _ramps() -> Tensor:
    """Two slopes that meet in an edge: affine on either side."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SHAPE[0]), torch.linspace(0, 1, SHAPE[1]), indexing="ij")
    return torch.where(x + 0.4 * y < 0.7, 0.2 + 0.6 * y + 0.2 * x, 1.4 - 0.7 * x).double()


def _psnr(x: Tensor, reference: Tensor) -> float:
    return -10 * math.log10(float(((x - reference).abs() ** 2).mean()))


def _flat_share(image: Tensor) -> float:
    """Share of neighbours along x that are level: what staircases are made of."""
    return float((image.diff(dim=1).abs() < 1e-3).double().mean())


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_affine_images_are_kept_at_any_weight_to_the_border() -> None:
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(17.0), indexing="ij")
    ramp = (0.1 + 0.02 * x + 0.03 * y).double()
    kept = generalised_variation(ramp, Identity(ramp.shape), 5.0, iterations=1000)
    torch.testing.assert_close(kept, ramp, atol=1e-4, rtol=0)
    flattened = total_variation(ramp, Identity(ramp.shape), 5.0, iterations=1000)
    assert float(flattened.max() - flattened.min()) < 0.05 * float(ramp.max() - ramp.min())


def test_slopes_are_denoised_without_the_staircase_of_total_variation(generator) -> None:
    reference = _ramps()
    noisy = Gaussian(0.1).sample(reference, generator)
    # Each with the best of four weights, so that neither wins by a badly chosen one.
    best = {
        method: max(
            (method(noisy, Identity(SHAPE), weight, iterations=400) for weight in (0.05, 0.1, 0.15, 0.2)),
            key=lambda image: _psnr(image, reference),
        )
        for method in (total_variation, generalised_variation)
    }
    flat, sloped = best[total_variation], best[generalised_variation]
    assert _psnr(sloped, reference) > _psnr(flat, reference) + 2
    assert _flat_share(reference) == 0
    assert _flat_share(sloped) < 0.25 * _flat_share(flat)


def test_undersampled_slopes_are_complex_and_better_than_by_total_variation(generator) -> None:
    reference = _ramps() * torch.exp(0.5j * torch.linspace(-1, 1, SHAPE[1], dtype=torch.float64))
    operator = undersampled_fourier(SHAPE, cartesian_mask(SHAPE[0], 2.5, 0.15, seed=1))
    data = Gaussian(0.02).sample(operator(reference), generator)
    precision = torch.full(data.shape, 0.02**-2, dtype=torch.float64)
    flat, sloped = (
        method(data, operator, 0.6, precision=precision, iterations=400)
        for method in (total_variation, generalised_variation)
    )
    assert sloped.is_complex()
    assert _psnr(sloped, reference) > _psnr(flat, reference) + 1


def test_three_hundred_iterations_are_converged_for_sparse_view_ct(generator) -> None:
    reference = 0.02 * _ramps()[::2, ::2]
    projector = ParallelBeam(reference.shape, (1.0, 1.0), (torch.arange(12) * math.pi / 12).tolist())
    noise = TransmissionPoisson(1e5)
    data = noise.sample(projector(reference), generator)
    _, precision = noise.surrogate(data, data)
    short, long = (
        generalised_variation(data, projector, 3.0, precision=precision, iterations=n, nonnegative=True)
        for n in (300, 1500)
    )
    assert float(short.min()) >= 0
    assert _psnr(short, long) > _psnr(short, reference) + 6


@pytest.mark.parametrize("operator", [Identity(SHAPE), ParallelBeam(SHAPE, (1.0, 1.0), [0.1, 0.9, 1.7, 2.6])])
def test_one_weight_serves_every_intensity_scale(operator, generator) -> None:
    data = Gaussian(0.1).sample(operator(_ramps()), generator)
    precision = torch.full((), 0.1**-2, dtype=torch.float64)
    found = generalised_variation(data, operator, 1.0, precision=precision, iterations=50)
    scaled = generalised_variation(1e6 * data, operator, 1.0, precision=precision / 1e12, iterations=50)
    torch.testing.assert_close(scaled / 1e6, found, atol=1e-6, rtol=1e-6)


def test_batches_single_precision_and_data_left_alone(generator) -> None:
    data = Gaussian(0.1).sample(_ramps().float().expand(2, *SHAPE), generator)
    before = data.clone()
    together = generalised_variation(data, Identity(SHAPE), 0.1, iterations=20)
    assert together.dtype == torch.float32
    assert torch.equal(data, before)
    torch.testing.assert_close(together[1], generalised_variation(data[1], Identity(SHAPE), 0.1, iterations=20))


def test_magnitudes_lose_the_rician_floor(generator) -> None:
    reference, noise = _ramps(), Rician(0.1)
    reference[:, :8] = 0
    magnitude = noise.sample(reference, generator)
    found = denoise_magnitude(magnitude, noise, 0.8, method=generalised_variation)
    assert float(found.min()) >= 0
    assert float(found[:, :6].mean()) < 0.6 * float(magnitude[:, :6].mean())
    assert _psnr(found, reference) > _psnr(magnitude, reference) + 6


def test_errors_name_it() -> None:
    with pytest.raises(ConfigError, match="weight of total generalised variation must be finite"):
        generalised_variation(_ramps(), Identity(SHAPE), math.nan)
