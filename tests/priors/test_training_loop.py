"""What all trainings of denoisers share: shares of a step, checkpoints, and an initial denoiser that is not changed."""

import pytest
import torch
from torch import Tensor

from medinr.errors import CheckpointError
from medinr.priors.auxiliary_training import FollowUp, train_auxiliary_denoiser
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.priors.training import train_on_magnitudes, train_prior
from medinr.priors.training_loop import SHARES, Patches, TrainingRun
from medinr.priors.training_settings import PriorSettings

SMALL = PriorSettings(
    steps=12,
    magnitude_steps=12,
    auxiliary_steps=12,
    batch=6,
    patch=16,
    checkpoint_every=4,
    contrast=0.5,
    architecture=DenoiserSettings(8, 3),
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def discs(count: int = 2, size: int = 40) -> list[Tensor]:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return [((y - 18) ** 2 + (x - 15 - i) ** 2 < (8 + i) ** 2).float() for i in range(count)]


def start() -> LocalDenoiser:
    return LocalDenoiser(SMALL.architecture, seeded())


def magnitudes(*run: TrainingRun, model: LocalDenoiser | None = None) -> LocalDenoiser:
    return train_on_magnitudes(model or start(), discs(), SMALL, *run)


def auxiliary_denoiser(*run: TrainingRun, model: LocalDenoiser | None = None) -> LocalDenoiser:
    follow_ups = [FollowUp(disc, 0.8 * disc.unsqueeze(0), torch.zeros(1, *disc.shape)) for disc in discs()]
    return train_auxiliary_denoiser(model or start(), follow_ups, SMALL, *run)


@pytest.fixture(params=[lambda *run: train_prior(discs(), SMALL, *run), magnitudes, auxiliary_denoiser])
def training(request):
    return request.param


def same(one: LocalDenoiser, other: LocalDenoiser) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_interrupted_training_ends_as_an_uninterrupted_one(training, tmp_path):
    class StoppedError(Exception):
        pass

    def stop(step: int, gain: float) -> None:
        if step == 7:
            raise StoppedError

    path = tmp_path / "prior.checkpoint"
    with pytest.raises(StoppedError):
        training(TrainingRun(path, "a", stop))
    steps = []
    again = training(TrainingRun(path, "a", lambda step, gain: steps.append(step)))
    assert steps == list(range(5, 13))
    assert same(training(), again)
    with pytest.raises(CheckpointError, match="other settings or other scans"):
        training(TrainingRun(path, "b"))


@pytest.mark.parametrize("further", [magnitudes, auxiliary_denoiser])
def test_the_denoiser_that_a_copy_is_made_from_is_not_changed(further):
    model = start()
    further(model=model)
    assert same(model, start())


def test_the_result_does_not_depend_on_the_number_of_threads(training):
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(training())
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        # To the bit, except with auxiliary channels, whose matrix products may be divided among threads.
        for one, two in zip(found[0].parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-5 if training is auxiliary_denoiser else 0)


@pytest.mark.parametrize("count", [1, SHARES, 11])
@pytest.mark.parametrize("auxiliary_channels", [None, 2])
def test_shares_are_all_patches_in_their_order(count, auxiliary_channels):
    channels = None if auxiliary_channels is None else torch.randn(count, auxiliary_channels, 3, 5, generator=seeded(1))
    clean, noisy = torch.randn(2, count, 3, 5, generator=seeded(2))
    patches = Patches(clean, noisy, torch.arange(float(count)), channels)
    shares = patches.shares()
    sizes = [len(share.clean) for share in shares]
    assert len(shares) == min(SHARES, count)
    assert max(sizes) - min(sizes) <= 1
    for part in ("clean", "noisy", "level", "auxiliary_channels")[: 3 if auxiliary_channels is None else 4]:
        assert torch.equal(torch.cat([getattr(share, part) for share in shares]), getattr(patches, part))
