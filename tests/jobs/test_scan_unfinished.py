"""A run that is stopped within a volume goes on there, and gives the same bits as one that was not."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from medinr.pipelines.denoise import denoise
from medinr.pipelines.superres import superres

from medinr.io.choice import ScanChoice
from medinr.io.nifti import write_nifti
from medinr.jobs.scan import kept
from medinr.jobs.scan.kept import KeptVolumes
from medinr.jobs.scan.methods import DENOISERS
from medinr.jobs.scan.prepare import open_job
from medinr.jobs.scan.request import ScanRequest
from medinr.models.checkpoint import load_model
from medinr.noise.scan_noise import ScanNoise
from medinr.solve.denoise_scan import denoise_scan
from medinr.solve.sharpen_grid import grid_for
from medinr.solve.sharpen_scan import sharpen_scan
from medinr.solve.sharpen_settings import SharpenSettings

NOISE = ScanNoise("gaussian", 20.0)
REQUEST = {"sigma": "20", "blend": 1.0, "model": "brain_mr"}


class StoppedError(Exception):
    pass


def stopping_at(last=None):
    """A progress callback that stops the run when so much is done, and what it was told."""
    told = []

    def progress(done, total):
        told.append(done)
        if last is not None and done >= last:
            raise StoppedError

    return progress, told


@pytest.fixture
def always(monkeypatch):
    """Every state is written."""
    monkeypatch.setattr(kept, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(kept, "TIMES_WRITING", 0.0)


@pytest.fixture
def head(synthetic):
    return synthetic.phantom((5, 20, 18), geometry=synthetic.affine((1.0, 1.0, 3.0)))


@pytest.fixture
def small(monkeypatch):
    """Few iterations, and nothing is timed."""
    settings = SharpenSettings.__init__
    monkeypatch.setattr(SharpenSettings, "__init__", lambda self, iterations=6: settings(self, iterations))
    monkeypatch.setattr("medinr.jobs.scan.forecast.PIXELS", 8)
    monkeypatch.setattr("medinr.jobs.scan.judge.unlike_training", lambda *_: "")


def real(scan):
    return scan


def as_complex(scan):
    return scan.with_array((scan.array * np.exp(1j * scan.array / 900)).astype(np.complex64))


@pytest.mark.parametrize(("kind", "stops"), [(real, (1,)), (real, (4,)), (as_complex, (1, 3))])
def test_slices_that_are_done_are_not_done_again(head, always, tmp_path, kind, stops):
    scan, prior, work = kind(head), load_model("brain_mr").prior, KeptVolumes(tmp_path, "a")
    whole = denoise_scan(scan, NOISE, prior, orientations=1)
    for stop in stops:
        progress, _ = stopping_at(stop)
        with pytest.raises(StoppedError):
            denoise_scan(scan, NOISE, prior, orientations=1, progress=progress, unfinished=work.unfinished(0))
    progress, told = stopping_at()
    found = denoise_scan(scan, NOISE, prior, orientations=1, progress=progress, unfinished=work.unfinished(0))
    assert found.tobytes() == whole.tobytes()
    assert told[0] > stops[-1]


@pytest.mark.parametrize(("kind", "stops"), [(real, (1,)), (real, (5,)), (real, (6,)), (as_complex, (2, 3))])
def test_iterations_that_are_done_are_not_done_again(head, always, tmp_path, kind, stops):
    scan, prior, work = kind(head), load_model("brain_mr").prior, KeptVolumes(tmp_path, "a")
    settings, grid = SharpenSettings(iterations=6), grid_for(scan, factor=(1.0, 1.0, 3.0))
    whole = sharpen_scan(scan, grid, NOISE, prior, settings=settings)
    for stop in stops:
        progress, _ = stopping_at(stop)
        with pytest.raises(StoppedError):
            sharpen_scan(scan, grid, NOISE, prior, settings=settings, progress=progress, unfinished=work.unfinished(0))
    progress, told = stopping_at()
    found = sharpen_scan(scan, grid, NOISE, prior, settings=settings, progress=progress, unfinished=work.unfinished(0))
    assert found.volume.array.tobytes() == whole.volume.array.tobytes()
    assert found.residual == whole.residual
    assert told[0] == min(stops[-1], 5) + 1


@pytest.mark.parametrize(
    ("verb", "options", "name", "stop"),
    [(denoise, {}, "denoised", 3), (superres, {"factor": (1.0, 1.0, 2.0)}, "sharpened", 50)],
    ids=["denoise", "superres"],
)
def test_a_command_goes_on_within_its_volume(head, always, small, tmp_path, verb, options, name, stop):
    source = write_nifti(head, tmp_path / "head_T1w.nii.gz")
    one = ScanRequest(source, tmp_path / "one", **REQUEST)
    verb(one, **options)
    two = replace(one, out=tmp_path / "two")
    progress, _ = stopping_at(stop)
    with pytest.raises(StoppedError):
        verb(two, **options, progress=progress)
    state = tmp_path / "two" / "work" / "unfinished_volume_0000.safetensors"
    assert state.is_file()
    progress, told = stopping_at()
    verb(two, **options, progress=progress)
    assert told[0] > stop
    assert not (tmp_path / "two" / "work").exists()
    result = f"{name}.nii.gz"
    assert (tmp_path / "two" / result).read_bytes() == (tmp_path / "one" / result).read_bytes()


def test_other_settings_and_other_scans_start_again(head, small, tmp_path):
    """Their states are not those of this run."""
    series = np.stack([head.array.T, head.array.T + 1], -1)
    nib.save(nib.Nifti1Image(series, head.affine), tmp_path / "head_T1w.nii.gz")
    asked = ScanRequest(tmp_path / "head_T1w.nii.gz", tmp_path / "out", choice=ScanChoice(index=0), **REQUEST)

    def fingerprint(**changes):
        return open_job(replace(asked, **changes), DENOISERS, lambda words: None).kept({}).fingerprint

    mask = write_nifti(head.with_array((head.array > 500).astype(np.float32)), tmp_path / "mask.nii.gz")
    several = ({"sigma": "25"}, {"blend": 0.5}, {"slices": (0, 1, 2)}, {"choice": ScanChoice(index=1)}, {"mask": mask})
    found = {fingerprint(**changes) for changes in ({}, *several)}
    assert len(found) == 1 + len(several)
    assert fingerprint(out=tmp_path / "elsewhere") in found


def test_a_state_is_written_seldom_and_removed_with_its_volume(monkeypatch, tmp_path):
    now = [0.0]
    monkeypatch.setattr(kept.time, "monotonic", lambda: now[0])
    work, values = KeptVolumes(tmp_path / "work", "a"), np.ones((2, 3, 4), np.float32)
    state = work.unfinished(0)
    for now[0], done in ((19.0, 1), (21.0, 2), (40.0, 3)):
        state.save(done, done * values)
    assert state.load()[0] == 2
    np.testing.assert_array_equal(state.load()[1], 2 * values)
    assert KeptVolumes(tmp_path / "work", "b").unfinished(0).load() is None
    assert work.unfinished(1).load() is None
    now[0] = 41.5
    state.save(3, values)
    assert state.load()[0] == 3
    (tmp_path / "work" / ".0a1b2c3d-unfinished_volume_0000.safetensors").write_bytes(b"killed")
    work.save(0, values, {})
    assert state.load() is None
    work.remove()
    assert not (tmp_path / "work").exists()


def test_a_state_that_takes_long_to_write_is_written_more_seldom(monkeypatch, tmp_path):
    now = [100.0]

    def slowly(*_):
        now[0] += 2.0
        written.append(now[0])

    written = []
    monkeypatch.setattr(kept.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(kept, "_write", slowly)
    state = KeptVolumes(tmp_path, "a").unfinished(0)
    for now[0] in (121.0, 150.0, 221.0, 224.0):
        state.save(1, np.ones((1, 1, 1), np.float32))
    assert written == [123.0, 226.0]
