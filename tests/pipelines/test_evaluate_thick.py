"""Evaluation in which only the file of a scan of thick slices is given: neither their profile nor the noise."""

import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from medinr.acquisition.simulation import simulate
from medinr.acquisition.ways import acquisition_of
from medinr.config.protocol import load_task
from medinr.errors import ConfigError, LibraryError
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.measurement import read_measurement
from medinr.io.nifti import write_nifti
from medinr.jobs.evaluate.results import Results
from medinr.jobs.methods import eclare
from medinr.jobs.methods.input import MethodInput
from medinr.jobs.methods.method import UnfinishedError
from medinr.jobs.methods.registry import METHODS, choose_methods, unavailable
from medinr.jobs.scan.methods import SHARPENERS
from medinr.jobs.simulated import measure_slices, measured_slices
from medinr.models.checkpoint import load_model_for
from medinr.solve.sharpen_grid import TargetGrid

#: Stands in for ECLARE: repeats every slice, as many times as the voxels become cubic.
PROGRAM = """\
import sys, time
from pathlib import Path
import nibabel as nib, numpy as np
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
mode = {mode!r}
if mode == "fails": sys.exit("no memory left")
if mode == "hangs": time.sleep(60)
scan = nib.load(given["--in-fpath"])
affine, times = scan.affine.copy(), round(scan.header.get_zooms()[2])
affine[:3, 3] -= affine[:3, 2] * (times - 1) / (2 * times)
affine[:3, 2] /= times
values = np.repeat(scan.get_fdata(dtype=np.float32), times, axis=2)
out = Path(given["--out-dir"])
out.mkdir()
nib.save(nib.Nifti1Image(values, affine), out / "scan_eclare.nii.gz")
told = [f"{{name}} {{value}}" for name, value in given.items() if name not in ("--in-fpath", "--out-dir")]
with open({calls!r}, "a") as log: print(scan.shape, *told, file=log)
"""


@pytest.fixture
def head(synthetic):
    return synthetic.phantom((48, 56, 52), geometry=synthetic.affine((1.0, 1.0, 1.0)))


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Sets the command of ECLARE to one that works, fails or hangs; returns the file of its calls."""

    def use(mode="works", *options):
        path, calls = tmp_path / "program.py", tmp_path / "calls"
        path.write_text(PROGRAM.format(mode=mode, calls=str(calls)))
        monkeypatch.setenv("MEDINR_ECLARE", shlex.join([sys.executable, str(path), *options]))
        return calls

    monkeypatch.delenv("MEDINR_ECLARE", raising=False)
    return use


@pytest.fixture
def sharpened(monkeypatch):
    """What takes the place of the model's prior: the scan, grid and noise that it was given, in the order of calls."""
    given = []

    def sharpen(volume, grid, noise, model, progress=None, *_):
        given.append((volume, grid, noise))
        target: TargetGrid = grid.target
        number = np.arange(target.shape[1], dtype=np.float32)[:, None]
        found = replace(volume, array=np.zeros(target.shape, np.float32) + number, affine=target.affine)
        return type("Sharpened", (), {"volume": found, "residual": 0.5})

    monkeypatch.setitem(SHARPENERS, "plug-and-play", sharpen)
    return given


def _case(head, folder, model=None, position=20):
    task = load_task("acquired_thick_4")
    planes = measured_slices(head, task.config, "head")
    shown = [number for number, plane in enumerate(planes.array) if plane.any()]
    measurement, reference = measure_slices(planes, task.config, shown)
    found = acquisition_of(measurement)
    config = replace(task.config, simulation=None)
    case = MethodInput(found, position, found.problem(position), config, lambda _: model, folder)
    return case, reference.images[position]


def test_tasks_have_their_methods_alone(program):
    for name, thickness in (("acquired_thick_4", 4.0), ("acquired_thick_6", 6.0)):
        task = load_task(name)
        assert task.kind == "acquired_thick"
        assert (task.config.simulation.thickness, task.config.simulation.gap) == (thickness, 1.0)
        assert choose_methods(task, ()) == ("B-spline", "linear", "medinr")
        assert unavailable(task) == ("ECLARE",)
    assert choose_methods(task, ("inr-thick", "tv", "linear")) == ("linear", "INR-thick")
    with pytest.raises(LibraryError, match="MEDINR_ECLARE names no command"):
        choose_methods(task, ("eclare",))
    program()
    assert choose_methods(task, ()) == ("B-spline", "linear", "ECLARE", "medinr")
    assert not {"linear", "B-spline", "ECLARE"} & set(choose_methods(load_task("acquired_rician_5"), ()))


