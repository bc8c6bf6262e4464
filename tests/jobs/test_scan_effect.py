"""How much of the effect is applied, which voxels keep their values, what is kept of an unfinished run."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from medinr.errors import ConfigError, FileError, GeometryError, IntensityError
from medinr.io.nifti import write_nifti
from medinr.jobs.audit.catalogue import found
from medinr.jobs.scan.effect import WEAK, applied, choose_blend, edge_correlation, untouched
from medinr.jobs.scan.forecast import forecast
from medinr.jobs.scan.kept import KeptVolumes
from medinr.jobs.scan.noise import ToldNoise, find_noise, noise_words, on_grid_of, read_mask, read_told
from medinr.jobs.scan.source import ScanSource
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import ScanFacts

NOISE = ScanNoise("rician", 10.0, how="made up")


@pytest.fixture
def scan(synthetic):
    return synthetic.phantom()


def test_the_default_is_the_full_effect_unless_something_speaks_against_it(scan):
    assert choose_blend(None, scan, NOISE, ()).value == 1.0
    unreliable = choose_blend(None, scan, replace(NOISE, reliable=False), ())
    assert unreliable.value == WEAK
    assert "25 % of the effect" in unreliable.warnings[0]
    assert choose_blend(None, scan, NOISE, [found("lossy", "stored with lossy compression")]).value == WEAK
    assert choose_blend(None, scan, NOISE, [found("zero-filled", "x 1.5")]).value == 1.0
    facts = ScanFacts(image_type=("DERIVED", "PRIMARY", "FILTERED"))
    filtered = replace(scan, provenance=replace(scan.provenance, facts=facts))
    assert choose_blend(None, filtered, NOISE, ()).value == WEAK
    assert choose_blend(0.8, filtered, replace(NOISE, reliable=False), ()).value == 0.8


def test_a_blend_is_a_mixture_and_what_is_kept_is_exact(scan):
    kept = scan.array == scan.array.max()
    full = scan.array + 8
    np.testing.assert_array_equal(applied(scan.array, full, 0.25, kept), np.where(kept, scan.array, scan.array + 2))
    np.testing.assert_array_equal(applied(scan.array, full, 0.0, kept), scan.array)


def test_blanked_background_and_padding_stay_but_single_zeros_do_not(scan, synthetic):
    array = scan.array.copy()
    array[0, 12, 10] = 0  # a black pixel amid tissue
    kept = untouched(scan.with_array(array))
    assert kept[:, 0, 0].all()
    assert not kept[0, 12, 10]
    assert not kept[scan.array > 0].any()
    chest = synthetic.phantom(modality="CT")
    array = chest.array.copy()
    array[:, :5] = -1024
    array[2, 12, 12] = -1024
    kept = untouched(chest.with_array(array))
    assert kept[:, :5].all()
    assert not kept[2, 12, 12]
    mask = np.zeros(scan.shape, bool)
    mask[1] = True
    assert untouched(scan, mask)[[0, 2, 3, 4]].all()


def test_noise_has_no_edges_and_a_smoothed_edge_has(scan):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 5, scan.shape).astype(np.float32)
    nothing = np.zeros(scan.shape, bool)
    assert abs(edge_correlation(scan.array, noise, nothing)) < 0.1
    along_y, along_x = np.gradient(scan.array, axis=(1, 2))
    assert edge_correlation(scan.array, np.hypot(along_y, along_x), nothing) > 0.9
    assert edge_correlation(scan.array, 0 * noise, nothing) == 0.0


def test_what_is_told_of_the_noise(scan, tmp_path):
    told = read_told("12.5", None, 4, scan)
    assert (told.sigma, told.coils) == (12.5, 4)
    path = write_nifti(scan.with_array(np.full(scan.shape, 3.0, np.float32)), tmp_path / "sigma.nii.gz")
    assert read_told(str(path), None, None, scan).sigma.array.mean() == 3.0
    with pytest.raises(ConfigError, match="finite number above 0"):
        read_told("-1", None, None, scan)
    with pytest.raises(FileError, match="neither a number nor a file"):
        read_told("none.nii.gz", None, None, scan)
    with pytest.raises(ConfigError, match="not by both"):
        ToldNoise(1.0, scan)
    with pytest.raises(GeometryError, match="medinr convert"):
        on_grid_of(scan.select([0, 1]), scan, "--sigma")
    empty = write_nifti(scan.with_array(0 * scan.array), tmp_path / "empty.nii.gz")
    with pytest.raises(IntensityError, match="no voxel"):
        read_mask(empty, scan)


def test_noise_larger_than_the_signal_is_refused(scan, monkeypatch):
    monkeypatch.setattr("medinr.jobs.scan.noise._found", lambda *_: replace(NOISE, sigma=5000.0))
    with pytest.raises(IntensityError, match="larger than the signal"):
        find_noise(ScanSource(scan), ToldNoise())


def test_what_was_found_is_said_in_a_line():
    table = np.array([[0, 0.2, 0], [0.3, 1, 0.3], [0, 0.2, 0]])
    noise = ScanNoise("chi", 12.0, 4, np.ones((1, 2, 2), np.float32), table, (1.5, 1.0), how="in the air")
    words = noise_words(noise, "a.u.")
    for part in ("sigma 12 a.u.", "4 coils", "varies in space", "0.30", "1.50 (y)", "in the air"):
        assert part in words


def test_kept_volumes_are_those_of_the_same_run(tmp_path):
    kept = KeptVolumes(tmp_path / "work", "a")
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    kept.save(3, values, {"residual": 1.1})
    kept.save(4, (values * 1j).astype(np.complex64), {})
    np.testing.assert_array_equal(kept.load(3)[0], values)
    assert kept.load(3)[1] == {"residual": 1.1}
    np.testing.assert_array_equal(kept.load(4)[0], values * 1j)
    assert KeptVolumes(tmp_path / "work", "b").load(3) is None
    (tmp_path / "work" / "volume_0003.safetensors").write_bytes(b"cut")
    assert kept.load(3) is None
    kept.remove()
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("threads", [1, 6])
def test_the_forecast_is_of_the_whole_from_a_part(synthetic, monkeypatch, threads):
    scan = synthetic.phantom((20, 200, 150))
    seen, clock = [], [0.0]

    def treat(part, noise):
        seen.append((part.shape, noise.sigma_map.shape))
        clock[0] += part.array.size * 1e-6

    monkeypatch.setattr("medinr.jobs.scan.forecast.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)

    noise = replace(NOISE, sigma_map=np.ones(scan.shape, np.float32))
    expected = forecast(scan, noise, 3, treat)
    part = (max(2, threads), 128, 128)
    assert seen == [((3, 32, 32), (3, 32, 32)), (part, part)]
    assert expected.seconds == pytest.approx(3 * scan.array.size * 1e-6)
    assert expected.bytes > 1e8
    assert "GB of memory" in expected.words
