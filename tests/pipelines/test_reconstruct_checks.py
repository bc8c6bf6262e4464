"""A reconstruction judges itself: residual, held-out measurements, likeness; and what follows from that."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import medinr as mi
from medinr.config import load_task_config
from medinr.io.measurement import read_measurement, write_measurement
from medinr.io.nifti import read_nifti
from medinr.jobs.reconstruct import checks
from medinr.jobs.reconstruct.checks import held_out_checks
from medinr.jobs.reconstruct.judgement import better_image
from medinr.jobs.reconstruct.prepare import prepare_job
from medinr.jobs.record import SliceRecord
from medinr.jobs.simulated import measure_slices
from medinr.solve.checks import Check
from medinr.solve.solution import Solution

pytestmark = pytest.mark.usefixtures("without_figures")


def _result(out):
    return json.loads((out / "result.json").read_text())


def _checks(out, position=0):
    return {check["name"]: check for check in _result(out)["slices"][position]["checks"]}


def _record(*checks):
    return SliceRecord({}, {}, "", 1, 1.0, (), checks=checks)


def _held(name, own, other):
    return Check(name, own, other, own <= other, "")


@pytest.mark.parametrize(
    ("records", "better"),
    [
        ([_record()], "medinr"),
        ([_record(_held("held_out_direct", 1.0, 2.0), _held("held_out_tv", 1.0, 1.1))], "medinr"),
        ([_record(_held("held_out_direct", 1.0, 0.9), _held("held_out_tv", 1.0, 1.1))], "input"),
        ([_record(_held("held_out_direct", 1.0, 0.9), _held("held_out_tv", 1.0, 0.8))], "TV"),
        # By the mean over slices, not by one of them.
        ([_record(_held("held_out_tv", 1.0, 0.9)), _record(), _record(_held("held_out_tv", 1.0, 2.0))], "medinr"),
    ],
)
def test_the_better_image_is_the_one_that_predicts_better(records, better):
    assert better_image(records) == better


def test_a_reconstruction_of_a_head_predicts_better_than_no_model(synthetic):
    config = load_task_config("kspace", ["plug_and_play.iterations=10", "total_variation.weight=0"])
    scan = synthetic.phantom((1, 64, 64), geometry=synthetic.affine((3.0, 3.0, 3.0)))
    measurement, _ = measure_slices(scan, config, [0])
    (check,) = held_out_checks(prepare_job(measurement, config), 0)
    assert check.name == "held_out_direct"
    assert check.passed
    assert check.value < 0.8 * check.limit


def test_wrong_coil_sensitivities_are_told(reconstruct, tmp_path):
    coils = ("--set", "simulation.coils=4")
    assert reconstruct("kspace", tmp_path / "right", *coils).code == 0
    assert _checks(tmp_path / "right")["residual"]["passed"]
    measurement = read_measurement(tmp_path / "right" / "measurement.safetensors")
    maps = measurement.arrays["coil_maps"]
    wrong = replace(measurement, arrays={**measurement.arrays, "coil_maps": maps.flip(-3).conj().resolve_conj()})
    write_measurement(wrong, tmp_path / "wrong.safetensors")
    found = reconstruct("kspace", tmp_path / "out", "--strict", source=tmp_path / "wrong.safetensors")
    assert found.code == 3
    assert not _checks(tmp_path / "out")["residual"]["passed"]
    assert "coil sensitivities, sampling, geometry or noise level are wrong" in found.out
    assert (tmp_path / "out" / "reconstruction.nii.gz").exists()


def test_strict_is_quiet_where_all_checks_pass(reconstruct, tmp_path, monkeypatch):
    monkeypatch.setattr("medinr.jobs.reconstruct.checks.held_out_checks", lambda *_: ())
    assert reconstruct("kspace", tmp_path, "--strict").code == 0
    assert _result(tmp_path)["warnings"] == []


def test_what_predicts_better_is_named_and_takes_the_place_on_request(reconstruct, tmp_path, monkeypatch):
    failed = Check("held_out_tv", 2.0, 1.0, False, "TV is better.")
    monkeypatch.setattr("medinr.jobs.reconstruct.checks.held_out_checks", lambda *_: (failed,))
    told = reconstruct("kspace", tmp_path / "told", "--strict")
    assert told.code == 3
    assert "Warning: slice 1: TV is better." in told.out
    assert "--fallback writes that image instead" in told.out
    replaced = reconstruct("kspace", tmp_path / "replaced", "--fallback")
    assert replaced.code == 0
    assert "total variation was written in place of medinr's image" in replaced.out
    only = reconstruct("kspace", tmp_path / "only", method="tv")
    assert only.code == 0
    assert [_result(tmp_path / name)["image"] for name in ("told", "replaced")] == ["medinr", "TV"]
    images = [
        read_nifti(tmp_path / name / "reconstruction.nii.gz", modality="MR") for name in ("told", "replaced", "only")
    ]
    np.testing.assert_allclose(images[1].array, images[2].array, rtol=1e-5)
    assert np.abs(images[0].array - images[1].array).max() > 1


def test_checks_survive_an_interruption(reconstruct, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert reconstruct("kspace", out).code == 0
    before = _checks(out)
    (out / "result.json").unlink()

    def fail(*_):
        raise AssertionError("checked again")

    monkeypatch.setattr("medinr.jobs.reconstruct.records.checks_of_slice", fail)
    assert reconstruct("kspace", out).code == 0
    assert _checks(out) == before
    assert {"residual", "held_out_direct", "held_out_tv"} <= before.keys()


@pytest.mark.parametrize(("count", "predicted"), [(1, [0]), (7, [3]), (8, [2, 6]), (20, [3, 10, 16])])
def test_of_many_slices_a_few_are_predicted(synthetic, monkeypatch, count, predicted):
    config = load_task_config("kspace", ["plug_and_play.iterations=1", "total_variation.weight=0"])
    scan = synthetic.phantom((count, 24, 20), geometry=synthetic.affine((3.0, 3.0, 3.0)))
    measurement, _ = measure_slices(scan, config, list(range(count)))
    job = prepare_job(measurement, config)
    monkeypatch.setattr(checks, "held_out_checks", lambda *_: (Check("held_out_direct", 1.0, 2.0, True, ""),))
    solution = Solution(torch.zeros(24, 20), "", 1, 0.0, 1.0)
    found = [len(checks.checks_of_slice(job, position, solution)) for position in range(count)]
    assert [position for position, number in enumerate(found) if number == 2] == predicted


def test_where_no_line_can_be_spared_nothing_is_predicted(synthetic):
    config = load_task_config("kspace", ["plug_and_play.iterations=1", "simulation.centre_fraction=1"])
    scan = synthetic.phantom((1, 24, 20), geometry=synthetic.affine((3.0, 3.0, 3.0)))
    config = replace(config, simulation=replace(config.simulation, acceleration=1.0))
    measurement, _ = measure_slices(scan, config, [0])
    assert held_out_checks(prepare_job(measurement, config), 0) == ()


def test_in_python_a_failed_check_is_a_warning():
    operator = mi.operators.downsampling((24, 20), (1.0, 1.0), 2)
    data = torch.rand(operator.range.shape, generator=torch.Generator().manual_seed(0))
    options = {"operator": operator, "method": "tv", "settings": {"total_variation": {"weight": 1e3, "iterations": 50}}}
    with pytest.warns(UserWarning, match="times the noise of the measurement unexplained, where 2 times are the most"):
        (failed,) = mi.reconstruct(data, noise=1e-3, **options).checks
    (passed,) = mi.reconstruct(data, noise=1.0, **options).checks
    assert [failed.passed, passed.passed] == [False, True]
