from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from medinr.errors import ConfigError
from medinr.network.image_domain import ImageDomainSettings
from medinr.network.scan_fit import fit_scan
from medinr.network.scan_planes import PlaneNetwork, ScanFitSettings, groups_of, held_out
from medinr.network.scan_sharpen import sharpen_by_networks
from medinr.network.trunk import Trunk, TrunkSettings
from medinr.noise.scan_noise import ScanNoise
from medinr.operators import ScanSampling
from medinr.solve.sharpen_grid import grid_for
from medinr.volume import Volume

LEVEL = 400.0
SIGMA = 0.1 * LEVEL

SETTINGS = ScanFitSettings()


def _scan(family, slices=4, affine=None, **facts):
    """Clean values in the scan's units, slices almost alike."""
    clean = np.stack([family.unseen.numpy() * (1 - 0.02 * k) for k in range(slices)]) * LEVEL
    return Volume(clean.astype(np.float32), np.eye(4) if affine is None else affine, "MR", **facts)


def _noisy(clean, seed=0):
    """Rician."""
    draw = np.random.default_rng(seed).standard_normal((2, *clean.shape)) * SIGMA
    return clean.with_array(np.hypot(clean.array + draw[0], draw[1]).astype(np.float32))


def _error(values, clean):
    return float(np.sqrt(np.mean(np.abs(values - clean.array) ** 2)))


def test_networks_learn_a_target(family):
    clean = _scan(family, 2)
    found = fit_scan(
        _noisy(clean),
        ScanNoise("rician", SIGMA),
        family.trunk,
        family.length_scale,
        target=clean.array,
        settings=SETTINGS,
    )
    assert found.dtype == np.float32
    assert _error(found, clean) < 0.15 * SIGMA


def test_networks_without_a_target_leave_noise_and_its_bias_out(family):
    clean = _scan(family)
    noisy = _noisy(clean)
    found = fit_scan(noisy, ScanNoise("rician", SIGMA), family.trunk, family.length_scale, settings=SETTINGS)
    assert _error(found, clean) < 0.6 * _error(noisy.array, clean)
    air = clean.array < 0.01 * LEVEL
    assert float(noisy.array[air].mean()) > 1.2 * SIGMA
    assert float(found[air].mean()) < 0.6 * SIGMA
    assert float(found.min()) >= 0


def test_a_fit_repeats_and_says_how_far_it_is(family):
    noisy = _noisy(_scan(family, 2))
    calls = []
    first, second = (
        fit_scan(
            noisy,
            ScanNoise("rician", SIGMA),
            family.trunk,
            family.length_scale,
            settings=replace(SETTINGS, noisy_together=1),
            progress=progress,
        )
        for progress in (None, lambda done, total: calls.append((done, total)))
    )
    np.testing.assert_array_equal(first, second)
    assert calls == sorted(calls)
    assert calls[-1] == (2, 2)


def test_complex_values_and_hounsfield_units_keep_their_kind(family):
    clean = _scan(family, 1)
    phase = np.exp(0.5j).astype(np.complex64)
    turned = clean.with_array((clean.array * phase).astype(np.complex64))
    noise = ScanNoise("gaussian", SIGMA)
    found = fit_scan(turned, noise, family.trunk, family.length_scale, target=turned.array, settings=SETTINGS)
    assert found.dtype == np.complex64
    assert _error(found, turned) < 0.2 * SIGMA

    hounsfield = np.where(clean.array > 10, clean.array - 200, -1000).astype(np.float32)
    hounsfield[:, :3] = -2000
    scan = Volume(hounsfield, np.eye(4), "CT", "HU")
    found = fit_scan(scan, noise, family.trunk, family.length_scale, target=scan.array, settings=SETTINGS)
    inside = hounsfield > -1000
    assert np.abs(found[inside] - hounsfield[inside]).mean() < 0.5 * SIGMA
    assert np.abs(found[:, :3] + 2000).max() < 5 * SIGMA


