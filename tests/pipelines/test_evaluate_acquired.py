"""Evaluation in which only the spoiled image file is given: nothing that is given tells the noise."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from medinr.acquisition.acquired_ct import AcquiredCTSimulation
from medinr.acquisition.acquired_image import AcquiredSimulation
from medinr.acquisition.simulation import simulate, simulate_with_reference
from medinr.acquisition.spoiled import WAYS
from medinr.acquisition.ways import acquisition_of
from medinr.baselines.acquired import BASELINES
from medinr.config.protocol import PROTOCOL, load_task
from medinr.errors import ConfigError, LibraryError
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.measurement import read_measurement
from medinr.io.nifti import write_nifti
from medinr.jobs.evaluate.results import Results
from medinr.jobs.methods import acquired
from medinr.jobs.methods.input import MethodInput
from medinr.jobs.methods.registry import METHODS, choose_methods
from medinr.jobs.scan.methods import DENOISERS
from medinr.jobs.simulated import measure_slices
from medinr.noise.scan_noise import ScanNoise
from medinr.operators import NonCentralChi, Rician
from medinr.units import MU_WATER

TASKS = [name for name in PROTOCOL if load_task(name).kind in ("acquired", "acquired_ct")]
#: Of the tests' evaluations; those of scikit-image, which is always there.
COMPARED = ("input", "NLM-blind", "TV-blind", "wavelet-blind", "medinr")
LEVEL = 0.1


@pytest.fixture
def head(synthetic):
    return synthetic.phantom((5, 72, 64), geometry=synthetic.affine((1.0, 1.0, 3.0)))


@pytest.fixture
def smoothed(monkeypatch):
    """What takes the place of the model's denoiser: the scan and the noise that it was given, in the order of calls."""
    given = []

    def denoise(volume, noise, model, progress=None, unfinished=None):
        given.append((volume, noise))
        return volume.array * np.float32(0.5)

    monkeypatch.setitem(DENOISERS, "plug-and-play", denoise)
    return given


@pytest.fixture
def evaluate(medinr, head, tiny_model, tmp_path):
    path = write_nifti(head, tmp_path / "s1.nii.gz")
    row = ManifestRow(path.name, hash_scan(path), "s1", "v1", "MR", "T1", "devtest", "CC0", "2:3")
    write_manifest(Manifest((row,), tmp_path), tmp_path / "heads.csv")
    model = tiny_model(tmp_path / "mine.safetensors", "MR")

    def run(*more):
        fixed = ("--model", model, "--set", "slices=1", "--out", tmp_path / "out")
        return medinr("evaluate", tmp_path / "heads.csv", *fixed, *more)

    return run


def _input(measurement, task, model=None, position=0):
    found = acquisition_of(measurement)
    config = replace(load_task(task).config, simulation=None)
    return MethodInput(found, position, found.problem(position), config, lambda _: model, None)


def _text(value):
    return json.dumps(value, default=str)


@pytest.mark.parametrize("way", WAYS)
def test_a_measurement_holds_the_spoiled_image_and_no_word_of_its_noise(head, way):
    settings = AcquiredSimulation(way, LEVEL, seed=3)
    measurement, reference = simulate_with_reference("acquired", head, settings)
    level = float(np.percentile(head.array, 99))
    again = WAYS[way](head.array, LEVEL * level, np.random.default_rng(4))
    np.testing.assert_array_equal(measurement.data.numpy(), again.array)
    np.testing.assert_array_equal(reference, again.reference)
    assert measurement.parameters["settings"] == {"way": way, "seed": 3}
    assert not {"sigma", "added_sigma", "noise", "noise_level"} & set(measurement.parameters)
    assert str(LEVEL) not in _text(dict(measurement.parameters))
    # Other data with another seed, the same with the same.
    other = simulate("acquired", head, replace(settings, seed=4))
    assert not torch.equal(other.data, measurement.data)
    assert torch.equal(simulate("acquired", head, settings).data, measurement.data)


def test_the_reference_has_lost_what_zero_filling_takes(head):
    config = load_task("acquired_zero_filled").config
    measurement, reference = measure_slices(head, config, [1, 2, 3])
    assert measurement.slice_numbers == (1, 2, 3)
    assert reference.images.shape == (3, 72, 64)
    assert not np.allclose(reference.images, reference.scan.array, atol=0.01 * head.array.max())
    _, plain = measure_slices(head, load_task("acquired_rician_5").config, [1, 2, 3])
    np.testing.assert_array_equal(plain.images, plain.scan.array)
    assert plain.peak == reference.peak == head.array.max()


