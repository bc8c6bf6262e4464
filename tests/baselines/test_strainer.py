import torch

from medinr.baselines.strainer import RATE, PublishedRecipe
from medinr.network.coordinates import plane_coordinates
from medinr.network.trunk import Trunk, TrunkSettings


def _recipe() -> PublishedRecipe:
    trunk = Trunk(TrunkSettings(width=32, depth=3, omega=30.0), torch.Generator().manual_seed(3))
    points = plane_coordinates((20, 18), (1.0, 1.0), 10.0)
    values = torch.exp(-4 * points.square().sum(dim=1, keepdim=True))
    return PublishedRecipe(trunk, points, values, seed=5)


def test_the_quick_step_is_the_published_one():
    slow, quick = _recipe(), _recipe()
    for step in range(5):
        one, other = slow.step_as_published(), quick.step()
        assert abs(one - other) < 1e-5 * one, step
    for one, other in zip(slow.trunk.parameters(), quick.trunk.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6)
    torch.testing.assert_close(slow.head, quick.head, rtol=0, atol=2e-6)


def test_the_first_step_is_adams():
    """Adam's first step has the length of its rate in every weight that has a gradient."""
    recipe = _recipe()
    before = recipe.trunk.weights[1].detach().clone()
    recipe.step_as_published()
    moved = (recipe.trunk.weights[1].detach() - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, RATE), rtol=1e-2, atol=0)


def test_the_trunk_is_copied_and_learns():
    trunk = Trunk(TrunkSettings(width=32, depth=3), torch.Generator().manual_seed(3))
    kept = [p.detach().clone() for p in trunk.parameters()]
    points = plane_coordinates((20, 18), (1.0, 1.0), 10.0)
    recipe = PublishedRecipe(trunk, points, points[:, :1].square())
    errors = [recipe.step() for _ in range(60)]
    assert errors[-1] < 0.5 * errors[0]
    assert all(torch.equal(a, b) for a, b in zip(kept, trunk.parameters(), strict=True))
