"""Means over windows, against scipy's."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from medinr.priors.windows import window_mean


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 64, 65), (2, 130, 70)])
@pytest.mark.parametrize("radius", [1, 6])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_means_are_over_the_part_of_the_window_that_lies_inside(shape, radius, kind):
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=kind)
    sums, inside = (
        uniform_filter(values, (0, 2 * radius + 1, 2 * radius + 1), mode="constant")
        for values in (images.double().numpy(), np.ones(shape))
    )
    means = torch.from_numpy(sums / inside).to(kind)
    torch.testing.assert_close(window_mean(images, radius), means, rtol=1e-5, atol=1e-6)
