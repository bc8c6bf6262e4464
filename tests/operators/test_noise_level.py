import numpy as np
import pytest
import torch

from medinr.errors import ShapeError
from medinr.operators import Gaussian, estimate_sigma


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
