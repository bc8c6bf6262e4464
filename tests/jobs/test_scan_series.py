"""Volumes of a series are denoised together where they have something in common, and a stopped run goes on."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from medinr.pipelines.denoise import denoise

from medinr.jobs.scan import kept, series
from medinr.jobs.scan.methods import DENOISERS
from medinr.jobs.scan.prepare import open_job
from medinr.jobs.scan.request import ScanRequest
from medinr.jobs.scan.series import plan_series

SIGMA = 20.0
REQUEST = {"sigma": "20", "blend": 1.0, "model": "brain_mr"}


class StoppedError(Exception):
    pass


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Nothing is timed, and the scan is never unlike those of training."""
    monkeypatch.setattr("medinr.jobs.scan.forecast.PIXELS", 8)
    monkeypatch.setattr("medinr.jobs.scan.judge.unlike_training", lambda *_: "")


@pytest.fixture
def truth(synthetic):
    return synthetic.phantom((4, 24, 20), geometry=synthetic.affine((1.0, 1.0, 3.0))).array + 300


@pytest.fixture
def request_for(tmp_path):
    """Writes volumes (t, z, y, x) with Rician noise, and asks for them."""

    def write(volumes, name="fmri_bold"):
        rng = np.random.default_rng(2)
        real, imaginary = SIGMA * rng.standard_normal((2, *volumes.shape))
        path = tmp_path / f"{name}.nii.gz"
        values = np.hypot(volumes + real, imaginary).astype(np.float32)
        nib.save(nib.Nifti1Image(values.T, np.diag([-1.0, 1.0, 3.0, 1.0])), path)
        return ScanRequest(path, tmp_path / f"{name}_out", **REQUEST)

    return write


def job_of(request):
    return open_job(request, DENOISERS, lambda words: None)


def result_of(request):
    values = np.asarray(nib.load(request.out / "denoised.nii.gz").dataobj).T
    return values, json.loads((request.out / "result.json").read_text())


def test_repeats_gain_from_each_other(request_for, truth):
    asked = request_for(np.stack([truth] * 6))
    said = []
    denoise(asked, announce=said.append)
    alone = replace(asked, out=asked.out.with_name("alone"), each_alone=True)
    denoise(alone)
    (together, facts), (one_by_one, others) = result_of(asked), result_of(alone)
    assert np.square(together - truth).mean() < 0.7 * np.square(one_by_one - truth).mean()
    assert abs((together - truth).mean()) < 0.1 * SIGMA
    assert facts["series"]["together"]
    assert facts["series"]["volumes_at_once"] == 6
    assert facts["series"]["variance_left"] < 0.4
    assert any(words.startswith("volumes are denoised together: ") for words in said)
    assert others["series"] == {"together": False, "volumes_at_once": 1, "variance_left": 1.0}
    assert "volumes are denoised one by one: as asked for" in others["notes"]


def test_a_stopped_run_goes_on_to_the_same_result(request_for, truth, monkeypatch):
    monkeypatch.setattr(kept, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(kept, "TIMES_WRITING", 0.0)
    monkeypatch.setattr(series, "MOST_VOLUMES", 5)
    asked = request_for(np.stack([truth] * 9))
    denoise(asked)
    told = []

    def until(last):
        def progress(done, total):
            told.append(done)
            assert total == 4 * 9
            if done >= last:
                raise StoppedError

        return progress

    again = replace(asked, out=asked.out.with_name("again"))
    # Within the filtering of the first group, within a volume, and in the second group.
    for last in (1, 12, 28):
        with pytest.raises(StoppedError):
            denoise(again, progress=until(last))
    assert told == sorted(told[:2]) + told[2:]
    volumes = list((again.out / "work").glob("volume_*"))
    assert len(volumes) >= 4
    denoise(again, progress=until(1000))
    assert told[-1] == 4 * 9
    name = "denoised.nii.gz"
    assert (again.out / name).read_bytes() == (asked.out / name).read_bytes()
    assert not (again.out / "work").exists()


def test_volumes_with_nothing_in_common_are_denoised_one_by_one(request_for):
    rng = np.random.default_rng(3)
    different = (300 + 500 * (rng.random((5, 4, 12, 10)) > 0.5)).repeat(2, 2).repeat(2, 3).astype(np.float32)
    asked = request_for(different)
    denoise(asked)
    _, facts = result_of(asked)
    assert not facts["series"]["together"]
    assert "volumes are denoised one by one: they have too little in common" in facts["notes"]


def test_too_many_bytes_are_said(request_for, truth, monkeypatch):
    job = job_of(request_for(np.stack([truth] * 5)))
    monkeypatch.setattr(series, "MOST_BYTES", 3.5 * 10 * truth.size)
    plan = plan_series(job)
    assert not plan.groups
    assert "of them need more than" in plan.words
    monkeypatch.setattr(series, "MOST_BYTES", 5 * 10 * truth.size)
    plan = plan_series(job)
    assert plan.groups == (range(5),)
    assert 5 * 10 * truth.size < plan.bytes < 1.2e6


@pytest.mark.parametrize(
    ("count", "most", "groups"),
    [
        (4, 64, [range(4)]),
        (9, 5, [range(4), range(4, 9)]),
        (130, 64, [range(43), range(43, 86), range(86, 130)]),
        (5, 4, []),
        (100, 3, []),
    ],
)
def test_groups_are_even_and_large_enough(count, most, groups):
    assert list(series._groups(count, most)) == groups


def test_few_volumes_other_methods_and_doubtful_noise_go_one_by_one(request_for, truth):
    asked = request_for(np.stack([truth] * 4))
    assert plan_series(job_of(asked)).groups
    assert plan_series(job_of(replace(asked, method="inr"))).words == ""
    job = job_of(asked)
    doubtful = replace(job, noise=replace(job.noise, reliable=False))
    assert "could not be found reliably" in plan_series(doubtful).words
    assert plan_series(job_of(request_for(np.stack([truth] * 3), "three_bold"))).words == ""
