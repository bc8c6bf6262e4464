"""Benchmarks of scans as they were acquired: the harness gives known answers on synthetic data."""

import json

import numpy as np
import pytest

from benchmarks import acquired_ct, acquired_methods, acquired_noise, acquired_repeats
from benchmarks.acquired_methods import Candidate, candidates
from medinr.acquisition.spoiled import rician
from medinr.errors import ConfigError, FileError, ShapeError
from medinr.io.nifti import write_nifti
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume

SIGMA = 8.0
NOISE = ScanNoise("rician", SIGMA, how="told")


def head(shape=(10, 60, 50)):
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    return ((y**2 + 1.5 * x**2 < 0.5) * (200.0 + 50 * np.cos(6 * y)) + 0 * z).astype(np.float32)


@pytest.fixture
def known_noise(monkeypatch):
    """Stands for the estimate, which has tests of its own."""
    for module in (acquired_noise, acquired_repeats, acquired_ct):
        monkeypatch.setattr(
            module, "estimate_noise", lambda scan: NOISE if scan.unit != "HU" else ScanNoise("gaussian", 70.0)
        )


@pytest.fixture
def no_medinr(monkeypatch):
    """The tiny untrained model has no denoiser for scans."""
    for module in (acquired_noise, acquired_repeats, acquired_ct):
        monkeypatch.setattr(module, "by_medinr", lambda model, modality, announce: None)


def test_a_slab_is_cropped_to_the_head_and_stays_in_place(tmp_path):
    affine = np.diag([0.9, 0.8, 3.0, 1.0])
    whole = Volume(head(), affine, "MR")
    slab = acquired_noise.read_slab(write_nifti(whole, tmp_path / "head.nii.gz"), 4)
    assert slab.scan.shape[0] == 4
    assert slab.scan.shape[1] < 60
    assert slab.name == "head"
    first = np.linalg.inv(affine) @ slab.scan.affine[:, 3]
    x, y, z = first[:3].round().astype(int)
    rows, columns = (slice(start, start + size) for start, size in zip((y, x), slab.scan.shape[1:], strict=True))
    np.testing.assert_allclose(slab.scan.array, whole.array[z : z + 4, rows, columns], atol=1e-2)


def test_psnr_is_that_of_the_added_noise():
    spoiled = rician(head() + 500, SIGMA, np.random.default_rng(0))
    found = acquired_noise.psnr_of(spoiled.array, spoiled, 700.0)
    assert found["slab"] == pytest.approx(20 * np.log10(700 / SIGMA), abs=0.1)
    assert found["body"] == pytest.approx(found["slab"], abs=0.2)


def test_acquired_noise_from_the_command_line(benchmark, tmp_path, known_noise, no_medinr):
    scan = write_nifti(Volume(head(), np.diag([0.9, 0.8, 3.0, 1.0]), "MR"), tmp_path / "head.nii.gz")
    found = benchmark(
        "acquired-noise", "--data", scan, "--slices", 2, "--baselines", "TV", "--out", tmp_path, "--oracle"
    )
    assert found.code == 0, found.err
    assert "zero-filled 5%" in found.out
    rows = json.loads((tmp_path / "acquired_noise.json").read_text())["rows"]
    noisy = {(row["way"], row["level"]): row["slab"] for row in rows if row["method"] == "noisy"}
    assert len(noisy) == len(acquired_noise.CONDITIONS)
    assert noisy["rician", 0.05] > noisy["rician", 0.1]
    smoothed = [row["slab"] for row in rows if row["method"] == "TV" and (row["way"], row["level"]) == ("rician", 0.1)]
    assert max(smoothed) > noisy["rician", 0.1] + 1


@pytest.fixture
def repeats(tmp_path):
    import nibabel

    generator = np.random.default_rng(0)
    clean = head((4, 40, 36)) + 30
    volumes = [gain * rician(clean, SIGMA, generator).array for gain in (1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.0)]
    path = tmp_path / "repeats.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.stack(volumes).T.astype(np.float32), np.diag([1, 1, 5, 1.0])), path)
    return path, clean


def test_repeats_from_the_command_line(benchmark, repeats, tmp_path, known_noise, no_medinr):
    found = benchmark(
        "spine-repeats", "--data", repeats[0], "--repeats", 2, "--baselines", "TV", "--out", tmp_path, "--oracle"
    )
    assert found.code == 0, found.err
    rows = json.loads((tmp_path / "spine_repeats.json").read_text())["rows"]
    assert max(row["gain"] for row in rows if row["method"] == "TV") > 2
    # A mean of four has a quarter of the noise.
    mean = [row["gain"] for row in rows if row["method"] == "mean (4 repeats)"]
    assert len(mean) == 4
    assert np.mean(mean) == pytest.approx(10 * np.log10(4), abs=0.5)


def test_bias_is_put_back_only_where_it_was_taken_out():
    generator = np.random.default_rng(0)
    clean = np.full((4, 30, 30), 5.0, np.float32)
    others = np.stack([rician(clean, SIGMA, generator).array for _ in range(9)]).astype(float)
    noisy, biased = rician(clean, SIGMA, generator).array, acquired_repeats.with_bias(clean, NOISE)
    kept = acquired_repeats._gains(biased, noisy, None, 1.0, others)
    assert kept["gain_with_bias"] == kept["gain"]
    taken = acquired_repeats._gains(clean, noisy, NOISE, 1.0, others)
    assert taken["gain"] < 1
    # A perfect signal is right once its bias is back: what is left is the chance of nine repeats.
    assert not taken["gain_with_bias"] < 15


