"""The denoiser for scans as they were acquired: its map and its training."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from medinr.errors import CheckpointError, ConfigError, ShapeError
from medinr.optimise import OptimiserSettings
from medinr.priors.dead_leaves import BRIGHTEST, dead_leaves
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.priors.scan_denoiser import NOISE_MAPS, SLICES, ScanDenoiser, ScanDenoiserSettings
from medinr.priors.scan_training import ScanDenoiserTraining, train_scan_denoiser
from medinr.priors.training_loop import TrainingRun

TINY = ScanDenoiserSettings(6, 3, 5, 3, 2, 4)
SMALL = DenoiserSettings(6, 3)
SHORT = ScanDenoiserTraining(steps=6, batch=4, patch=16, checkpoint_every=2, architecture=TINY)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lively() -> ScanDenoiser:
    """An untrained denoiser that is far from the identity."""
    denoiser = ScanDenoiser(TINY, seeded())
    with torch.no_grad():
        denoiser.fine[-1].weight.mul_(30)
    return denoiser


def given(y: int = 12, x: int = 15) -> tuple[Tensor, Tensor]:
    return torch.rand(2, SLICES, y, x, generator=seeded(1)), 0.1 * torch.rand(2, NOISE_MAPS, y, x, generator=seeded(2))


@pytest.mark.parametrize("shape", [(12, 16), (13, 15), (5, 4)])
def test_it_scales_with_slices_and_noise_on_any_grid(shape):
    denoiser, (slices, noise) = lively(), given(*shape)
    found = denoiser.infer(slices, noise)
    assert found.shape == (2, *shape)
    assert (found - slices[:, 1]).abs().max() > 0.01
    torch.testing.assert_close(denoiser.infer(7 * slices, 7 * noise), 7 * found, rtol=1e-4, atol=1e-5)


def test_untrained_it_is_nearly_the_identity():
    slices, noise = given()
    found = ScanDenoiser(TINY, seeded()).infer(slices, noise)
    assert (found - slices[:, 1]).abs().max() < 0.2


def test_other_numbers_of_slices_and_maps_are_refused():
    slices, noise = given()
    with pytest.raises(ShapeError, match="3 slices and 4 maps"):
        lively()(slices[:, :2], noise)


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"layers": 1}, {"coarse_layers": 1}, {"coarser": 0}])
def test_impossible_architectures_are_refused(wrong):
    with pytest.raises(ConfigError, match="scan denoiser wants two"):
        replace(TINY, **wrong)


def test_at_first_it_is_nearly_the_denoiser_that_it_starts_from():
    small = LocalDenoiser(SMALL, seeded(7))
    with torch.no_grad():
        small.convolutions[-1].weight.mul_(30)
    image, level = torch.rand(2, 12, 16, generator=seeded(1)), torch.tensor([0.1, 0.2])
    alone = image[:, None].expand(-1, SLICES, -1, -1)
    sigma = level[:, None, None, None].expand(-1, 1, 12, 16)
    white = torch.cat([sigma, 0 * sigma, sigma, sigma], dim=1)
    found = ScanDenoiser.starting_from(small, TINY, seeded()).infer(alone, white)
    wanted = small(image, level)
    moved = (wanted - image).abs().mean()
    assert (found - wanted).abs().mean() < 0.3 * moved


def test_it_starts_from_a_denoiser_of_its_own_size_only():
    with pytest.raises(ConfigError, match="Make them equal"):
        ScanDenoiser.starting_from(LocalDenoiser(DenoiserSettings(5, 3)), TINY, seeded())


def test_every_kernel_is_trained_once():
    denoiser = lively()
    kernels = [*denoiser.inner_kernels(), *denoiser.outer_kernels()]
    assert len({id(kernel) for kernel in kernels}) == len(kernels) == len(list(denoiser.parameters()))


def test_dead_leaves_are_flat_regions_that_move_from_slice_to_slice():
    image = dead_leaves(40, 3, seeded(3))
    assert image.shape == (3, 40, 40)
    assert 0 <= image.min() < image.max() <= BRIGHTEST
    flat = (image[:, 1:] == image[:, :-1]).float().mean()
    assert flat > 0.3
    assert 0 < (image[0] - image[2]).abs().mean() < 0.2


def _train(settings: ScanDenoiserTraining, run: TrainingRun | None = None, modality: str = "MR") -> ScanDenoiser:
    volumes = [torch.rand(5, 20, 24, generator=seeded(4)).half(), torch.rand(1, 40, 30, generator=seeded(5)).half()]
    return train_scan_denoiser(LocalDenoiser(SMALL, seeded(6)), volumes, modality, settings, run)


def test_training_learns_to_remove_noise():
    gains = []
    quick = OptimiserSettings(muon_rate=0.05, adam_rate=0.01)
    settings = replace(SHORT, steps=80, synthetic=1.0, lowest=0.2, highest=0.3, optimiser=quick)
    _train(settings, TrainingRun(progress=lambda step, gain: gains.append(gain)), "CT")
    assert sum(gains[-10:]) / 10 > 4.0


def test_a_stopped_training_ends_as_an_uninterrupted_one(tmp_path):
    whole, file = _train(SHORT), tmp_path / "unfinished"

    def stop(step: int, gain: float) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(SHORT, TrainingRun(file, "this", stop))
    steps = []
    again = _train(SHORT, TrainingRun(file, "this", lambda step, gain: steps.append(step)))
    # The step at which it was stopped comes before its checkpoint.
    assert steps == [3, 4, 5, 6]
    assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), again.parameters(), strict=True))
    with pytest.raises(CheckpointError):
        _train(SHORT, TrainingRun(file, "another"))


def test_patches_larger_than_every_slice_are_refused():
    with pytest.raises(ShapeError, match="smaller patch"):
        _train(replace(SHORT, patch=64))


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"patch": 0}, {"lowest": 0.4}, {"synthetic": 1.5}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="scan denoiser wants"):
        replace(SHORT, **wrong)
