import pytest
import torch

from medinr.errors import ConfigError, ShapeError
from medinr.prior.companion import CompanionPrior
from medinr.prior.straight_lines import EVERYWHERE, StraightLines, with_slopes


class Unchanged:
    """Believes every image."""

    def __init__(self, precision: torch.dtype = torch.float32) -> None:
        self.precision = precision

    def denoise(self, image: torch.Tensor, level: float, turn: int = 0) -> torch.Tensor:
        return image

    def in_precision(self, precision: torch.dtype) -> "Unchanged":
        return Unchanged(precision)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def steps() -> torch.Tensor:
    """Tissue of three grey values with sharp edges."""
    image = torch.zeros(40, 40)
    image[8:32, 8:32] = 0.5
    image[14:20, 12:28] = 0.9
    return image


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (3.0, 0.2), (-0.7, 0.9)])
def test_contrast_scale_and_sign_of_a_companion_do_not_matter(slope, offset):
    image = steps()
    explained = StraightLines((slope * image + offset).unsqueeze(0), 4, 1e-4).explain(image)
    torch.testing.assert_close(explained, image, atol=2e-4, rtol=0)


def test_a_window_without_structure_gives_the_mean():
    """The guided filter of a constant is a mean of means; inside, of a ramp, the ramp."""
    ramp = torch.arange(30.0).expand(30, 30) / 30
    explained = StraightLines(torch.ones(1, 30, 30), 3, 0.01).explain(ramp)
    torch.testing.assert_close(explained[8:22, 8:22], ramp[8:22, 8:22], atol=1e-5, rtol=0)


def test_two_companions_tell_apart_what_each_shows_alike():
    """Three tissues, of which each companion shows two alike, in an order that no single line explains."""
    tissue = torch.randint(3, (40, 40), generator=seeded(3))
    image = torch.tensor([0.2, 0.9, 0.5])[tissue]
    first, second = torch.tensor([0.1, 0.1, 0.8])[tissue], torch.tensor([0.3, 0.7, 0.7])[tissue]
    both = StraightLines(torch.stack([first, second]), 4, 1e-4).explain(image)
    torch.testing.assert_close(both, image, atol=2e-4, rtol=0)
    for alone in (first, second):
        assert (StraightLines(alone.unsqueeze(0), 4, 1e-4).explain(image) - image).square().mean().sqrt() > 0.1


def test_a_companion_given_twice_says_no_more_than_once():
    image = steps() + 0.1 * torch.randn(40, 40, generator=seeded(1))
    once, twice = (StraightLines(steps().expand(count, -1, -1), 4, 0.01 * count**0.5) for count in (1, 2))
    torch.testing.assert_close(twice.explain(image), once.explain(image), atol=1e-4, rtol=0)


def test_a_window_is_solved_as_least_squares_with_a_ridge_would():
    """Golden values: the line of one pixel's window, by its normal equations in double precision."""
    generator = seeded(2)
    companions, image = torch.rand(3, 9, 9, generator=generator), torch.rand(9, 9, generator=generator)
    lines = StraightLines(companions, 1, 0.05)
    values = {}
    for y in range(3, 6):
        for x in range(3, 6):
            c = companions[:, y - 1 : y + 2, x - 1 : x + 2].reshape(3, 9).double()
            v = image[y - 1 : y + 2, x - 1 : x + 2].reshape(9).double()
            centred = c - c.mean(1, keepdim=True)
            slope = torch.linalg.solve(centred @ centred.T / 9 + 0.05**2 * torch.eye(3), centred @ v / 9)
            values[y, x] = slope, v.mean() - slope @ c.mean(1)
    slope, offset = (torch.stack(part).mean(0) for part in zip(*values.values(), strict=True))
    wanted = slope @ companions[:, 4, 4].double() + offset
    assert float(lines.explain(image)[4, 4]) == pytest.approx(float(wanted), abs=1e-5)


def blob(y: float, x: float) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    return torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 50)


def error(prior: CompanionPrior, image: torch.Tensor) -> float:
    """RMS of what the companions cannot explain of an image."""
    return float((prior._lines.explain(image) - image).square().mean().sqrt())


def test_what_lies_half_a_pixel_away_is_still_explained():
    image, away = blob(20, 19), blob(20.4, 18.5).unsqueeze(0)
    assert error(CompanionPrior(Unchanged(), image.unsqueeze(0)), image) < 2e-3
    assert error(CompanionPrior(Unchanged(), away), image) < 2.5e-3
    # Without slopes 0.0093 where this was written, with them 0.0014.
    assert float((StraightLines(away, 6, 0.01).explain(image) - image).square().mean().sqrt()) > 8e-3


