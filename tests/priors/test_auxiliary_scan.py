"""Auxiliary scans as a prior: the local linear fit, its mixture with the denoiser, and what is refused."""

import pytest
import torch

from medinr.errors import ConfigError, ShapeError
from medinr.priors.auxiliary_scan import AuxiliaryScanPrior
from medinr.priors.guided_filter import WHOLE_IMAGE, LocalRegression, with_slopes


class Unchanged:
    """Denoiser that returns every image as it is."""

    def __init__(self, precision: torch.dtype = torch.float32) -> None:
        self.precision = precision

    def denoise(self, image: torch.Tensor, level: float, orientation: int = 0) -> torch.Tensor:
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
def test_contrast_scale_and_sign_of_an_auxiliary_scan_do_not_matter(slope, offset):
    image = steps()
    fitted = LocalRegression((slope * image + offset).unsqueeze(0), 4, 1e-4).fit(image)
    torch.testing.assert_close(fitted, image, atol=2e-4, rtol=0)


def test_a_window_without_structure_gives_the_mean():
    """The guided filter of a constant is a mean of means; inside, of a ramp, the ramp."""
    ramp = torch.arange(30.0).expand(30, 30) / 30
    fitted = LocalRegression(torch.ones(1, 30, 30), 3, 0.01).fit(ramp)
    torch.testing.assert_close(fitted[8:22, 8:22], ramp[8:22, 8:22], atol=1e-5, rtol=0)


def test_two_auxiliary_scans_separate_tissues_that_are_alike_in_each():
    """Three tissues, of which two are alike in each auxiliary scan, in an order that no single slope fits."""
    tissue = torch.randint(3, (40, 40), generator=seeded(3))
    image = torch.tensor([0.2, 0.9, 0.5])[tissue]
    first, second = torch.tensor([0.1, 0.1, 0.8])[tissue], torch.tensor([0.3, 0.7, 0.7])[tissue]
    both = LocalRegression(torch.stack([first, second]), 4, 1e-4).fit(image)
    torch.testing.assert_close(both, image, atol=2e-4, rtol=0)
    for alone in (first, second):
        assert (LocalRegression(alone.unsqueeze(0), 4, 1e-4).fit(image) - image).square().mean().sqrt() > 0.1


def test_an_auxiliary_scan_given_twice_adds_nothing():
    image = steps() + 0.1 * torch.randn(40, 40, generator=seeded(1))
    once, twice = (LocalRegression(steps().expand(count, -1, -1), 4, 0.01 * count**0.5) for count in (1, 2))
    torch.testing.assert_close(twice.fit(image), once.fit(image), atol=1e-4, rtol=0)


def test_a_window_is_solved_as_least_squares_with_a_ridge_would():
    """Reference values: the regression of one pixel's window, by its normal equations in double precision."""
    generator = seeded(2)
    auxiliary, image = torch.rand(3, 9, 9, generator=generator), torch.rand(9, 9, generator=generator)
    regression = LocalRegression(auxiliary, 1, 0.05)
    values = {}
    for y in range(3, 6):
        for x in range(3, 6):
            c = auxiliary[:, y - 1 : y + 2, x - 1 : x + 2].reshape(3, 9).double()
            v = image[y - 1 : y + 2, x - 1 : x + 2].reshape(9).double()
            centred = c - c.mean(1, keepdim=True)
            slope = torch.linalg.solve(centred @ centred.T / 9 + 0.05**2 * torch.eye(3), centred @ v / 9)
            values[y, x] = slope, v.mean() - slope @ c.mean(1)
    slope, offset = (torch.stack(part).mean(0) for part in zip(*values.values(), strict=True))
    wanted = slope @ auxiliary[:, 4, 4].double() + offset
    assert float(regression.fit(image)[4, 4]) == pytest.approx(float(wanted), abs=1e-5)


def blob(y: float, x: float) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    return torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 50)


def error(prior: AuxiliaryScanPrior, image: torch.Tensor) -> float:
    """RMS difference of the linear fit from the image."""
    return float((prior._regression.fit(image) - image).square().mean().sqrt())


def test_anatomy_half_a_pixel_away_is_still_fitted():
    image, away = blob(20, 19), blob(20.4, 18.5).unsqueeze(0)
    assert error(AuxiliaryScanPrior(Unchanged(), image.unsqueeze(0)), image) < 2e-3
    assert error(AuxiliaryScanPrior(Unchanged(), away), image) < 2.5e-3
    # When this was written: without slopes 0.0093, with them 0.0014.
    assert float((LocalRegression(away, 6, 0.01).fit(image) - image).square().mean().sqrt()) > 8e-3


