import torch
from torch import nn

from medinr.inr.coordinates import plane_coordinates
from medinr.inr.network import Trunk, TrunkSettings, random_head
from medinr.solve.imitate import ImitationSettings, best_head, imitate, to_values


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_trunk() -> tuple[Trunk, torch.Tensor]:
    trunk = Trunk(TrunkSettings(width=32, depth=3, omega=10.0), seeded())
    return trunk, plane_coordinates((16, 16), (1.0, 1.0), 8.0)


def bump() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    return torch.exp(-4 * (y - 0.2) ** 2 - 9 * x**2) + 0.3 * torch.sin(9 * y)


def test_best_head_is_least_squares() -> None:
    features = torch.randn(50, 7, generator=seeded())
    values = torch.randn(50, 2, generator=seeded(1))
    expected = torch.linalg.lstsq(features.double(), values.double()).solution
    torch.testing.assert_close(best_head(features, values), expected.float(), rtol=1e-5, atol=1e-5)


def test_complex_images_are_two_heads() -> None:
    image = torch.randn(3, 4, dtype=torch.complex64, generator=seeded())
    values = to_values(image)
    assert values.shape == (12, 2)
    assert torch.equal(torch.view_as_complex(values.contiguous()).reshape(3, 4), image)


def test_imitation_beats_the_best_head_alone() -> None:
    trunk, points = small_trunk()
    values = to_values(bump())
    head = nn.Parameter(random_head(32, 1, 10.0, seeded()))
    alone = (trunk.features(points) @ best_head(trunk.features(points), values) - values).square().mean()
    imitate(trunk, head, points, values, ImitationSettings(steps=60, batch=64), generator=seeded(1))
    with torch.no_grad():
        learned = (trunk.render(points, head) - values).square().mean()
    assert learned < 0.1 * alone


def test_imitation_ends_when_told_to() -> None:
    trunk, points = small_trunk()
    head = nn.Parameter(random_head(32, 1, 10.0, seeded()))
    seen = []

    def after_step(step: int) -> bool:
        seen.append(step)
        return step < 3

    settings = ImitationSettings(steps=60, batch=64)
    imitate(trunk, head, points, to_values(bump()), settings, generator=seeded(), after_step=after_step)
    assert seen == [1, 2, 3]
