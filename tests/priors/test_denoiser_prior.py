"""The denoiser, its training on Gaussian and Rician noise, and the prior for images of any grid."""

import math

import pytest
import torch
from torch.nn import functional

from medinr.errors import ConfigError, ShapeError
from medinr.optimise import OptimiserSettings
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.priors.denoiser_prior import PHASE_WINDOW, DenoiserPrior, smooth_phasor
from medinr.priors.training import train_on_magnitudes, train_prior, with_random_contrast
from medinr.priors.training_settings import PriorSettings

SMALL = PriorSettings(
    steps=12, magnitude_steps=12, batch=4, patch=16, checkpoint_every=4, architecture=DenoiserSettings(8, 3)
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def discs(count: int, size: int = 40) -> list[torch.Tensor]:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return [((y - 18) ** 2 + (x - 15 - i) ** 2 < (8 + i) ** 2).float() for i in range(count)]


def test_denoiser_scales_with_image_and_noise() -> None:
    denoiser = LocalDenoiser(DenoiserSettings(8, 3), seeded())
    image, level = torch.randn(2, 12, 15, generator=seeded(1)), torch.tensor([0.1, 0.3])
    torch.testing.assert_close(denoiser(7 * image, 7 * level), 7 * denoiser(image, level))


def test_a_pixel_affects_no_more_than_the_receptive_field() -> None:
    denoiser = LocalDenoiser(DenoiserSettings(8, 3), seeded())
    image = torch.randn(1, 21, 21, generator=seeded(1))
    changed = image.clone()
    changed[0, 10, 10] += 5.0
    difference = (denoiser(changed, torch.tensor([0.1])) - denoiser(image, torch.tensor([0.1])))[0].abs() > 0
    rows, columns = torch.nonzero(difference, as_tuple=True)
    assert rows.min() == 7
    assert rows.max() == 13
    assert columns.min() == 7
    assert columns.max() == 13


def livelier(denoiser: LocalDenoiser) -> LocalDenoiser:
    """Scale the last layer, because an untrained denoiser is nearly the identity."""
    with torch.no_grad():
        denoiser.convolutions[-1].weight.mul_(50)
    return denoiser


@pytest.mark.parametrize("shape", [(1, 12, 15), (3, 9, 31), (2, 1, 5), (1, 2, 2), (4, 1, 1)])
@pytest.mark.parametrize("settings", [DenoiserSettings(8, 3), DenoiserSettings(32, 8), DenoiserSettings(4, 1)])
def test_inference_is_the_forward_pass_up_to_the_edge(shape: tuple[int, ...], settings: DenoiserSettings) -> None:
    denoiser = livelier(LocalDenoiser(settings, seeded())).double()
    images = torch.randn(shape, generator=seeded(1), dtype=torch.float64)
    levels = torch.linspace(0.1, 0.4, shape[0], dtype=torch.float64)
    wanted = denoiser(images, levels).detach()
    assert (wanted - images).abs().max() > 0.01
    torch.testing.assert_close(denoiser.infer(images, levels, torch.float64), wanted, rtol=1e-12, atol=1e-12)
    found = denoiser.float().infer(images.float(), levels.float())
    torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=1e-5)


def test_a_batch_is_denoised_as_its_images_are() -> None:
    denoiser = livelier(LocalDenoiser(DenoiserSettings(8, 3), seeded()))
    images, levels = torch.randn(3, 12, 15, generator=seeded(1)), torch.tensor([0.1, 0.2, 0.3])
    singly = [denoiser.infer(image[None], level[None])[0] for image, level in zip(images, levels, strict=True)]
    assert torch.equal(denoiser.infer(images, levels), torch.stack(singly))


def test_inference_changes_neither_image_nor_weights_nor_gradients() -> None:
    denoiser = LocalDenoiser(DenoiserSettings(8, 3), seeded())
    images = torch.randn(2, 12, 15, generator=seeded(1)).requires_grad_()
    before, weights = images.detach().clone(), [w.detach().clone() for w in denoiser.parameters()]
    assert not denoiser.infer(images, torch.tensor([0.1, 0.2]), torch.bfloat16).requires_grad
    assert torch.equal(images.detach(), before)
    for weight, was in zip(denoiser.parameters(), weights, strict=True):
        assert torch.equal(weight, was)
        assert weight.dtype == torch.float32
        assert weight.grad is None


