"""What all trainings have in common: shares of a step, checkpoints, a denoiser to start from that stays as it is."""

import pytest
import torch
from torch import Tensor

from medinr.errors import CheckpointError
from medinr.prior.denoiser import DenoiserSettings, LocalDenoiser
from medinr.prior.listener import Exam, train_listener
from medinr.prior.loop import SHARES, Following, Patches
from medinr.prior.settings import PriorSettings
from medinr.prior.train import train_on_magnitudes, train_prior

SMALL = PriorSettings(
    steps=12,
    magnitude_steps=12,
    listener_steps=12,
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


def magnitudes(*following: Following, begin: LocalDenoiser | None = None) -> LocalDenoiser:
    return train_on_magnitudes(begin or start(), discs(), SMALL, *following)


def listener(*following: Following, begin: LocalDenoiser | None = None) -> LocalDenoiser:
    exams = [Exam(disc, 0.8 * disc.unsqueeze(0), torch.zeros(1, *disc.shape)) for disc in discs()]
    return train_listener(begin or start(), exams, SMALL, *following)


@pytest.fixture(params=[lambda *following: train_prior(discs(), SMALL, *following), magnitudes, listener])
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
        training(Following(path, "a", stop))
    steps = []
    again = training(Following(path, "a", lambda step, gain: steps.append(step)))
    assert steps == list(range(5, 13))
    assert same(training(), again)
    with pytest.raises(CheckpointError, match="other settings or other scans"):
        training(Following(path, "b"))


@pytest.mark.parametrize("further", [magnitudes, listener])
def test_the_denoiser_that_a_copy_starts_from_stays_as_it_is(further):
    begin = start()
    further(begin=begin)
    assert same(begin, start())


def test_what_is_learned_does_not_depend_on_the_number_of_threads(training):
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(training())
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        # To the bit, but for the hints, whose matrix products may be cut up among threads.
        for one, two in zip(found[0].parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-5 if training is listener else 0)


@pytest.mark.parametrize("count", [1, SHARES, 11])
@pytest.mark.parametrize("hints", [None, 2])
def test_shares_are_all_patches_in_their_order(count, hints):
    heard = None if hints is None else torch.randn(count, hints, 3, 5, generator=seeded(1))
    clean, noisy = torch.randn(2, count, 3, 5, generator=seeded(2))
    patches = Patches(clean, noisy, torch.arange(float(count)), heard)
    shares = patches.shares()
    sizes = [len(share.clean) for share in shares]
    assert len(shares) == min(SHARES, count)
    assert max(sizes) - min(sizes) <= 1
    for part in ("clean", "noisy", "level", "hints")[: 3 if hints is None else 4]:
        assert torch.equal(torch.cat([getattr(share, part) for share in shares]), getattr(patches, part))
