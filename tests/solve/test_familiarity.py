import pytest
import torch

from medinr.errors import IntensityError
from medinr.prior.local import LocalPrior
from medinr.solve.familiarity import LEVELS, Familiarity, surprise, surprise_range


class Blind:
    """Leaves the noise where it is."""

    def denoise(self, image: torch.Tensor, level: float, turn: int = 0) -> torch.Tensor:
        return image


class Knowing:
    """Knows the image, but for a constant fraction of the noise level."""

    def __init__(self, truth: torch.Tensor, fraction: float) -> None:
        self.truth, self.fraction = truth, fraction

    def denoise(self, image: torch.Tensor, level: float, turn: int = 0) -> torch.Tensor:
        return self.truth + self.fraction * level


def test_surprise_is_the_error_over_the_noise():
    image = torch.ones(64, 64)
    assert surprise(image, Knowing(image, 0.25)) == pytest.approx(0.25, rel=1e-4)
    # 2 x 4096 draws of variance 1.
    assert surprise(image, Blind()) == pytest.approx(1.0, abs=0.05)
    assert len(LEVELS) > 1


def test_it_depends_on_the_seed_alone(family):
    assert surprise(family.unseen, family.prior, 3) == surprise(family.unseen, family.prior, 3)
    assert surprise(family.unseen, family.prior, 3) != surprise(family.unseen, family.prior, 4)


def test_a_new_member_of_the_family_is_familiar_and_a_texture_is_not(family):
    low, high = surprise_range(family.members, family.prior)
    assert 0 < low < high < 1
    assert Familiarity(surprise(family.unseen, family.prior), low, high).warning == ""
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    texture = family.unseen * (0.7 + 0.3 * ((y // 2 + x // 2) % 2))
    strange = Familiarity(surprise(texture, family.prior), low, high)
    assert "unlike the scans" in strange.warning
    assert f"{strange.surprise:.3f}" in strange.warning


def test_less_structure_than_usual_is_told_too():
    assert "less structure" in Familiarity(0.1, 0.2, 0.4).warning
    assert Familiarity(0.2, 0.2, 0.4).warning == ""


def test_slices_of_air_are_left_out_of_the_range(family):
    with_air = [*family.members, torch.zeros(32, 32)]
    assert surprise_range(with_air, family.prior) == surprise_range(family.members, family.prior)
    with pytest.raises(IntensityError, match="darker"):
        surprise(torch.zeros(32, 32), family.prior)
    with pytest.raises(IntensityError, match="None of 1 slices"):
        surprise_range([torch.zeros(32, 32)], family.prior)


def test_a_prior_is_asked_on_any_grid(family):
    assert isinstance(family.prior, LocalPrior)
    assert 0 < surprise(torch.ones(7, 50), family.prior) < 1