def test_anatomy_above_the_plane_is_fitted_by_the_slope_through_it():
    """An auxiliary scan that is brighter above, and an image of a height that varies along x."""
    generator = seeded(5)
    scan, through_plane = torch.rand(2, 1, 40, 40, generator=generator)
    height = torch.linspace(-0.3, 0.3, 40).expand(40, 40)
    image = scan[0] + height * through_plane[0]
    with_it, without = (AuxiliaryScanPrior(Unchanged(), scan, part) for part in (through_plane, None))
    assert error(with_it, image) < 0.35 * error(without, image)


@pytest.mark.parametrize("region", [(slice(0, 30), slice(9, 40)), (slice(12, 48), slice(20, 52)), WHOLE_IMAGE])
def test_a_region_is_fitted_as_in_the_whole_image(region):
    auxiliary, image = torch.rand(2, 48, 52, generator=seeded(0)), torch.rand(48, 52, generator=seeded(1))
    regression = LocalRegression(auxiliary, radius=2, ridge=0.01)
    whole, part = regression.fit(image)[region], regression.fit(image[region], region)
    # Where the image goes on beyond the cut, pixels within two windows of the cut differ.
    near = [
        slice(4 * bool(cut.start), None if cut.stop in (None, length) else -4)
        for cut, length in zip(region, image.shape, strict=True)
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
def test_noise_that_the_auxiliary_scan_does_not_have_is_removed_and_edges_stay(phase):
    image, level = steps(), 0.05
    noisy = image + level * torch.randn(image.shape, generator=seeded())
    if phase:
        noisy = torch.polar(noisy.abs(), torch.full_like(image, phase))
        image = image.clamp_min(0)
    clean = AuxiliaryScanPrior(Unchanged(), 2 * steps().unsqueeze(0) + 0.1).denoise(noisy, level)
    tissue = torch.zeros(40, 40, dtype=torch.bool)
    tissue[9:31, 9:31] = True
    before, after = ((value.abs() - image)[tissue].square().mean().sqrt() for value in (noisy, clean))
    assert after < 0.7 * before


def test_what_the_auxiliary_scan_does_not_have_stays_when_little_error_is_left():
    image = steps()
    lesion = torch.zeros(40, 40, dtype=torch.bool)
    lesion[24:28, 15:20] = True
    changed = torch.where(lesion, 0.95, image)
    prior = AuxiliaryScanPrior(Unchanged(), image.unsqueeze(0))
    kept = prior.denoise(changed, 0.005)
    assert (kept - changed)[lesion].abs().max() < 0.02
    weight = prior.agreement(changed, 0.005)
    assert weight[lesion].mean() < 0.05
    assert weight[9:13, 9:31].mean() > 0.9


def test_what_only_the_auxiliary_scan_has_is_not_copied():
    image, scan = steps(), steps()
    scan[24:28, 15:20] = 0.95
    kept = AuxiliaryScanPrior(Unchanged(), scan.unsqueeze(0)).denoise(image, 0.02)
    assert (kept - image).abs().max() < 0.03


def test_precision_reaches_the_prior_inside():
    prior = AuxiliaryScanPrior(Unchanged(), steps().unsqueeze(0)).in_precision(torch.bfloat16)
    assert prior.prior.precision is torch.bfloat16
    assert prior.auxiliary.dtype is torch.float32


def test_misfits_are_refused():
    with pytest.raises(ShapeError, match=r"real images .*complex64"):
        AuxiliaryScanPrior(Unchanged(), torch.zeros(1, 4, 4, dtype=torch.complex64))
    with pytest.raises(ShapeError, match=r"\(40, 40\) pixels .* \(8, 8\)"):
        AuxiliaryScanPrior(Unchanged(), steps().unsqueeze(0)).denoise(torch.zeros(8, 8), 0.1)
    with pytest.raises(ShapeError, match=r"\(1, 40, 40\); got \(2, 40, 40\)"):
        AuxiliaryScanPrior(Unchanged(), steps().unsqueeze(0), steps().expand(2, -1, -1))
    with pytest.raises(ConfigError, match="trust and cap above 0"):
        AuxiliaryScanPrior(Unchanged(), steps().unsqueeze(0), trust=0.0)