def test_too_few_repeats_are_bad_input(benchmark, tmp_path):
    scan = write_nifti(Volume(head(), np.eye(4), "MR"), tmp_path / "one.nii.gz")
    found = benchmark("spine-repeats", "--data", scan, "--out", tmp_path)
    assert found.code == 2
    assert "repeats" in found.err


def test_bias_is_put_back_as_it_was_taken_out():
    signal = np.linspace(0, 100, 12, dtype=np.float32).reshape(1, 3, 4)
    found = acquired_repeats.with_bias(signal, NOISE)
    assert found[0, 0, 0] == pytest.approx(SIGMA * np.sqrt(np.pi / 2))
    assert found[0, -1, -1] == pytest.approx(100 + SIGMA**2 / 200, rel=1e-3)
    np.testing.assert_array_equal(acquired_repeats.with_bias(signal, ScanNoise("gaussian", 1.0)), signal)


@pytest.fixture
def doses(tmp_path):
    reference = np.full((256, 256), 1000, np.uint16)
    y, x = np.indices(reference.shape)
    for (row, column), height in (((94, 94), 30), ((160, 160), 10)):
        reference[np.hypot(y - row, x - column) < 6] += height
    reference.tofile(tmp_path / "ground_truth.raw")
    generator = np.random.default_rng(0)
    for signal in ("present", "absent"):
        folder = tmp_path / "dose_010" / f"signal_{signal}"
        folder.mkdir(parents=True)
        clean = reference if signal == "present" else np.minimum(reference, 1000)
        for number in range(6):
            noisy = clean + 20 * generator.standard_normal(reference.shape) + 3
            noisy.round().astype("<i2").tofile(folder / f"{signal}_{number}.raw")
    return tmp_path


def test_inserts_are_found_in_the_truth(doses):
    dose = acquired_ct.read_dose(doses)
    assert [(one.contrast, one.middle) for one in dose.inserts] == [(30.0, (94, 94)), (10.0, (160, 160))]
    assert dose.inserts[0].diameter == pytest.approx(12, abs=0.5)
    assert dose.background.max() == 1000


def test_untouched_images_keep_contrast_and_a_constant_loses_it(doses, known_noise):
    dose = acquired_ct.read_dose(doses)
    noisy = acquired_ct.judge(dose, Candidate("noisy", "", lambda scan, _: scan.array.real))
    assert noisy["rmse_present"] == pytest.approx(20, rel=0.03)
    assert noisy["inserts"][0]["kept"] == pytest.approx(1.0, abs=1e-3)
    assert noisy["inserts"][0]["contrast"] == pytest.approx(30, abs=5 * noisy["inserts"][0]["standard_error"])
    assert noisy["inserts"][0]["auc"] > 0.95
    halved = acquired_ct.judge(dose, Candidate("halved", "", lambda scan, _: scan.array.real / 2))
    assert halved["inserts"][0]["kept"] == pytest.approx(0.5, abs=1e-3)
    assert halved["inserts"][0]["auc"] == pytest.approx(noisy["inserts"][0]["auc"], abs=1e-6)


def test_ct_dose_from_the_command_line(benchmark, doses, known_noise, no_medinr):
    found = benchmark("ct-dose", "--data", doses, "--baselines", "TV", "--out", doses)
    assert found.code == 0, found.err
    assert "30 HU, 12 px" in found.out
    rows = {row["method"]: row for row in json.loads((doses / "ct_dose.json").read_text())["rows"]}
    assert rows["TV"]["rmse_absent"] < 0.7 * rows["noisy"]["rmse_absent"]


def test_a_damaged_dose_is_bad_input(doses):
    (doses / "ground_truth.raw").write_bytes(b"short")
    with pytest.raises(FileError, match="bytes"):
        acquired_ct.read_dose(doses)


def test_unknown_baselines_are_refused():
    with pytest.raises(ConfigError, match="Known"):
        candidates(["BM5D"], oracle=False)


def test_oracle_adds_every_other_setting_once():
    alone, every = (candidates(["TV"], oracle=oracle) for oracle in (False, True))
    assert [one.chosen for one in alone] == [True]
    assert len(every) == len({one.setting for one in every}) == len(acquired_methods.BASELINES["TV"].settings)


def test_a_model_without_a_denoiser_for_scans_is_told(models):
    lines = []
    assert acquired_methods.by_medinr(models["MR"], "MR", lines.append) is None
    assert "left out" in lines[0]


def test_a_series_that_is_too_short_names_itself(tmp_path):
    scan = write_nifti(Volume(head(), np.eye(4), "MR"), tmp_path / "one.nii.gz")
    with pytest.raises(ShapeError, match=r"one\.nii\.gz has 1"):
        acquired_repeats.benchmark_spine_repeats(scan, 1, "brain_mr", (), tmp_path)
