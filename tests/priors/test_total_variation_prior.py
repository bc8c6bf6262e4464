import math

import pytest
import torch
from torch import Tensor

from medinr.priors.total_variation import TotalVariation, gradient


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_differences_by_hand():
    image = torch.tensor([[0.0, 1.0, 3.0], [10.0, 10.0, 10.0]])
    found = gradient(image)
    torch.testing.assert_close(found[0], torch.tensor([[10.0, 9.0, 7.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(found[1], torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]))
    batch = torch.stack([image, 2 * image])
    torch.testing.assert_close(gradient(batch), torch.stack([found, 2 * found]))


def test_value_by_hand():
    image = torch.tensor([[0.0, 3.0], [4.0, 3.0]], dtype=torch.float64)
    # Steps (down, right) per pixel: (4, 3), (0, 0), (0, -1), (0, 0).
    wanted = 2.0 * sum(math.sqrt(squared + 0.1**2) for squared in (25.0, 0.0, 1.0, 0.0))
    assert float(TotalVariation(2.0, 0.1).penalty(image)) == pytest.approx(wanted, rel=1e-12)


def test_without_smoothing_it_is_the_perimeter_of_a_square():
    image = torch.zeros(10, 10, dtype=torch.float64)
    image[3:7, 3:7] = 5.0
    # Perimeter 16 times height 5; at the outer corner two steps share one root.
    wanted = 5.0 * (16 - 2 + math.sqrt(2))
    assert float(TotalVariation(1.0, 1e-9).penalty(image)) == pytest.approx(wanted, rel=1e-6)


def test_complex_gradients_count_both_parts_and_no_global_phase():
    image = torch.complex(_random(6, 7), _random(6, 7, seed=1))
    prior = TotalVariation(1.5, 0.03)
    steps = gradient(image)
    by_hand = 1.5 * (steps.abs().square().sum(dim=0) + 0.03**2).sqrt().sum()
    torch.testing.assert_close(prior.penalty(image), by_hand)
    torch.testing.assert_close(prior.penalty(image * torch.exp(torch.tensor(1.1j))), prior.penalty(image))
    real = _random(6, 7)
    torch.testing.assert_close(prior.penalty(real.to(torch.complex128)), prior.penalty(real))


def _quadratic(prior: TotalVariation, image: Tensor, at: Tensor) -> Tensor:
    """The majoriser at ``at``, evaluated at ``image``."""
    magnitude = (gradient(at).abs().square().sum(dim=0) + prior.epsilon**2).sqrt()
    squared = gradient(image).abs().square().sum(dim=0) + prior.epsilon**2
    return prior.weight * 0.5 * (squared / magnitude + magnitude).sum()


@pytest.mark.parametrize("complex_image", [False, True])
def test_majoriser_lies_above_and_touches(complex_image):
    prior = TotalVariation(0.7, 0.01)

    def draw(seed: int) -> Tensor:
        real = _random(8, 9, seed=seed)
        return torch.complex(real, _random(8, 9, seed=seed + 100)) if complex_image else real

    at = draw(0)
    torch.testing.assert_close(_quadratic(prior, at, at), prior.penalty(at))
    for seed in range(1, 20):
        for size in (1e-3, 0.1, 1.0, 10.0):
            image = at + size * draw(seed)
            assert float(prior.penalty(image)) <= float(_quadratic(prior, image, at)) * (1 + 1e-12)


def test_gram_is_the_curvature_of_the_majoriser_in_head_space():
    shape, p = (5, 6), 7
    features, at = _random(30, p), _random(*shape, seed=3)
    prior = TotalVariation(0.4, 0.02)
    dense = torch.stack([gradient(e.reshape(shape)).reshape(-1) for e in torch.eye(30, dtype=torch.float64)], dim=1)
    magnitude = (gradient(at).square().sum(dim=0) + 0.02**2).sqrt()
    weights = (0.4 / magnitude).reshape(1, -1).expand(2, -1).reshape(-1)
    wanted = features.T @ dense.T @ torch.diag(weights) @ dense @ features
    for batch in (1, 3, 32):
        torch.testing.assert_close(prior.gram(features, at, batch), wanted, rtol=1e-12, atol=1e-12)
    # And the value of the quadratic is the majoriser up to a constant.
    first, second = _random(p, 1, seed=4), _random(p, 1, seed=5)
    rise = 0.5 * (second.T @ wanted @ second - first.T @ wanted @ first).squeeze()
    images = [(features @ head).reshape(shape) for head in (first, second)]
    torch.testing.assert_close(_quadratic(prior, images[1], at) - _quadratic(prior, images[0], at), rise)


def test_gram_at_a_complex_image_is_real_and_weighs_both_parts():
    features = _random(30, 4)
    at = torch.complex(_random(5, 6), _random(5, 6, seed=1))
    prior = TotalVariation(1.0, 0.05)
    found = prior.gram(features, at)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, found.T)
    magnitude = (gradient(at).abs().square().sum(dim=0) + 0.05**2).sqrt()
    maps = gradient(features.T.reshape(4, 5, 6))
    torch.testing.assert_close(found, torch.einsum("paxy,qaxy,xy->pq", maps, maps, 1 / magnitude))


def test_gradient_of_the_penalty_is_that_of_the_majoriser_where_they_touch():
    at = _random(6, 6).requires_grad_()
    prior = TotalVariation(1.0, 0.1)
    (slope,) = torch.autograd.grad(prior.penalty(at), at)
    (wanted,) = torch.autograd.grad(_quadratic(prior, at, at.detach()), at)
    torch.testing.assert_close(slope, wanted)
