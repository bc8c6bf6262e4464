import pytest
import torch

from medinr.errors import IntensityError
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.uncertainty.out_of_distribution import LEVELS, OutOfDistribution, out_of_distribution_score, score_range


class IdlePrior:
    """Leaves the noise where it is."""

    def denoise(self, image: torch.Tensor, level: float, orientation: int = 0) -> torch.Tensor:
        return image


class ReferencePrior:
    """Knows the image, but for a constant fraction of the noise level."""

    def __init__(self, reference: torch.Tensor, fraction: float) -> None:
        self.reference, self.fraction = reference, fraction

    def denoise(self, image: torch.Tensor, level: float, orientation: int = 0) -> torch.Tensor:
        return self.reference + self.fraction * level


def test_the_score_is_the_error_over_the_noise():
    image = torch.ones(64, 64)
    assert out_of_distribution_score(image, ReferencePrior(image, 0.25)) == pytest.approx(0.25, rel=1e-4)
    # 2 x 4096 draws of variance 1.
    assert out_of_distribution_score(image, IdlePrior()) == pytest.approx(1.0, abs=0.05)
    assert len(LEVELS) > 1


def test_it_depends_on_the_seed_alone(family):
    assert out_of_distribution_score(family.unseen, family.prior, 3) == out_of_distribution_score(
        family.unseen, family.prior, 3
    )
    assert out_of_distribution_score(family.unseen, family.prior, 3) != out_of_distribution_score(
        family.unseen, family.prior, 4
    )


def test_a_new_member_of_the_family_is_in_distribution_and_a_texture_is_not(family):
    low, high = score_range(family.members, family.prior)
    assert 0 < low < high < 1
    assert OutOfDistribution(out_of_distribution_score(family.unseen, family.prior), low, high).warning == ""
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    texture = family.unseen * (0.7 + 0.3 * ((y // 2 + x // 2) % 2))
    strange = OutOfDistribution(out_of_distribution_score(texture, family.prior), low, high)
    assert "unlike the scans" in strange.warning
    assert f"{strange.score:.3f}" in strange.warning


def test_less_structure_than_usual_is_told_too():
    assert "less structure" in OutOfDistribution(0.1, 0.2, 0.4).warning
    assert OutOfDistribution(0.2, 0.2, 0.4).warning == ""


def test_slices_of_air_are_left_out_of_the_range(family):
    with_air = [*family.members, torch.zeros(32, 32)]
    assert score_range(with_air, family.prior) == score_range(family.members, family.prior)
    with pytest.raises(IntensityError, match="darker"):
        out_of_distribution_score(torch.zeros(32, 32), family.prior)
    with pytest.raises(IntensityError, match="None of 1 slices"):
        score_range([torch.zeros(32, 32)], family.prior)


def test_images_of_any_grid_have_a_score(family):
    assert isinstance(family.prior, DenoiserPrior)
    assert 0 < out_of_distribution_score(torch.ones(7, 50), family.prior) < 1


def test_the_range_goes_from_the_lowest_to_the_highest_score_with_a_margin(family):
    scores = [out_of_distribution_score(image, family.prior, number) for number, image in enumerate(family.members)]
    assert score_range(family.members, family.prior, margin=0.0) == (min(scores), max(scores))
    low, high = score_range(family.members, family.prior)
    assert (low, high) == pytest.approx((0.9 * min(scores), 1.1 * max(scores)))