def test_a_task_of_ones_own_has_the_whole_scan_too(tmp_path):
    path = tmp_path / "thin.yaml"
    path.write_text("task: acquired_thick\nmodel: random\nsimulation: {thickness: 3.0, gap: 0.0, band: 0}\n")
    task = load_task(str(path))
    assert task.neighbours == load_task("acquired_thick_4").neighbours > 1000


def test_medinr_finds_the_noise_in_the_whole_scan_and_sharpens_a_band(head, tmp_path, sharpened, tiny_model):
    model = load_model_for(str(tiny_model(tmp_path / "mine.safetensors", "MR")), "MR")
    case, _ = _case(head, tmp_path, model)
    found = METHODS["medinr"].run(case)
    ((volume, grid, noise),) = sharpened
    whole = case.acquisition.scan
    np.testing.assert_array_equal(volume.array, whole.array[:, 19:22])
    np.testing.assert_allclose(volume.affine @ (0, 0, 0, 1), whole.affine @ (0, 19, 0, 1))
    # Nothing is told of the thickness: slices count as thick as they are apart.
    assert grid.thickness == pytest.approx(5.0)
    assert volume.provenance.facts.thickness is None
    assert grid.target.shape == (45, 3, 52)
    assert noise.sigma == pytest.approx(case.acquisition.noise.sigma)
    assert found.image.shape == (45, 52)
    # The middle of the band is given, where it is treated at all.
    assert set(np.unique(found.image)) <= {0.0, 1.0}
    assert (found.image == 1).float().mean() > 0.4
    assert "residual 0.50" in found.reason


def test_eclare_is_run_once_a_scan_on_all_of_it_and_placed_on_the_plane(head, tmp_path, program):
    calls = program()
    case, reference = _case(head, tmp_path / "trained")
    found = METHODS["ECLARE"].run(case)
    other = METHODS["ECLARE"].run(replace(case, position=23))
    told = f"--n-patches {eclare.PATCHES} --batch-size {eclare.BATCH} --relative-slice-thickness 5.000"
    assert calls.read_text().splitlines() == [f"(52, 50, 9) {told}"]
    assert found.reason == f"limited by {told}"
    assert found.seconds > 0
    assert other.seconds == found.seconds
    slices = case.acquisition.measurement.data[20].numpy()
    np.testing.assert_allclose(found.image.numpy()[2::5], slices, rtol=0.02, atol=8)
    assert np.abs(found.image.numpy() - reference).mean() < 0.1 * reference.mean()
    assert not list((tmp_path / "trained").glob("*.claim"))


def test_eclare_is_limited_without_a_graphics_processor_where_its_command_does_not_say(head, tmp_path, program):
    case, _ = _case(head, tmp_path / "trained")
    for options in (("--gpu-id", "0"), ("--n-patches", "50"), ("--relative-slice-thickness", "4")):
        calls = program("works", *options)
        found = METHODS["ECLARE"].run(case)
        assert ("limited" in found.reason) == (options[0] != "--gpu-id")
        assert options[0] not in found.reason
    # The same scan with other options is run again.
    told = [line.partition(") ")[2] for line in calls.read_text().splitlines()]
    assert told == [
        "--gpu-id 0",
        f"--n-patches 50 --batch-size {eclare.BATCH} --relative-slice-thickness 5.000",
        f"--relative-slice-thickness 4 --n-patches {eclare.PATCHES} --batch-size {eclare.BATCH}",
    ]
    assert eclare.limits(["run-eclare", "--gpu-id=1"], case.acquisition.scan) == []


def test_the_thickness_told_to_eclare_is_in_finest_pixels(synthetic):
    scan = synthetic.phantom((6, 8, 10), geometry=synthetic.affine((0.9, 3.0, 4.5)))
    options = eclare.limits([], scan)
    assert options[options.index("--relative-slice-thickness") + 1] == "5.000"


