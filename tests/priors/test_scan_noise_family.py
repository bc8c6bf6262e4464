"""Noise as it is drawn for training: what the denoiser is told is what is there."""

import pytest
import torch
from torch import Tensor

from medinr.noise.scan_noise import ScanNoise
from medinr.priors.scan_noise_family import COILS, NoisySlices, draw_noise
from medinr.units import noise_floor

COUNT, SIZE = 120, 40


def drawn(modality: str, value: float = 1.0, level: float = 0.05, alike: bool = False) -> tuple[Tensor, NoisySlices]:
    clean = torch.full((COUNT, 3, SIZE, SIZE), value)
    same = torch.full((COUNT,), alike)
    return clean, draw_noise(clean, same, modality, level, 1.0001 * level, torch.Generator().manual_seed(0))


def test_gaussian_noise_of_ct_has_the_level_and_the_remaining_noise_that_is_told():
    clean, noisy = drawn("CT")
    white = (noisy.slices - clean) / noisy.maps[:, :1]
    assert float(white.std()) == pytest.approx(1.0, abs=0.01)
    for channel, width in ((2, 3), (3, 7)):
        means = torch.nn.functional.avg_pool2d(white, width, 1)
        told = (noisy.maps[:, channel] / noisy.maps[:, 0])[:, 0, 0]
        measured = width * means.square().mean(dim=(1, 2, 3)).sqrt()
        # Each patch holds few independent means.
        assert float((measured / told).mean()) == pytest.approx(1.0, abs=0.03)
    assert bool((noisy.maps[:, 1] == 0).all())


def test_patches_of_ct_are_white_or_correlated_and_some_vary():
    _, noisy = drawn("CT")
    ratio = noisy.maps[:, 2, 0, 0] / noisy.maps[:, 0, 0, 0]
    alone = (ratio - 1.0).abs() < 1e-5
    assert 0.15 < alone.float().mean() < 0.45
    assert float(ratio.max()) > 1.4
    uneven = noisy.maps[:, 0].flatten(1).std(dim=1) > 1e-4
    assert 0.25 < uneven.float().mean() < 0.55


def test_magnitudes_have_the_second_moment_of_their_coils():
    """E[m^2] = A^2 + 2 n sigma^2 (Constantinides et al. 1997)."""
    clean, noisy = drawn("MR", level=0.1)
    floors = torch.tensor([noise_floor(n) for n in range(COILS + 1)])
    told = (noisy.maps[:, 1] / noisy.maps[:, 0])[:, 0, 0]
    coils = (told[:, None] - floors).abs().argmin(dim=1)
    assert set(coils.tolist()) > {0, 1}
    assert int(coils.max()) > 4
    extra = ((noisy.slices.square() - clean.square()) / noisy.maps[:, :1].square()).mean(dim=(1, 2, 3))
    for number in coils.unique():
        few = coils == number
        wanted = 1.0 if int(number) == 0 else 2.0 * float(number)
        # 2 A n_1 / sigma has the larger part of the scatter, and correlated patches hold less independent numbers.
        assert float(extra[few].mean()) == pytest.approx(wanted, abs=2.0 / float(few.sum()) ** 0.5)
    assert float(noisy.slices[coils > 0].min()) >= 0


def test_some_backgrounds_are_set_to_zero():
    _, noisy = drawn("MR", value=0.0)
    zero = (noisy.slices == 0).flatten(1).all(dim=1)
    assert 0.05 < zero.float().mean() < 0.3


def test_slices_that_are_alike_have_the_same_noise():
    _, noisy = drawn("MR", alike=True)
    assert torch.equal(noisy.slices[:, 0], noisy.slices[:, 1])
    assert torch.equal(noisy.slices[:, 2], noisy.slices[:, 1])


@pytest.mark.parametrize(("coils", "kind", "wanted"), [(1, "rician", 1.25331), (8, "chi", 3.93801)])
def test_the_floor_is_that_of_the_estimate(coils, kind, wanted):
    assert noise_floor(coils) == pytest.approx(wanted, abs=1e-4)
    assert noise_floor(coils) == pytest.approx(ScanNoise(kind, 1.0, coils).floor)