def test_lower_precision_affects_only_what_is_removed() -> None:
    denoiser = livelier(LocalDenoiser(DenoiserSettings(16, 5), seeded()))
    images, levels = torch.rand(2, 24, 17, generator=seeded(1)), torch.tensor([0.1, 0.2])
    exact, coarse = (denoiser.infer(images, levels, kind) for kind in (torch.float32, torch.bfloat16))
    assert coarse.dtype == torch.float32
    assert 0 < (coarse - exact).norm() < 0.01 * (exact - images).norm()
    fine = DenoiserPrior(denoiser).denoise(images[0], 0.1)
    torch.testing.assert_close(DenoiserPrior(denoiser, torch.bfloat16).denoise(images[0], 0.1), fine, rtol=0, atol=0.02)


@pytest.mark.parametrize("shape", [(20, 33), (3, 12), (1, 1)])
def test_phase_is_that_of_two_window_means(shape: tuple[int, int]) -> None:
    image = torch.randn(shape, generator=seeded(), dtype=torch.complex64)
    parts = torch.view_as_real(image).movedim(-1, 0)
    for _ in range(2):
        parts = functional.avg_pool2d(parts, PHASE_WINDOW, 1, PHASE_WINDOW // 2, count_include_pad=False)
    mean = torch.complex(parts[0], parts[1])
    torch.testing.assert_close(smooth_phasor(image), mean / mean.abs(), rtol=1e-4, atol=1e-4)


def test_an_orientation_of_the_denoiser_equals_one_of_the_image() -> None:
    prior = DenoiserPrior(LocalDenoiser(DenoiserSettings(8, 3), seeded()))
    image = torch.randn(12, 15, generator=seeded(1))
    for orientation in range(8):
        reoriented = torch.rot90(image, orientation % 4)
        reoriented = reoriented.flip(1) if orientation >= 4 else reoriented
        expected = prior.denoise(reoriented, 0.1)
        expected = torch.rot90(expected.flip(1) if orientation >= 4 else expected, -(orientation % 4))
        torch.testing.assert_close(prior.denoise(image, 0.1, orientation=orientation), expected)


def test_a_global_phase_passes_through_the_prior() -> None:
    prior = DenoiserPrior(LocalDenoiser(DenoiserSettings(8, 3), seeded()))
    magnitude = torch.rand(16, 13, generator=seeded(1)) + 0.5
    image = magnitude * torch.exp(torch.tensor(0.7j))
    without = torch.complex(magnitude, torch.zeros_like(magnitude))
    torch.testing.assert_close(prior.denoise(image, 0.1), prior.denoise(without, 0.1) * torch.exp(torch.tensor(0.7j)))
    torch.testing.assert_close(smooth_phasor(image), torch.full((16, 13), torch.exp(torch.tensor(0.7j)).item()))


def test_training_removes_noise_from_unseen_discs() -> None:
    settings = PriorSettings(steps=400, batch=8, patch=24, architecture=DenoiserSettings(8, 4))
    prior = DenoiserPrior(train_prior(discs(3), settings))
    clean = discs(5)[4]
    noisy = clean + 0.2 * torch.randn(clean.shape, generator=seeded(3))
    left = (prior.denoise(noisy, 0.2) - clean).square().mean() / (noisy - clean).square().mean()
    assert left < 0.3


def test_on_magnitudes_it_learns_to_remove_the_bias_of_air() -> None:
    settings = PriorSettings(steps=200, magnitude_steps=200, batch=8, patch=24, architecture=DenoiserSettings(8, 4))
    plain = train_prior(discs(3), settings)
    before = [weight.detach().clone() for weight in plain.parameters()]
    prior = DenoiserPrior(plain, magnitude_denoiser=train_on_magnitudes(plain, discs(3), settings))
    for weight, was in zip(plain.parameters(), before, strict=True):
        assert torch.equal(weight, was)
    clean, draw = discs(5)[4], seeded(3)
    noisy = torch.hypot(*(part + 0.2 * torch.randn(clean.shape, generator=draw) for part in (clean, 0 * clean)))
    assert noisy[clean == 0].mean() == pytest.approx(0.2 * (torch.pi / 2) ** 0.5, rel=0.05)
    rician, gaussian = (one.denoise(noisy, 0.2) for one in (prior.for_magnitudes(), prior))
    assert rician[clean == 0].mean().abs() < 0.25 * gaussian[clean == 0].mean()
    assert (rician - clean).square().mean() < 0.5 * (gaussian - clean).square().mean()
    assert prior.for_magnitudes().for_magnitudes() is None


def test_muon_moves_every_inner_kernel_along_all_directions_alike() -> None:
    settings = PriorSettings(
        steps=1,
        batch=4,
        patch=16,
        optimiser=OptimiserSettings(muon_rate=0.5, adam_rate=0.001),
        architecture=DenoiserSettings(8, 4),
    )
    before, after = LocalDenoiser(settings.architecture, seeded()), train_prior(discs(2), settings)
    for one, other in zip(before.inner_kernels(), after.inner_kernels(), strict=True):
        singular = torch.linalg.svdvals((other - one).detach().flatten(1) / 0.5)
        assert 0.6 < singular.median() < singular.max() < 1.3
    for one, other in zip(before.outer_kernels(), after.outer_kernels(), strict=True):
        assert 0 < (other - one).abs().max() <= 0.00101


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_outer_and_inner_kernels_are_all(layers: int) -> None:
    denoiser = LocalDenoiser(DenoiserSettings(8, layers), seeded())
    found = denoiser.outer_kernels() + denoiser.inner_kernels()
    assert {id(kernel) for kernel in found} == {id(kernel) for kernel in denoiser.parameters()}
    assert len(found) == layers


def test_contrast_changes_half_of_the_patches_and_keeps_the_order_of_grey_values() -> None:
    grey = torch.linspace(-0.1, 1.5, 64).reshape(1, 8, 8).expand(200, 8, 8)
    changed = with_random_contrast(grey, 0.5, seeded())
    same = (changed == grey).all(dim=(1, 2))
    assert 70 < same.sum() < 130
    others = changed[~same].flatten(1)
    assert (others.diff(dim=1) >= 0).all()
    # The power, from what became of 1.5.
    powers = others[:, -1].log() / math.log(1.5)
    assert 0.6 < powers.min() < 0.7 < 1.5 < powers.max() < 1.65
    assert with_random_contrast(grey, 0.0, seeded()) is grey


def test_patches_larger_than_every_slice_are_refused() -> None:
    with pytest.raises(ShapeError, match="patch of 64"):
        train_prior(discs(1), PriorSettings(patch=64))


@pytest.mark.parametrize("steps", [{"steps": -1}, {"magnitude_steps": -1}])
def test_steps_cannot_be_negative(steps: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="cannot be negative"):
        PriorSettings(**steps)


def test_contrast_cannot_be_negative() -> None:
    with pytest.raises(ConfigError, match="contrast of 0 or more"):
        PriorSettings(contrast=-0.1)


def test_levels_must_rise() -> None:
    with pytest.raises(ConfigError, match="lowest < highest"):
        PriorSettings(lowest=0.3, highest=0.1)


def test_a_level_of_the_image_is_one_at_every_pixel():
    generator = torch.Generator().manual_seed(1)
    small = LocalDenoiser(DenoiserSettings(4, 3), generator)
    images, levels = torch.rand(2, 12, 9, generator=generator), torch.tensor([0.1, 0.3])
    expected = small.infer(images, levels)
    torch.testing.assert_close(small.infer(images, levels[:, None, None].expand(2, 12, 9)), expected)
    steeper = levels[:, None, None] * torch.linspace(1, 2, 9).expand(2, 12, 9)
    assert not torch.allclose(small.infer(images, steeper), expected)
