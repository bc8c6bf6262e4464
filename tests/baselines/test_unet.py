import pytest
import torch

from medinr.baselines.unet import improve, train_unet, untrained_unet
from medinr.errors import ConfigError


def _discs(count: int, size: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for _ in range(2)), indexing="ij")
    places = torch.rand(count, 3, generator=generator)
    return [((x - a + 0.5) ** 2 + (y - b + 0.5) ** 2 < 0.1 + 0.2 * c).float() for a, b, c in places.tolist()]


def _noisy(image: torch.Tensor, seed: int) -> torch.Tensor:
    return image + 0.3 * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))


def test_it_learns_to_take_noise_away_from_images_of_any_size() -> None:
    discs = _discs(6, 48)
    network = train_unet([(_noisy(disc, k), disc) for k, disc in enumerate(discs)], 60)
    unseen = _discs(7, 51)[6]
    noisy = _noisy(unseen, 100)
    found = improve(network, noisy)
    assert found.shape == unseen.shape
    assert float((found - unseen).norm()) < 0.7 * float((noisy - unseen).norm())


def test_weights_come_from_the_seed() -> None:
    one, same, other = (untrained_unet(seed).state_dict() for seed in (0, 0, 1))
    key = next(iter(one))
    assert torch.equal(one[key], same[key])
    assert not torch.equal(one[key], other[key])


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(ConfigError, match="one pair or more, for one step or more; got 0, 5"):
        train_unet([], 5)
