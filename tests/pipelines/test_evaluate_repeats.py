"""Evaluation on real repeats: one is given, the mean of the others is the reference, and no method is told of them."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from medinr.acquisition.acquired_repeat import RepeatSimulation
from medinr.acquisition.simulation import simulate
from medinr.acquisition.spoiled import rician
from medinr.acquisition.ways import acquisition_of
from medinr.config.protocol import load_task
from medinr.errors import ConfigError, IntensityError
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.measurement import read_measurement
from medinr.io.nifti import write_nifti
from medinr.jobs.evaluate.cases import load_facts
from medinr.jobs.evaluate.repeats import Repeats, find_repeats, measure_repeat
from medinr.jobs.evaluate.results import Results
from medinr.jobs.methods.input import Outcome
from medinr.jobs.methods.registry import METHODS, choose_methods
from medinr.noise.estimate import estimate_noise
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume

SIGMA = 30.0
GAINS = (1.0, 1.04, 0.95, 1.02, 0.97, 1.02)
CONFIG = load_task("acquired_repeats").config


@pytest.fixture
def truth():
    """Tissue of smooth brightness around a dark cavity, and air without signal."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in (4, 40, 40)), indexing="ij")
    body, cavity = x**2 / 0.7 + y**2 / 0.8 < 1, np.hypot(x - 0.1, y) < 0.3
    return (body * (500 + 100 * np.cos(4 * y) + 40 * z) * np.where(cavity, 0.1, 1.0)).astype(np.float32)


@pytest.fixture
def geometry(synthetic):
    return synthetic.affine((1.0, 1.0, 5.0))


@pytest.fixture
def noisy(truth):
    """Six repeats with Rician noise whose brightness drifts."""
    generator = np.random.default_rng(5)
    return np.stack([gain * rician(truth, SIGMA, generator).array for gain in GAINS])


@pytest.fixture
def manifest(noisy, geometry, tmp_path):
    """Writes a manifest of the 4D scan of the repeats, of one of them alone, or of both."""
    nibabel.save(nibabel.Nifti1Image(noisy.T.astype(np.float32), geometry), tmp_path / "four.nii.gz")
    write_nifti(Volume(noisy[0], geometry, "MR"), tmp_path / "one.nii.gz")

    def write(*names):
        rows = []
        for name in names:
            path = tmp_path / f"{name}.nii.gz"
            rows.append(ManifestRow(path.name, hash_scan(path), f"s-{name}", "v1", "MR", "EPI", "devtest", "CC0", ""))
        return write_manifest(Manifest(tuple(rows), tmp_path), tmp_path / "scans.csv", overwrite=True)

    return write


def repeats_of(arrays, geometry, sigma=SIGMA):
    volumes = tuple(Volume(array.astype(np.float32), geometry, "MR") for array in arrays)
    return Repeats(volumes, ScanNoise("rician", sigma, how="told"))


def seeded(seed):
    return replace(CONFIG, simulation=RepeatSimulation(seed))


def measured(arrays, geometry, seed=0, numbers=range(4)):
    return measure_repeat(repeats_of(arrays, geometry), seeded(seed), list(numbers), "scan")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_reference_is_free_of_the_drift_and_as_bright_as_the_repeat(truth, geometry, seed):
    drifting = np.array(GAINS)[:, None, None, None] * (truth + 50)
    measurement, reference = measured(drifting, geometry, seed)
    np.testing.assert_allclose(reference.images, measurement.data.numpy(), rtol=1e-5)
    assert reference.variance.max() < 1e-4
    assert reference.peak == pytest.approx(reference.images.max())
    # The mean of the others as they are is as bright as they are.
    plain = np.delete(drifting, reference.number, axis=0).mean(axis=0)
    assert abs(plain / reference.images - 1).max() > 0.005


def test_a_measurement_holds_one_repeat_and_nothing_of_the_others(noisy, geometry):
    measurement, reference = measured(noisy, geometry)
    number = reference.number
    np.testing.assert_array_equal(measurement.data.numpy(), noisy[number].astype(np.float32))
    others = 3 * np.random.default_rng(9).permuted(noisy, axis=2)
    others[number] = noisy[number]
    again, changed = measured(others, geometry)
    assert changed.number == number
    assert not np.allclose(changed.images, reference.images)
    np.testing.assert_array_equal(again.data.numpy(), measurement.data.numpy())
    assert again.parameters == measurement.parameters == {"repeat": number, "slices": [0, 1, 2, 3]}
    assert not measurement.arrays


def test_the_seed_chooses_the_repeat(noisy, geometry):
    numbers = [measured(noisy, geometry, seed)[1].number for seed in range(40)]
    assert set(numbers) == set(range(6))
    assert numbers == [RepeatSimulation(seed).drawn_from(6) for seed in range(40)]