@pytest.mark.parametrize("command", ["fails", "absent"])
def test_a_program_that_does_not_run_is_an_error_in_words(head, tmp_path, program, monkeypatch, command):
    program("fails")
    words = r"exit code 1 and no result\. It said: no memory left"
    if command == "absent":
        monkeypatch.setenv("MEDINR_ECLARE", str(tmp_path / "nothing"))
        words = "cannot be run"
    case, _ = _case(head, tmp_path)
    with pytest.raises(LibraryError, match=words):
        METHODS["ECLARE"].run(case)


def test_a_program_that_takes_too_long_is_stopped_and_not_tried_again(head, tmp_path, program, monkeypatch):
    program("hangs")
    monkeypatch.setattr(eclare, "LIMIT_SECONDS", 0.5)
    case, _ = _case(head, tmp_path)
    started = time.perf_counter()
    for _ in range(2):
        with pytest.raises(UnfinishedError, match="stopped after"):
            METHODS["ECLARE"].run(case)
    assert time.perf_counter() - started < 20


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="process groups are needed")
def test_the_program_ends_when_the_evaluation_is_ended(tmp_path):
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = f"import sys; from medinr.jobs.methods.eclare import _code; _code([sys.executable, '-c', {child!r}], 1)"
    evaluation = subprocess.Popen([sys.executable, "-c", code])
    path = tmp_path / "pid"
    until = time.perf_counter() + 60
    while not (path.exists() and path.read_text()):
        assert time.perf_counter() < until
        time.sleep(0.05)
    time.sleep(0.2)
    evaluation.terminate()
    assert evaluation.wait(20) == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)


def test_methods_refuse_other_measurements(synthetic):
    found = acquisition_of(simulate("denoise", synthetic.phantom()))
    case = MethodInput(found, 0, found.problem(0), load_task("denoise_mr_5").config, lambda _: None, None)
    for name in ("linear", "ECLARE", "INR-thick"):
        with pytest.raises(ConfigError, match="thick slices"):
            METHODS[name].run(case)


def test_an_evaluation_scores_planes_across_the_slices(
    head, synthetic, medinr, tiny_model, tmp_path, sharpened, program, monkeypatch
):
    coarse = synthetic.phantom((4, 20, 18), geometry=synthetic.affine((2.5, 2.5, 3.0)))
    rows = []
    for subject, scan in (("s1", head), ("s2", coarse)):
        path = write_nifti(scan, tmp_path / f"{subject}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), subject, "v1", "MR", "T1", "devtest", "CC0", ""))
    write_manifest(Manifest(tuple(rows), tmp_path), tmp_path / "heads.csv")
    model = tiny_model(tmp_path / "mine.safetensors", "MR")
    program("hangs")
    monkeypatch.setattr(eclare, "LIMIT_SECONDS", 0.5)
    out = tmp_path / "out"
    fixed = ("--tasks", "acquired_thick_4", "--model", model, "--set", "slices=2", "--out", out)
    found = medinr("evaluate", tmp_path / "heads.csv", *fixed, "--debug")
    assert found.code == 0
    results = Results.read(out)
    # The scan that is too coarse to be a reference is left out, and what did not finish has no numbers.
    assert set(results.table.subject) == {"s1"}
    assert set(results.table.method) == {"B-spline", "linear", "medinr"}
    notes = " ".join(results.facts["notes"])
    assert "ECLARE has no result for acquired_thick_4" in notes
    assert "no method is told their profile" in notes
    assert "Noise was added" not in notes
    cases = results.cases()
    assert len(cases) == 2
    for case in cases:
        measurement = read_measurement(out / "measurements" / f"{case.case}.safetensors")
        assert measurement.data.shape == (50, 9, 52)
        assert set(measurement.parameters["settings"]) == {"seed"}
        images = results.images(case)
        assert set(images) == {"reference", "B-spline", "linear", "medinr"}
        assert {image.shape for image in images.values()} == {(45, 52)}
        # Coronal planes from the middle half, those of the scan itself: no noise was added.
        assert 14 <= case.slice < 42
        plane = head.array[:, case.slice].astype(np.float32)
        same = [np.array_equal(images["reference"], plane[a : a + 45][::step]) for a in range(4) for step in (1, -1)]
        assert any(same)
    table = results.table[(results.table.metric == "psnr") & (results.table.region == "slice")]
    values = table.groupby("method")["value"].mean()
    assert values["B-spline"] > 20
    # Run again, nothing is tried anew.
    before = len(sharpened)
    assert medinr("evaluate", tmp_path / "heads.csv", *fixed).code == 0
    assert len(sharpened) == before == 2