def test_what_lies_above_the_plane_is_explained_by_the_slope_through_it():
    """A companion that is brighter above, and an image that is seen from a little higher here than there."""
    generator = seeded(5)
    companion, through = torch.rand(2, 1, 40, 40, generator=generator)
    higher = torch.linspace(-0.3, 0.3, 40).expand(40, 40)
    image = companion[0] + higher * through[0]
    with_it, without = (CompanionPrior(Unchanged(), companion, part) for part in (through, None))
    assert error(with_it, image) < 0.35 * error(without, image)


@pytest.mark.parametrize("place", [(slice(0, 30), slice(9, 40)), (slice(12, 48), slice(20, 52)), EVERYWHERE])
def test_in_a_place_an_image_is_explained_as_in_the_whole(place):
    companions, image = torch.rand(2, 48, 52, generator=seeded(0)), torch.rand(48, 52, generator=seeded(1))
    lines = StraightLines(companions, radius=2, ridge=0.01)
    whole, part = lines.explain(image)[place], lines.explain(image[place], place)
    # Where the place is cut and the image goes on, two windows are of something else.
    near = [
        slice(4 * bool(cut.start), None if cut.stop in (None, length) else -4)
        for cut, length in zip(place, image.shape, strict=True)
    ]
    torch.testing.assert_close(part[*near], whole[*near], rtol=1e-4, atol=1e-5)
    assert (part.shape == image.shape) or not torch.allclose(part, whole, rtol=1e-3, atol=1e-3)


def test_slopes_are_central_differences():
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(5.0), indexing="ij")
    image, along_y, along_x = with_slopes((2 * rows + 3 * columns**2).unsqueeze(0))
    torch.testing.assert_close(along_y[1:-1], torch.full((4, 5), 2.0))
    torch.testing.assert_close(along_x[:, 1:-1], (6 * columns)[:, 1:-1])
    assert float(along_y[0, 0]) == 1.0
    torch.testing.assert_close(image, 2 * rows + 3 * columns**2)


@pytest.mark.parametrize("phase", [0.0, 1.2])
def test_noise_that_the_companion_does_not_have_is_taken_out_and_edges_stay(phase):
    image, level = steps(), 0.05
    noisy = image + level * torch.randn(image.shape, generator=seeded())
    if phase:
        noisy = torch.polar(noisy.abs(), torch.full_like(image, phase))
        image = image.clamp_min(0)
    clean = CompanionPrior(Unchanged(), 2 * steps().unsqueeze(0) + 0.1).denoise(noisy, level)
    tissue = torch.zeros(40, 40, dtype=torch.bool)
    tissue[9:31, 9:31] = True
    before, after = ((value.abs() - image)[tissue].square().mean().sqrt() for value in (noisy, clean))
    assert after < 0.7 * before


def test_what_the_companion_does_not_know_stays_when_little_error_is_left():
    image = steps()
    lesion = torch.zeros(40, 40, dtype=torch.bool)
    lesion[24:28, 15:20] = True
    changed = torch.where(lesion, 0.95, image)
    prior = CompanionPrior(Unchanged(), image.unsqueeze(0))
    kept = prior.denoise(changed, 0.005)
    assert (kept - changed)[lesion].abs().max() < 0.02
    weight = prior.trusted(changed, 0.005)
    assert weight[lesion].mean() < 0.05
    assert weight[9:13, 9:31].mean() > 0.9


def test_what_only_the_companion_has_is_not_copied():
    image, companion = steps(), steps()
    companion[24:28, 15:20] = 0.95
    kept = CompanionPrior(Unchanged(), companion.unsqueeze(0)).denoise(image, 0.02)
    assert (kept - image).abs().max() < 0.03


def test_precision_reaches_the_prior_inside():
    prior = CompanionPrior(Unchanged(), steps().unsqueeze(0)).in_precision(torch.bfloat16)
    assert prior.prior.precision is torch.bfloat16
    assert prior.companions.dtype is torch.float32


def test_misfits_are_refused():
    with pytest.raises(ShapeError, match=r"real images .*complex64"):
        CompanionPrior(Unchanged(), torch.zeros(1, 4, 4, dtype=torch.complex64))
    with pytest.raises(ShapeError, match=r"\(40, 40\) pixels .* \(8, 8\)"):
        CompanionPrior(Unchanged(), steps().unsqueeze(0)).denoise(torch.zeros(8, 8), 0.1)
    with pytest.raises(ShapeError, match=r"\(1, 40, 40\); got \(2, 40, 40\)"):
        CompanionPrior(Unchanged(), steps().unsqueeze(0), steps().expand(2, -1, -1))
    with pytest.raises(ConfigError, match="trust and most above 0"):
        CompanionPrior(Unchanged(), steps().unsqueeze(0), trust=0.0)