def test_the_noise_is_found_from_the_data(head):
    level = float(np.percentile(head.array, 99))
    found = acquisition_of(simulate("acquired", head, AcquiredSimulation("rician", LEVEL)))
    assert isinstance(found.noise, Rician)
    assert found.noise.sigma == pytest.approx(LEVEL * level, rel=0.1)
    assert found.problem(1).noise == found.noise
    torch.testing.assert_close(found.direct(found.measurement.data[1], found.operator()), found.measurement.data[1])
    found.scan_noise = ScanNoise("chi", 20.0, 8)
    assert found.noise == NonCentralChi(20.0, 8)


def test_a_scan_without_noise_still_poses_a_problem(head):
    measurement = simulate("acquired", head, AcquiredSimulation())
    found = acquisition_of(measurement)
    found.scan_noise = replace(found.scan_noise, sigma=0.0)
    assert found.problem(0).noise.sigma == pytest.approx(1e-6 * float(measurement.data.max()))


def test_ct_noise_is_found_in_whole_hu_and_padding_stays(synthetic):
    clean = synthetic.phantom((5, 72, 64), "CT", synthetic.affine((1.0, 1.0, 3.0)))
    clean.array[:, :8] = -1024.0
    measurement, reference = simulate_with_reference("acquired_ct", clean, AcquiredCTSimulation(40.0, seed=2))
    np.testing.assert_array_equal(reference, clean.array)
    found = acquisition_of(measurement)
    scan = found.scan.array
    assert found.scan.unit == "HU"
    np.testing.assert_array_equal(scan, np.rint(scan))
    np.testing.assert_array_equal(scan[:, :8], -1024.0)
    body = clean.array > -200
    assert (scan - clean.array)[body].std() == pytest.approx(40.0, rel=0.05)
    assert found.scan_noise.kind == "gaussian"
    assert found.scan_noise.sigma == pytest.approx(40.0, rel=0.15)
    assert found.noise.sigma == pytest.approx(found.scan_noise.sigma * MU_WATER / 1000)
    image = found.direct(measurement.data[1], found.operator())
    np.testing.assert_allclose(found.export(image), scan[1], atol=1e-2)
    np.testing.assert_allclose(found.export(found.from_scan(scan[2])), scan[2], atol=1e-2)
    assert measurement.parameters["settings"] == {"seed": 2}
    assert "sigma" not in measurement.parameters
    with pytest.raises(ConfigError, match="above 0 HU"):
        AcquiredCTSimulation(0.0)


def test_ct_is_evaluated_in_hu(synthetic, medinr, tiny_model, tmp_path, smoothed):
    chest = synthetic.phantom((4, 72, 64), "CT", synthetic.affine((1.0, 1.0, 3.0)))
    path = write_nifti(chest, tmp_path / "c1.nii.gz")
    row = ManifestRow(path.name, hash_scan(path), "c1", "v1", "CT", "", "devtest", "CC0", "1:3")
    write_manifest(Manifest((row,), tmp_path), tmp_path / "chests.csv")
    model = tiny_model(tmp_path / "mine.safetensors", "CT")
    fixed = ("--tasks", "acquired_ct_40", "--methods", "input,tv-blind,medinr", "--set", "slices=1")
    found = medinr("evaluate", tmp_path / "chests.csv", "--model", model, *fixed, "--out", tmp_path / "out", "--debug")
    assert found.code == 0
    results = Results.read(tmp_path / "out")
    (case,) = results.cases()
    images = results.images(case)
    body = images["reference"] > -200
    assert (images["input"] - images["reference"])[body].std() == pytest.approx(40.0, rel=0.1)
    errors = {name: np.square(images[name] - images["reference"]).mean() for name in ("input", "TV-blind")}
    assert errors["TV-blind"] < errors["input"] / 2
    # The stand-in for the model halves HU. Blocks of the lowest value stay, since they may be padding.
    np.testing.assert_allclose(images["medinr"][body], images["input"][body] / 2, atol=0.02)
    assert smoothed[0][0].unit == "HU"
    assert results.facts["notes"][0].startswith("Noise was added to image files")


@pytest.mark.parametrize(("settings", "words"), [({"way": "gamma"}, "zero-filled"), ({"noise_level": 0.0}, "above 0")])
def test_settings_that_mean_nothing_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        AcquiredSimulation(**settings)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_blind_methods_alone(name):
    task = load_task(name)
    assert task.kind == ("acquired_ct" if "ct" in name.split("_") else "acquired")
    assert (task.real, task.neighbours) == (False, 8)
    names = choose_methods(task, ())
    assert set(COMPARED) <= set(names)
    assert all(METHODS[one].blind for one in names)
    assert {"TV", "NLM", "plug-and-play", "noisy", "INR-blind"}.isdisjoint(names)
    assert choose_methods(task, ("inr-blind", "tv", "TV-blind")) == ("TV-blind", "INR-blind")


def test_blind_methods_are_for_no_other_task():
    for name in ("denoise_mr_5", "kspace_mr_single_4x", "ct_lowdose"):
        assert not [one for one in choose_methods(load_task(name), ()) if one.endswith("-blind")]