def test_slices_are_upright_and_keep_their_numbers(noisy, geometry):
    turned = geometry @ np.diag([1.0, -1.0, -1.0, 1.0])
    measurement, reference = measured(noisy, turned, numbers=(0, 1, 2))
    assert measurement.slice_numbers == (2, 1, 0)
    np.testing.assert_array_equal(measurement.data.numpy()[0], noisy[reference.number][2, ::-1].astype(np.float32))
    assert np.abs(reference.images - measurement.data.numpy()).mean() < 2 * SIGMA
    with pytest.raises(IntensityError, match=r"scan, repeat \d, slice 1: every voxel is zero"):
        measured(np.where(np.arange(4)[:, None, None] == 1, 0, noisy), geometry)


def test_the_variance_is_that_of_the_mean_and_sigma_that_of_one_repeat(noisy, geometry):
    noisy[:, :, :5] = 0
    _, reference = measured(noisy, geometry)
    bright = reference.images > 300
    assert np.sqrt(reference.variance[bright].mean()) == pytest.approx(SIGMA / np.sqrt(5), rel=0.05)
    # Where every repeat is blank there is no noise whose bias could be put back.
    assert np.unique(reference.sigma[:, :5]) == [0]
    np.testing.assert_allclose(reference.sigma[:, 5:], SIGMA * GAINS[reference.number], rtol=0.01)
    facts = reference.noise_of(2)
    assert facts["coils"] == 1
    assert facts["body"] == pytest.approx(SIGMA**2 / 5, rel=0.15)
    assert facts["slice"] < facts["body"]


def test_the_noise_of_the_repeats_is_found(manifest, tmp_path):
    manifest("four")
    row = ManifestRow("four.nii.gz", "0" * 64, "s", "v1", "MR", "", "devtest", "CC0")
    repeats, reason = find_repeats(tmp_path / "four.nii.gz", row)
    assert reason == ""
    assert len(repeats.volumes) == 6
    assert repeats.noise.kind == "rician"
    assert repeats.noise.sigma == pytest.approx(SIGMA, rel=0.1)


def test_the_task_has_the_methods_of_image_files_and_the_whole_scan():
    task = load_task("acquired_repeats")
    assert (task.kind, task.real) == ("acquired_repeats", False)
    assert task.neighbours == load_task("acquired_thick_4").neighbours
    assert choose_methods(task, ()) == choose_methods(load_task("acquired_rician_5"), ())
    assert choose_methods(task, ("inr-blind", "tv", "medinr")) == ("INR-blind", "medinr")


def test_one_volume_is_no_measurement_of_a_repeat(truth, geometry):
    with pytest.raises(ConfigError, match=r"medinr evaluate MANIFEST --tasks acquired_repeats.*medinr denoise"):
        simulate("acquired_repeats", Volume(truth, geometry, "MR"))


def test_an_evaluation_scores_images_against_the_mean_of_the_others(medinr, manifest, truth, tmp_path, monkeypatch):
    """With medinr as it ships, a filter, and one that knows the truth."""
    given = []

    def know(case):
        given.append(case)
        gain = GAINS[case.acquisition.facts["repeat"]]
        return Outcome(case.acquisition.from_scan(gain * truth[case.position]))

    monkeypatch.setitem(METHODS, "wavelet-blind", replace(METHODS["wavelet-blind"], run=know))
    chosen = ("--tasks", "acquired_repeats", "--methods", "input,tv-blind,wavelet-blind,medinr", "--set", "slices=4")
    out = tmp_path / "out"
    path = manifest("four", "one")
    found = medinr("evaluate", path, *chosen, "--out", out, "--debug")
    assert found.code == 0, found.err
    results = Results.read(out)
    assert set(results.table.subject) == {"s-four"}
    table = results.table[results.table.region == "slice"].set_index(["metric", "method"])["value"]
    means = {method: table["psnr", method].mean() for method in ("input", "TV-blind", "wavelet-blind", "medinr")}
    # In so small a scan medinr finds three quarters of the sigma, so it cannot remove all of the noise.
    assert means["medinr"] > means["input"] + 3
    assert means["TV-blind"] > means["input"] + 3
    for case in results.cases():
        images = results.images(case)
        # The input has the error of one repeat, which that of the reference is taken off.
        own = results.table[(results.table.slice == case.slice) & (results.table.region == "slice")]
        own = own.set_index(["metric", "method"])["value"]
        plain = {name: np.square(images[name] - images["reference"]).mean() for name in images}
        variance = case.reference_noise["slice"]
        for name in ("input", "TV-blind"):
            assert own["psnr", name] == pytest.approx(10 * np.log10(case.peak**2 / (plain[name] - variance)), abs=1e-3)
        # What is left of the truth's error is chance, not the noise of the reference.
        assert plain["wavelet-blind"] == pytest.approx(variance, rel=0.3)
        assert own["psnr", "wavelet-blind"] > 10 * np.log10(case.peak**2 / variance) + 8
        assert own["nrmse", "wavelet-blind"] < 0.02
        # With the bias that the reference keeps: 1.25 sigma where there is no signal.
        air = truth[case.slice] == 0
        assert images["wavelet-blind"][air].mean() == pytest.approx(images["reference"][air].mean(), rel=0.1)
        assert case.series_description.startswith("EPI v1, repeat ")
        measurement = read_measurement(out / "measurements" / f"{case.case}.safetensors")
        assert set(measurement.parameters) == {"repeat", "slices", "findings"}
        assert measurement.slice_numbers == (0, 1, 2, 3)
        np.testing.assert_array_equal(images["input"], measurement.data[case.slice].numpy())
    # No method has anything of the other repeats: neither settings nor arrays nor more volumes.
    assert {case.config.simulation for case in given} == {RepeatSimulation()}
    assert {case.acquisition.scan.shape for case in given} == {(4, 40, 40)}
    notes = results.facts["notes"]
    assert notes[0].startswith("One of several real repeats")
    assert not [note for note in notes if note.startswith("Noise was added")]
    (left_out,) = [note for note in notes if "left out of acquired_repeats" in note]
    assert left_out.startswith("s-one_v1_EPI_")
    assert "it holds 1 volume, and 4 or more that repeat one acquisition are wanted" in left_out


