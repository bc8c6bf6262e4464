"""Scans as they were acquired, denoised: what the denoiser is told, and where its image goes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medinr.errors import ConfigError
from medinr.noise.scan_noise import ScanNoise
from medinr.operators.noise.magnitude import NonCentralChi
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.solve.denoise_scan import denoise_scan
from medinr.volume import Volume

#: Noise that the small denoiser does not know, so that the one for scans works alone.
CORRELATED = ScanNoise("gaussian", 0.1, autocorrelation=np.array([[0.0, 0.0, 0.0], [0.5, 1.0, 0.5], [0.0, 0.0, 0.0]]))


class Watching(nn.Module):
    """Stands for a trained denoiser: takes off a share of the difference from the mean of the three slices."""

    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        self.share, self.seen = share, []

    def infer(self, slices: Tensor, noise: Tensor) -> Tensor:
        self.seen.append((slices.clone(), noise.clone()))
        return slices[:, 1] + self.share * (slices.mean(dim=1) - slices[:, 1])


class Small(nn.Module):
    """Stands for a small denoiser: leaves a share, and sees the noise."""

    def __init__(self, share: float = 1.0) -> None:
        super().__init__()
        self.share, self.seen = share, []

    def infer(self, images: Tensor, noise: Tensor) -> Tensor:
        self.seen.append(noise.clone())
        return self.share * images


def prior(denoiser: nn.Module | None, small: nn.Module | None = None):
    small = LocalDenoiser(DenoiserSettings(2, 2)) if small is None else small
    return DenoiserPrior(small, scan_denoiser=denoiser)


def correlated(by: float):
    """Autocorrelation of pixels that are alike along x."""
    return np.array([[0.0, 0.0, 0.0], [by, 1.0, by], [0.0, 0.0, 0.0]])


def scan(values, modality: str = "MR", unit: str = "a.u.") -> Volume:
    return Volume(np.asarray(values), np.diag([0.9, 0.9, 3.0, 1.0]), modality, unit)


def levels(*values: float, y: int = 6, x: int = 7):
    return np.stack([np.full((y, x), value, np.float32) for value in values])


def test_each_slice_is_given_its_neighbours_and_the_one_there_is_at_the_ends():
    found = denoise_scan(scan(levels(1, 2, 6)), CORRELATED, prior(Watching()))
    np.testing.assert_allclose(found[:, 0, 0], [(2 + 1 + 2) / 3, 3, (2 + 6 + 2) / 3], rtol=1e-6)


def test_a_single_slice_is_its_own_neighbour():
    watching = Watching()
    found = denoise_scan(scan(levels(3)), CORRELATED, prior(watching))
    np.testing.assert_allclose(found, levels(3), rtol=1e-6)
    assert torch.equal(watching.seen[0][0][0, 0], watching.seen[0][0][0, 1])


def test_all_orientations_give_their_image_back_in_place():
    values = np.random.default_rng(0).random((2, 6, 9), np.float32)
    watching = Watching(0.0)
    np.testing.assert_allclose(denoise_scan(scan(values), CORRELATED, prior(watching)), values, rtol=1e-6)
    assert len(watching.seen) == 2 * 8
    assert {tuple(slices.shape[2:]) for slices, _ in watching.seen} == {(6, 9), (9, 6)}


def test_the_denoiser_is_told_level_floor_and_correlation():
    table = np.zeros((3, 3))
    table[1, 1], table[1, 0], table[1, 2] = 1.0, 0.5, 0.5
    sigma_map = np.linspace(0.1, 0.2, 42, dtype=np.float32).reshape(1, 6, 7)
    noise = ScanNoise("rician", 0.15, sigma_map=sigma_map, autocorrelation=table)
    watching = Watching()
    denoise_scan(scan(levels(1)), noise, prior(watching), orientations=1)
    maps = watching.seen[0][1][0].numpy()
    np.testing.assert_allclose(maps[0], sigma_map[0])
    np.testing.assert_allclose(maps[1], np.sqrt(np.pi / 2) * sigma_map[0], rtol=1e-6)
    # Mean of 3 x 3 pixels, each correlated by 1/2 with those left and right: variance (3 + 2 * 2 / 2) * 3 / 81.
    np.testing.assert_allclose(maps[2], 3 * np.sqrt(15 / 81) * sigma_map[0], rtol=1e-6)


def test_hounsfield_units_are_brightness_and_padding_is_the_darkest():
    values = levels(-1000, 0, -2000)
    watching = Watching(0.0)
    noise = replace(CORRELATED, sigma=20.0)
    found = denoise_scan(scan(values, "CT", "HU"), noise, prior(watching), orientations=1)
    assert sorted(float(slices[0, 1, 0, 0]) for slices, _ in watching.seen) == [0.0, 24.0, 1024.0]
    np.testing.assert_array_equal(found, values)


def test_complex_scans_lose_the_same_share_from_both_parts():
    values = levels(1, 2, 6).astype(np.complex64) * np.exp(0.7j).astype(np.complex64)
    found = denoise_scan(scan(values), CORRELATED, prior(Watching()))
    assert found.dtype == np.complex64
    np.testing.assert_allclose(found[1], 3 * np.exp(0.7j) * np.ones((6, 7)), rtol=1e-5)


def test_zero_filled_scans_are_denoised_on_the_acquired_grid_and_on_their_own():
    values = np.random.default_rng(2).random((1, 12, 15), np.float32) + 1
    watching, small = Watching(0.0), Small()
    noise = ScanNoise("gaussian", 0.1, zero_filling=(1.5, 1.5))
    found = denoise_scan(scan(values), noise, prior(watching, small), orientations=2)
    assert [tuple(slices.shape) for slices, _ in watching.seen] == [(1, 3, 8, 10), (1, 3, 12, 15)]
    # On their own grid noise is as strong as at the frequencies that it has.
    assert [float(maps.mean()) for maps in small.seen] == pytest.approx([0.1, 0.112])
    np.testing.assert_allclose(found, values, rtol=1e-5)


@pytest.mark.parametrize(("level", "kept"), [(0.04, 0.0), (1.0, 1.0)])
def test_magnitudes_keep_frequencies_that_were_not_acquired_only_where_there_is_signal(level, kept):
    beyond = (-1.0) ** np.arange(16, dtype=np.float32)
    values = np.full((1, 12, 16), level, np.float32) + 0.01 * beyond
    table = np.full((5, 5), 0.7)
    table[2, 2] = 1.0
    noise = ScanNoise("rician", 0.1, zero_filling=(1.0, 2.0), autocorrelation=table)
    found = denoise_scan(scan(values), noise, prior(Watching(0.0)), orientations=1)
    assert (found * beyond).mean() == pytest.approx(0.01 * kept, abs=1e-6)


def test_without_noise_nothing_changes_and_magnitudes_stay_positive():
    values = levels(1, -1, 1)
    np.testing.assert_array_equal(denoise_scan(scan(values), ScanNoise("rician", 0.0), prior(Watching())), values)
    assert denoise_scan(scan(levels(0, 0.1, 0) - 0.3), ScanNoise("rician", 0.1), prior(Watching())).min() >= 0


def test_independent_gaussian_noise_is_taken_off_by_both_denoisers():
    small = Small(0.5)
    sigma_map = np.linspace(0.1, 0.2, 42, dtype=np.float32).reshape(1, 6, 7)
    noise = ScanNoise("gaussian", 0.15, sigma_map=sigma_map)
    found = denoise_scan(scan(levels(4)), noise, prior(Watching(0.0), small))
    np.testing.assert_allclose(found, levels(3))
    # Each in half of the orientations; the fifth is the first one flipped.
    assert len(small.seen) == 4
    np.testing.assert_array_equal(small.seen[0].numpy(), sigma_map[..., ::-1])


@pytest.mark.parametrize(("kind", "coils"), [("rician", 1), ("chi", 4)])
def test_magnitudes_lose_their_bias_before_they_count_as_gaussian(kind, coils):
    watching, small = Watching(0.0), Small()
    found = denoise_scan(scan(levels(1)), ScanNoise(kind, 0.1, coils), prior(watching, small))
    model = NonCentralChi(0.1, coils)
    bias = float(model.mean(torch.tensor(1.0, dtype=torch.float64))) - 1
    np.testing.assert_allclose(found, levels(1 - bias), rtol=1e-5)
    scatter = np.sqrt(1 + 2 * coils * 0.1**2 - (1 + bias) ** 2)
    np.testing.assert_allclose(small.seen[0].numpy(), scatter, rtol=1e-3)
    assert (len(watching.seen), len(small.seen)) == (2, 6)


def test_magnitudes_without_signal_are_left_to_the_denoiser_for_scans():
    found = denoise_scan(scan(levels(0.04)), ScanNoise("rician", 0.1), prior(Watching(0.0), Small(0.0)))
    np.testing.assert_allclose(found, levels(0.04), rtol=1e-6)


@pytest.mark.parametrize(("by", "weight"), [(0.1, 1.0), (0.5, 1 / 3), (0.9, 0.0)])
def test_the_small_denoiser_counts_less_where_noise_is_correlated(by, weight):
    small = Small(0.5)
    noise = ScanNoise("rician", 0.001, autocorrelation=correlated(by))
    found = denoise_scan(scan(levels(1)), noise, prior(Watching(0.0), small))
    np.testing.assert_allclose(found, levels(1 - 0.5 * weight), rtol=1e-4)
    if 0 < weight < 1:
        np.testing.assert_allclose(small.seen[0].numpy(), 0.00112, rtol=1e-3)


def test_correlated_gaussian_noise_is_left_to_the_denoiser_for_scans():
    small = Small(0.0)
    found = denoise_scan(scan(levels(4)), CORRELATED, prior(Watching(0.0), small))
    np.testing.assert_array_equal(found, levels(4))
    assert not small.seen


def test_noise_that_zero_filling_correlates_is_independent_where_it_was_acquired():
    at = np.arange(-7, 8)
    table = np.outer(np.sinc(at / 1.5), np.sinc(at / 1.5))
    noise = ScanNoise("rician", 0.1, autocorrelation=table, zero_filling=(1.5, 1.5))
    watching = Watching(0.0)
    denoise_scan(scan(levels(4, y=12, x=15)), noise, prior(watching, Small()), orientations=2)
    maps = watching.seen[0][1][0].numpy()
    assert maps.shape == (4, 8, 10)
    np.testing.assert_allclose(maps[2:], 0.1, rtol=1e-6)


def test_progress_counts_all_slices():
    seen = []
    denoise_scan(scan(levels(*range(5))), CORRELATED, prior(Watching()), progress=lambda *at: seen.append(at))
    assert seen[-1] == (5, 5)


def test_a_model_without_such_a_denoiser_is_refused():
    with pytest.raises(ConfigError, match="no denoiser for scans as they were acquired"):
        denoise_scan(scan(levels(1)), CORRELATED, prior(None))


def cubic(values) -> Volume:
    return Volume(np.asarray(values), np.diag([1.0, 1.0, 1.2, 1.0]), "MR", "a.u.")


def test_cubic_voxels_are_denoised_in_planes_of_three_directions():
    values = np.random.default_rng(3).random((16, 17, 18), np.float32) + 1
    watching, seen = Watching(), []
    sigma_map = np.linspace(0.1, 0.2, values.size, dtype=np.float32).reshape(values.shape)
    tables = (CORRELATED.autocorrelation, CORRELATED.autocorrelation)
    noise = replace(CORRELATED, sigma_map=sigma_map, across=tables)
    found = denoise_scan(cubic(values), noise, prior(watching), orientations=4, progress=lambda *at: seen.append(at))
    mirrored = [np.pad(values, [(1, 1) if axis == a else (0, 0) for a in range(3)], "reflect") for axis in range(3)]
    means = [np.mean([np.roll(m, s, a)[inner(a)] for s in (-1, 0, 1)], axis=0) for a, m in enumerate(mirrored)]
    np.testing.assert_allclose(found, np.mean(means, axis=0), rtol=1e-5)
    assert seen[-1] == (16 + 17 + 18, 16 + 17 + 18)
    # The first plane of each direction is told the noise of its own voxels.
    planes = [watching.seen[place][1][0, 0].numpy() for place in (0, 16, 16 + 17)]
    for plane, expected in zip(planes, (sigma_map[0], sigma_map[:, 0], sigma_map[:, :, 0]), strict=True):
        np.testing.assert_array_equal(plane, expected)


def inner(axis: int) -> tuple[slice, ...]:
    return tuple(slice(1, -1) if a == axis else slice(None) for a in range(3))


def test_noise_that_is_known_within_slices_only_is_removed_within_slices():
    watching = Watching()
    denoise_scan(cubic(np.ones((16, 18, 20), np.float32)), CORRELATED, prior(watching), orientations=1)
    assert len(watching.seen) == 16


def test_planes_across_the_slices_are_told_their_own_correlation():
    watching, along_z = Watching(), CORRELATED.autocorrelation.T
    noise = replace(CORRELATED, across=(along_z, None))
    denoise_scan(cubic(np.ones((16, 18, 20), np.float32)), noise, prior(watching), orientations=1)
    left = [float(watching.seen[place][1][0, 2, 0, 0]) for place in (0, 16, 16 + 18)]
    expected = [
        0.3 * replace(CORRELATED, autocorrelation=table).left_by_mean(3) for table in (along_z.T, along_z, None)
    ]
    assert left == pytest.approx(expected, rel=1e-5)


def test_zero_filling_is_undone_along_the_axes_of_each_plane():
    watching = Watching()
    noise = ScanNoise("gaussian", 0.1, zero_filling=(1.5, 2.0))
    values = np.ones((16, 18, 20), np.float32)
    found = denoise_scan(cubic(values), noise, prior(watching, Small()), orientations=1)
    shapes = [tuple(slices.shape[-2:]) for slices, _ in watching.seen]
    # Of every plane, the acquired grid and its own.
    assert shapes == [(12, 10), (18, 20)] * 16 + [(16, 10), (16, 20)] * 18 + [(16, 12), (16, 18)] * 20
    np.testing.assert_allclose(found, values, atol=1e-5)


def test_neighbouring_planes_of_cubic_voxels_count_as_much_as_the_small_denoiser():
    found = denoise_scan(
        cubic(np.ones((16, 18, 20), np.float32)), ScanNoise("rician", 1e-3), prior(Watching(), Small(0.5))
    )
    np.testing.assert_allclose(found, 0.75, rtol=1e-5)