def test_all_single_scan_baselines_have_a_row():
    wanted = {f"{name}-blind" for name, baseline in BASELINES.items() if not baseline.series}
    assert wanted | {"INR-blind"} == {name for name in METHODS if name.endswith("-blind")}


@pytest.mark.parametrize(
    ("name", "extra"), [("NLM-DIPY-blind", "medinr[acquired]"), ("BM4D-blind", "medinr[baselines-noncommercial]")]
)
def test_a_peer_without_its_library_is_left_out_or_refused_by_name(name, extra, monkeypatch):
    monkeypatch.setitem(METHODS, name, replace(METHODS[name], needs="no_such_library"))
    task = load_task("acquired_chi")
    assert name not in choose_methods(task, ())
    with pytest.raises(LibraryError, match=f"{name} needs the package no_such_library") as refused:
        choose_methods(task, (name, "TV-blind"))
    assert extra in str(refused.value)


def test_a_baseline_is_given_the_scan_and_our_estimate(head):
    measurement = simulate("acquired", head, AcquiredSimulation("rician", LEVEL))
    case = _input(measurement, "acquired_rician_10", position=2)
    found = acquired.by_scan_baseline("TV", case)
    noise = case.acquisition.scan_noise
    wanted = BASELINES["TV"].denoise(measurement.data.numpy(), noise)
    np.testing.assert_allclose(found.image.numpy(), wanted[2], rtol=1e-5)
    assert "rician noise, sigma" in found.reason
    assert found.seconds > 0


def test_medinr_denoises_the_slab_once_by_its_own_estimate(head, smoothed):
    measurement = simulate("acquired", head, AcquiredSimulation("rician", LEVEL))
    case = _input(measurement, "acquired_rician_10", model=object(), position=1)
    found = METHODS["medinr"].run(case)
    ((volume, noise),) = smoothed
    np.testing.assert_array_equal(volume.array, measurement.data.numpy())
    assert noise.sigma == case.acquisition.scan_noise.sigma
    assert noise.kind == "rician"
    np.testing.assert_allclose(found.image.numpy(), 0.5 * measurement.data[1].numpy(), rtol=1e-6)


def test_a_blind_method_refuses_other_measurements(head):
    found = acquisition_of(simulate("denoise", head))
    case = MethodInput(found, 0, found.problem(0), load_task("denoise_mr_5").config, lambda _: None, None)
    with pytest.raises(ConfigError, match="as they were acquired"):
        acquired.by_scan_baseline("TV", case)


def test_an_evaluation_scores_blind_methods_against_the_image_without_noise(evaluate, tmp_path, smoothed, monkeypatch):
    seen = []
    real = acquired.by_scan_baseline

    def watch(name, case):
        seen.append(case)
        return real(name, case)

    monkeypatch.setitem(METHODS, "TV-blind", replace(METHODS["TV-blind"], run=lambda case: watch("TV", case)))
    found = evaluate("--tasks", "acquired_rician_10,acquired_zero_filled", "--methods", ",".join(COMPARED), "--debug")
    assert found.code == 0
    results = Results.read(tmp_path / "out")
    assert set(results.table.method) == set(COMPARED)
    assert set(results.table.task) == {"acquired_rician_10", "acquired_zero_filled"}
    assert results.facts["tasks"]["acquired_rician_10"]["kind"] == "acquired"
    assert len(results.cases()) == 2
    for case in results.cases():
        measurement = read_measurement(tmp_path / "out" / "measurements" / f"{case.case}.safetensors")
        # The slice and its neighbours, as far as there are some.
        assert measurement.slice_numbers == (0, 1, 2, 3, 4)
        assert "0.1" not in _text(measurement.parameters["settings"])
        images = results.images(case)
        position = measurement.slice_numbers.index(case.slice)
        np.testing.assert_array_equal(images["input"], measurement.data[position].numpy())
        np.testing.assert_allclose(images["medinr"], images["input"] / 2, rtol=1e-6)
        gain = [np.square(images[name] - images["reference"]).mean() for name in ("input", "TV-blind")]
        assert gain[1] < gain[0]
    assert len(smoothed) == 2
    # No method sees the level that was added.
    assert [case.config.simulation for case in seen] == [AcquiredSimulation()] * 2
    table = results.table[(results.table.metric == "psnr") & (results.table.region == "slice")]
    values = table.set_index(["task", "method"])["value"]
    assert values["acquired_rician_10", "TV-blind"] > values["acquired_rician_10", "input"] + 3
    assert set(results.facts["methods"]["TV-blind"]["settings"]) == {"acquired_rician_10", "acquired_zero_filled"}


def test_a_model_without_a_denoiser_for_scans_is_refused(evaluate):
    found = evaluate("--tasks", "acquired_rician_10", "--methods", "medinr")
    assert found.code == 2
    assert "no denoiser for scans" in found.err