def test_nothing_left_is_an_error_that_names_the_scan(medinr, manifest, tmp_path):
    found = medinr("evaluate", manifest("one"), "--tasks", "acquired_repeats", "--methods", "input", "--out", tmp_path)
    assert found.code == 2
    assert "s-one_v1_EPI_" in found.err
    assert "it holds 1 volume" in found.err


def test_copies_of_one_volume_are_no_repeats(noisy, geometry, tmp_path):
    path = tmp_path / "copies.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.stack([noisy[0]] * 5).T, geometry), path)
    row = ManifestRow(path.name, "0" * 64, "s", "v1", "MR", "", "devtest", "CC0")
    repeats, reason = find_repeats(path, row)
    assert repeats is None
    assert "copies of one another" in reason


def test_other_tasks_leave_out_a_file_of_several_volumes(medinr, manifest, tmp_path):
    out = tmp_path / "out"
    chosen = ("--tasks", "acquired_rician_10", "--methods", "input", "--set", "slices=1", "--out", out, "--debug")
    assert medinr("evaluate", manifest("one", "four"), *chosen).code == 0
    results = Results.read(out)
    assert set(results.table.subject) == {"s-one"}
    assert "it holds 6 volumes, and a scan of one is wanted" in " ".join(results.facts["notes"])


def test_a_manifest_of_a_4d_scan_is_in_order_and_a_model_that_knows_it_is_refused(
    medinr, manifest, tiny_model, tmp_path
):
    path = manifest("four")
    assert medinr("manifest", "verify", path).code == 0
    known = tiny_model(tmp_path / "known.safetensors", "MR", hashes=(hash_scan(tmp_path / "four.nii.gz"),))
    found = medinr("evaluate", path, "--tasks", "acquired_repeats", "--model", known, "--out", tmp_path / "out")
    assert found.code == 2
    assert "this very scan is among its training scans" in found.err


def test_an_evaluation_run_again_gives_the_same_repeats(medinr, manifest, tmp_path):
    chosen = ("--tasks", "acquired_repeats", "--methods", "input", "--set", "slices=2")
    path = manifest("four")
    for name in ("first", "second"):
        assert medinr("evaluate", path, *chosen, "--out", tmp_path / name).code == 0
    first, second = (
        sorted((tmp_path / name / "work").glob("acquired_repeats__s-four*__*[0-9].safetensors"))
        for name in ("first", "second")
    )
    assert len(first) == 2
    assert [load_facts(one) for one in first] == [load_facts(one) for one in second]
    assert (
        json.loads((tmp_path / "first" / "evaluation.json").read_text())["tasks"]["acquired_repeats"]["unit"] == "a.u."
    )


def test_the_noise_is_found_in_the_given_repeat(noisy, geometry):
    measurement, reference = measured(noisy, geometry)
    alone = estimate_noise(Volume(noisy[reference.number].astype(np.float32), geometry, "MR"))
    acquisition = acquisition_of(measurement)
    assert acquisition.scan_noise.facts == alone.facts
    assert acquisition.problem(1).noise.sigma == alone.sigma
