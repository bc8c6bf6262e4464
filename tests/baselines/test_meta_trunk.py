import pytest
import torch

from medinr.baselines.meta_trunk import meta_trunk
from medinr.baselines.strainer import PublishedRecipe
from medinr.errors import ConfigError, ShapeError
from medinr.network.coordinates import plane_coordinates
from medinr.network.trunk import Trunk, TrunkSettings

SIZE = 20
SMALL = TrunkSettings(width=48, depth=3, omega=20.0)
POINTS = plane_coordinates((SIZE, SIZE), (1.0, 1.0), SIZE / 2)


def _discs(count: int) -> torch.Tensor:
    """Bright discs of one kind: what they have in common is to be learned."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, SIZE) for _ in range(2)), indexing="ij")
    places = 0.3 * torch.rand(count, 2, generator=torch.Generator().manual_seed(0))
    return torch.stack([torch.sigmoid(20 * (0.5 - torch.hypot(x - a, y - b))) for a, b in places.tolist()])


def _error_after(trunk: Trunk, image: torch.Tensor, steps: int) -> float:
    task = PublishedRecipe(trunk, POINTS, image.reshape(-1, 1), seed=99)
    return [task.step() for _ in range(steps + 1)][-1]


def test_an_unseen_image_is_learned_faster_than_from_random_weights() -> None:
    discs = _discs(5)
    learned = meta_trunk(discs[:4], POINTS, SMALL, iterations=40, steps=16)
    plain = Trunk(SMALL, torch.Generator().manual_seed(0))
    assert _error_after(learned, discs[4], 20) < 0.8 * _error_after(plain, discs[4], 20)


def test_one_seed_one_trunk() -> None:
    one, same, other = (meta_trunk(_discs(2), POINTS, SMALL, iterations=2, steps=1, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.weights[1], same.weights[1])
    assert not torch.equal(one.weights[1], other.weights[1])


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ShapeError, match=r"400 points were given for images of shape \(2, 9, 9\)"):
        meta_trunk(torch.zeros(2, 9, 9), POINTS, SMALL)
    with pytest.raises(ConfigError, match="got 0 and 3"):
        meta_trunk(_discs(2), POINTS, SMALL, iterations=0, steps=3)