def test_zero_filled_frequencies_stay_as_they_are(family):
    noisy = _noisy(_scan(family, 1))
    noise = ScanNoise("rician", SIGMA, zero_filling=(2.0, 2.0))
    removed = noisy.array - fit_scan(
        noisy, replace(noise, kind="gaussian"), family.trunk, family.length_scale, settings=SETTINGS
    )
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(removed[0])))
    beyond = np.ones_like(spectrum, dtype=bool)
    beyond[8:25, 8:25] = False
    assert spectrum[beyond].max() < 1e-3 * spectrum.max()


def test_without_noise_nothing_changes(family):
    scan = _scan(family, 1)
    found = fit_scan(scan, ScanNoise("rician", 0.0), family.trunk, family.length_scale)
    np.testing.assert_array_equal(found, scan.array)


def test_pixels_around_those_that_judge_are_held_out_where_noise_correlates():
    held, judged = held_out((31, 40), 0.1, 3, torch.Generator().manual_seed(0))
    assert int(held.sum()) == 9 * int(judged.sum()) > 0
    assert 0.05 < float(held.float().mean()) < 0.15
    for y, x in judged.nonzero().tolist():
        assert bool(held[y - 1 : y + 2, x - 1 : x + 2].all())
    with pytest.raises(ConfigError, match="too small"):
        held_out((3, 5), 0.1, 3, torch.Generator())


def test_a_network_can_be_asked_for_finer_pixels(family):
    network = PlaneNetwork(family.trunk, family.length_scale, (32, 32), (1.0, 1.0), 1, SETTINGS)
    learned = network.learn(family.unseen.unsqueeze(0))
    fine = network.render((64, 64), (0.5, 0.5))
    assert fine.shape == (1, 64, 64)
    means = torch.nn.functional.avg_pool2d(fine, 2)
    assert float((means - learned).abs().mean()) < 0.03


def test_settings_and_trunks_that_cannot_be_are_refused(family):
    with pytest.raises(ConfigError, match="passes"):
        ScanFitSettings(ImageDomainSettings(passes=0.0))
    with pytest.raises(ConfigError, match="coordinates instead of 2"):
        PlaneNetwork(Trunk(TrunkSettings(inputs=3, width=8, depth=1)), 1.0, (4, 4), (1.0, 1.0), 1, SETTINGS)
    assert groups_of(4, 4) == [range(4)]


def _thick(family):
    """A volume of 12 sections, and slices of three times that thickness across its rows."""
    fine = _scan(family, 6)
    # Slices follow each other along the rows of the family's images.
    fine = Volume(np.ascontiguousarray(fine.array.transpose(1, 0, 2)[1:31]), np.eye(4), "MR")
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[2, 3] = 1.0
    operator = ScanSampling(fine.shape, fine.affine, (10, 6, 32), affine, (2.55, None, None))
    thick = operator(torch.from_numpy(fine.array)).numpy()
    draw = 0.01 * LEVEL * np.random.default_rng(1).standard_normal(thick.shape)
    return fine, Volume(np.abs(thick + draw).astype(np.float32), affine, "MR")


@pytest.mark.parametrize("alone", [False, True])
def test_planes_of_networks_explain_a_thick_scan(family, alone):
    fine, thick = _thick(family)
    calls = []
    found = sharpen_by_networks(
        thick,
        grid_for(thick, spacing=1.0),
        ScanNoise("rician", 0.01 * LEVEL),
        family.trunk,
        family.length_scale,
        target=None if alone else fine,
        settings=SETTINGS,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert found.volume.shape == fine.shape
    np.testing.assert_allclose(found.volume.affine, fine.affine, atol=1e-9)
    assert found.residual < 1.01
    assert found.across == 1
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1]
    splines = zoom(thick.array, (3, 1, 1), order=3, mode="nearest", grid_mode=True)
    assert _error(found.volume.array, fine) < (1.0 if alone else 0.3) * _error(splines, fine)
