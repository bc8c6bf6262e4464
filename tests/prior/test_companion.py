import pytest
import torch

from medinr.errors import ConfigError, ShapeError
from medinr.prior.companion import CompanionPrior, explain_by


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
    explained = explain_by(slope * image + offset, image, 4, 1e-4)
    torch.testing.assert_close(explained, image, atol=2e-4, rtol=0)


def test_a_window_without_structure_gives_the_mean():
    """The guided filter of a constant is a mean of means; inside, of a ramp, the ramp."""
    ramp = torch.arange(30.0).expand(30, 30) / 30
    explained = explain_by(torch.ones(30, 30), ramp, 3, 0.01)
    torch.testing.assert_close(explained[8:22, 8:22], ramp[8:22, 8:22], atol=1e-5, rtol=0)


@pytest.mark.parametrize("phase", [0.0, 1.2])
def test_noise_that_the_companion_does_not_have_is_taken_out_and_edges_stay(phase):
    image, level = steps(), 0.05
    noisy = image + level * torch.randn(image.shape, generator=seeded())
    if phase:
        noisy = torch.polar(noisy.abs(), torch.full_like(image, phase))
        image = image.clamp_min(0)
    clean = CompanionPrior(Unchanged(), 2 * steps() + 0.1).denoise(noisy, level)
    tissue = torch.zeros(40, 40, dtype=torch.bool)
    tissue[9:31, 9:31] = True
    before, after = ((value.abs() - image)[tissue].square().mean().sqrt() for value in (noisy, clean))
    assert after < 0.7 * before


def test_what_the_companion_does_not_know_stays_when_little_error_is_left():
    image = steps()
    lesion = torch.zeros(40, 40, dtype=torch.bool)
    lesion[24:28, 15:20] = True
    changed = torch.where(lesion, 0.95, image)
    prior = CompanionPrior(Unchanged(), image)
    kept = prior.denoise(changed, 0.005)
    assert (kept - changed)[lesion].abs().max() < 0.02
    weight = prior.trusted(changed, 0.005)
    assert weight[lesion].mean() < 0.05
    assert weight[9:13, 9:31].mean() > 0.9


def test_what_only_the_companion_has_is_not_copied():
    image, companion = steps(), steps()
    companion[24:28, 15:20] = 0.95
    kept = CompanionPrior(Unchanged(), companion).denoise(image, 0.02)
    assert (kept - image).abs().max() < 0.03


def test_precision_reaches_the_prior_inside():
    prior = CompanionPrior(Unchanged(), steps()).in_precision(torch.bfloat16)
    assert prior.prior.precision is torch.bfloat16
    assert prior.companion.dtype is torch.float32


def test_misfits_are_refused():
    with pytest.raises(ShapeError, match=r"real image .*complex64"):
        CompanionPrior(Unchanged(), torch.zeros(4, 4, dtype=torch.complex64))
    with pytest.raises(ShapeError, match=r"\(40, 40\) pixels .* \(8, 8\)"):
        CompanionPrior(Unchanged(), steps()).denoise(torch.zeros(8, 8), 0.1)
    with pytest.raises(ConfigError, match="trust and most above 0"):
        CompanionPrior(Unchanged(), steps(), trust=0.0)
