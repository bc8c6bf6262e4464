import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from medinr.config.protocol import PROTOCOL, load_task
from medinr.errors import LibraryError
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, read_manifest, write_manifest
from medinr.io.measurement import read_measurement
from medinr.io.nifti import write_nifti
from medinr.jobs.evaluate.results import Results
from medinr.jobs.evaluate.runner import Runner
from medinr.jobs.methods.registry import METHODS, choose_methods
from medinr.metrics.image_quality import CORRECTED, psnr
from medinr.operators import Fourier

TASK = """\
task: denoise
model: {model}
plug_and_play: {{iterations: 2}}
total_variation: {{weight: 1.0, iterations: 5}}
"""
#: Of the network method, where it is named.
NETWORK = "method: inr\nnetwork: {image_domain: {passes: 1}, refinement_iterations: 2}\n"
BM3D = ("BM3D",) if METHODS["BM3D"].available else ()
COMPARED = ("noisy", "NLM", *BM3D, "TV", "TGV", "wavelet", "plug-and-play", "medinr")
#: Of a slice: six metrics in two regions, and the residual of the measurement.
SCORES = 13
TIMES = ["seconds", "peak_memory_mb"]


@pytest.fixture
def folder(synthetic, tiny_model, tmp_path):
    """A manifest of two people, a model that has seen neither, and the configuration of an evaluation."""
    rows = []
    for subject in ("s1", "s2"):
        path = write_nifti(synthetic.phantom((4, 20, 18), seed=len(rows)), tmp_path / f"{subject}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), subject, "v1", "MR", "T1", "devtest", "CC0", "1:4"))
    write_manifest(Manifest(tuple(rows), tmp_path), tmp_path / "heads.csv")
    tiny_model(tmp_path / "mine.safetensors", "MR")
    (tmp_path / "task.yaml").write_text(TASK.format(model=tmp_path / "mine.safetensors"))
    (tmp_path / "evaluate.yaml").write_text("tasks: [task.yaml]\nslices: 2\n")
    return tmp_path


@pytest.fixture
def evaluate(medinr, folder):
    def run(*more, out="out"):
        return medinr("evaluate", folder / "heads.csv", folder / "evaluate.yaml", "--out", folder / out, *more)

    return run


def _table(folder, out="out") -> pd.DataFrame:
    return Results.read(folder / out).table


def test_every_method_slice_and_scan_is_scored(evaluate, folder):
    found = evaluate("--debug")
    assert found.code == 0
    results = Results.read(folder / "out")
    rows = results.table
    regrets = rows[rows["metric"] == "regret"]
    assert sorted(regrets["method"]) == ["medinr"] * 4 + ["plug-and-play"] * 4  # those that go through images
    assert len(rows) - len(regrets) == len(COMPARED) * 2 * 2 * SCORES
    assert set(rows["method"]) == set(COMPARED)
    assert set(rows["subject"]) == {"s1", "s2"}
    # Two slices of those that the manifest names.
    assert set(rows["slice"]) <= {1, 2, 3}
    assert len(rows[["scan", "slice"]].drop_duplicates()) == 2 * 2
    psnr = rows.loc[rows["metric"] == "psnr"]
    assert psnr["value"].between(5, 60).all()
    assert (rows["stopped_at"].notna() == rows["method"].isin(["medinr", "plug-and-play"])).all()
    assert (rows["seconds"] > 0).all()
    assert (rows["peak_memory_mb"] > 50).all()
    assert rows.groupby("method")["settings_hash"].nunique().eq(1).all()
    assert f"1/{4 * len(COMPARED)}" in found.out
    assert f"{4 * len(COMPARED)}/{4 * len(COMPARED)}" in found.out
    assert "results.csv" in found.out
    assert "not decided by these 2 patients" in found.out


@pytest.mark.parametrize("method", ["medinr", "INR"])
def test_the_folder_is_what_the_reader_reads(evaluate, folder, method):
    if method == "INR":
        (folder / "task.yaml").write_text((folder / "task.yaml").read_text() + NETWORK)
    assert evaluate("--methods", f"TV,{method}").code == 0
    results = Results.read(folder / "out")
    assert results.facts["tasks"]["task"]["kind"] == "denoise"
    assert results.facts["tasks"]["task"]["unit"] == "a.u."
    assert list(results.facts["methods"]) == ["TV", method]
    assert any("magnitude images" in note for note in results.facts["notes"])
    cases = results.cases()
    assert len(cases) == 4
    case = cases[0]
    assert case.scan.startswith("s1_v1_T1_")
    assert set(case.curves) == {method}
    curve = case.curves[method]
    assert len(curve["seconds"]) == len(curve["psnr"]) == len(curve["residual"]) > 1
    images = results.images(case)
    assert set(images) == {"reference", "TV", method}
    assert images["reference"].shape == images[method].shape
    last = results.table.query("scan == @case.scan and slice == @case.slice")
    last = last[(last["method"] == method) & (last["metric"] == "psnr") & (last["region"] == "slice")]
    assert curve["psnr"][-1] == pytest.approx(last["value"].item())
    regret = results.table.query("metric == 'regret' and scan == @case.scan and slice == @case.slice")
    assert list(regret["method"]) == [method]
    assert regret["value"].item() == pytest.approx(max(curve["psnr"]) - curve["psnr"][-1])
    measurement = read_measurement(folder / "out" / "measurements" / f"{case.case}.safetensors")
    assert measurement.slice_numbers == (case.slice,)
    assert measurement.parameters["simulated"]
    text = (folder / "out" / "evaluation.json").read_text() + (folder / "out" / "results.csv").read_text()
    assert "s1.nii" not in text


def test_every_slice_has_its_own_noise_and_all_methods_the_same(evaluate, folder):
    assert evaluate("--methods", "noisy").code == 0
    results = Results.read(folder / "out")
    seeds, noise = set(), []
    for case in results.cases():
        measurement = read_measurement(folder / "out" / "measurements" / f"{case.case}.safetensors")
        seeds.add(measurement.parameters["seed"])
        images = results.images(case)
        np.testing.assert_array_equal(images["noisy"], measurement.data[0].numpy())
        noise.append((images["noisy"] - images["reference"]).ravel())
    assert len(seeds) == 4
    assert abs(np.corrcoef(noise)[0, 1]) < 0.5


def test_an_interrupted_evaluation_continues_with_the_job_it_was_at(evaluate, folder, monkeypatch):
    real, done = Runner.run, []

    def limited(self, job):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(job)
        return real(self, job)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "run", limited)
        assert evaluate("--methods", "noisy,TV").code == 130
    # What was done can be read already.
    before = _table(folder)
    assert len(before) == 5 * SCORES
    assert evaluate("--methods", "noisy,TV").code == 0
    after = _table(folder)
    assert len(after) == 8 * SCORES
    # Not one number was made anew: even the times are the same.
    kept = before.merge(after, how="inner", on=list(before.columns))
    assert len(kept) == len(before)
    again = evaluate("--methods", "noisy,TV")
    assert "8/8" not in again.out
    pd.testing.assert_frame_equal(_table(folder), after)


def test_methods_and_tasks_are_added_to_what_is_there(evaluate, folder):
    assert evaluate("--methods", "noisy").code == 0
    first = _table(folder)
    assert evaluate("--methods", "tv").code == 0
    assert evaluate("--tasks", "denoise_mr_10", "--methods", "noisy").code == 0
    results = Results.read(folder / "out")
    assert set(results.table["task"]) == {"task", "denoise_mr_10"} == set(results.facts["tasks"])
    assert set(results.facts["methods"]) == {"noisy", "TV"}
    assert len(results.table) == 3 * len(first)


def test_other_settings_are_refused_and_begun_anew_when_asked(evaluate, folder):
    assert evaluate("--methods", "noisy,TV").code == 0
    text = (folder / "task.yaml").read_text()
    (folder / "task.yaml").write_text(text.replace("weight: 1.0", "weight: 0.0"))
    for refused in (evaluate(), evaluate("--set", "seed=3")):
        assert refused.code == 2
        assert "other settings" in refused.err
    assert set(_table(folder)["method"]) == {"noisy", "TV"}
    assert evaluate("--overwrite", "--methods", "noisy,TV").code == 0
    assert set(_table(folder)["method"]) == {"noisy"}


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"subjects": ["s2"]}, "subject s2 is among its training subjects"),
        ({"hashes": None}, "this very scan is among"),
    ],
)
def test_what_the_model_has_seen_is_refused_before_anything_is_computed(evaluate, folder, tiny_model, seen, words):
    if "hashes" in seen:
        seen = {"hashes": [hash_scan(folder / "s2.nii.gz")]}
    tiny_model(folder / "mine.safetensors", "MR", **seen)
    found = evaluate("--require", "psnr[task] > nonsense")
    assert found.code == 2
    assert words in found.err
    assert "s2.nii.gz cannot be evaluated with model 'mine'" in found.err
    assert not (folder / "out").exists()
    # Methods that learned nothing may see anybody.
    assert evaluate("--methods", "noisy").code == 0


def test_nothing_to_evaluate(evaluate):
    found = evaluate("--set", "split=test")
    assert found.code == 2
    assert "no scan in split 'test' for denoise" in found.err
    assert evaluate("--set", "contrasts=[T2]").code == 2
    assert "There is no method 'BM5D'" in evaluate("--methods", "BM5D").err
    assert "suits none of the methods FBP" in evaluate("--methods", "FBP").err
    assert "There is no task 'denoise_pet'" in evaluate("--tasks", "denoise_pet").err


def test_a_scan_that_was_changed_is_refused(evaluate, folder, synthetic):
    write_nifti(synthetic.phantom((4, 20, 18), seed=7), folder / "s2.nii.gz", overwrite=True)
    found = evaluate()
    assert found.code == 2
    assert "SHA-256" in found.err


def test_claims_decide_the_exit_code(evaluate, folder):
    wrong = evaluate("--methods", "noisy,TV", "--require", "psnr[task] >= tv + 1.0")
    assert wrong.code == 2
    assert "not evaluated with 'medinr'" in wrong.err
    assert not (folder / "out").exists()
    held = evaluate("--methods", "noisy,TV", "--require", "psnr[task, TV] > noisy - 50")
    assert held.code == 0
    assert "psnr[task, TV] > noisy - 50: holds, TV has" in held.out
    claims = ("--require", "ssim[task, TV] >= 0", "--require", "psnr[task, TV] >= noisy + 90.0")
    short = evaluate("--methods", "noisy,TV", *claims)
    assert short.code == 1
    assert "psnr[task, TV] >= noisy + 90.0: falls short, TV has" in short.out
    assert "2 patients" in short.out.rsplit("falls short", 1)[1]


def test_a_model_of_ones_own_takes_the_place_of_the_tasks(evaluate, folder, tiny_model):
    other = tiny_model(folder / "other.safetensors", "MR", seed=7)
    chest = tiny_model(folder / "chest.safetensors", "CT", seed=7)
    methods = ("--methods", "noisy,plug-and-play", "--set", "slices=1", "--set", "curves=false")
    assert evaluate("--model", chest, "--model", other, *methods, out="own").code == 0
    assert evaluate("--model", chest, *methods, out="tasks").code == 0
    facts = [
        json.loads((folder / name / "evaluation.json").read_text())["tasks"]["task"]["facts"]
        for name in ("own", "tasks")
    ]
    assert [found["model"] for found in facts] == ["other.safetensors", "mine.safetensors"]
    own, tasks = (
        _table(folder, name).set_index(["scan", "slice", "method", "region", "metric"]) for name in ("own", "tasks")
    )
    same = own["value"] == tasks["value"]
    assert same[own.index.get_level_values("method") == "noisy"].all()
    # Where the reference's noise is all of the error, the corrected PSNR of both is the same.
    judged = own.index.get_level_values("metric") != CORRECTED
    assert not same[judged & (own.index.get_level_values("method") == "plug-and-play")].any()


def test_the_settings_say_which_model_a_number_came_from(evaluate, folder, tiny_model):
    assert evaluate("--methods", "noisy,medinr").code == 0
    first = _table(folder)
    tiny_model(folder / "mine.safetensors", "MR", seed=5)
    assert evaluate("--methods", "noisy,medinr").code == 0
    second = _table(folder)
    same = first.set_index(["method"])["settings_hash"].groupby("method").first()
    now = second.set_index(["method"])["settings_hash"].groupby("method").first()
    # Another model under the same name: its numbers are made anew, the noisy image's are not.
    assert same["noisy"] == now["noisy"]
    assert same["medinr"] != now["medinr"]


def test_evaluation_json_is_plain(evaluate, folder):
    assert evaluate("--methods", "noisy").code == 0
    facts = json.loads((folder / "out" / "evaluation.json").read_text())
    assert facts["format"] == "medinr-evaluation-2"
    assert {"settings", "versions", "seed", "tasks", "methods", "notes"} <= set(facts)


def test_a_method_without_its_library_is_left_out_or_refused_by_name(evaluate, folder, monkeypatch):
    monkeypatch.setitem(METHODS, "BM3D", replace(METHODS["BM3D"], needs="no_such_library"))
    task = load_task("denoise_mr_5")
    assert "BM3D" not in choose_methods(task, ())
    assert "NLM" in choose_methods(task, ())
    with pytest.raises(
        LibraryError, match=r"BM3D needs the package no_such_library.*medinr\[baselines-noncommercial\]"
    ):
        choose_methods(task, ("bm3d", "TV"))
    # Other tasks do not miss it.
    assert choose_methods(load_task("ct_lowdose"), ("bm3d", "TV")) == ("TV",)
    assert evaluate("--methods", "noisy").code == 0
    notes = json.loads((folder / "out" / "evaluation.json").read_text())["notes"]
    assert "BM3D was left out: the package no_such_library is not installed." in notes


def test_what_denoises_stacks_is_for_tasks_with_neighbours(monkeypatch):
    monkeypatch.setitem(METHODS, "BM4D", replace(METHODS["BM4D"], needs=""))
    assert choose_methods(load_task("denoise_mr_slices_5"), ("BM4D", "TV")) == ("BM4D", "TV")
    assert choose_methods(load_task("denoise_mr_5"), ("BM4D", "TV")) == ("TV",)
    assert "BM4D" not in choose_methods(load_task("superres_mr_through_slices_4x"), ())


@pytest.mark.parametrize("name", [name for name in PROTOCOL if not name.startswith("acquired")])
def test_every_task_of_the_protocol_has_its_baselines(name):
    task = load_task(name)
    names = set(choose_methods(task, ()))
    assert {"TV", "TGV", "plug-and-play", "medinr"} <= names
    wanted = {
        "denoise": {"noisy", "NLM", "wavelet"},
        "superres": {"bicubic", "least-squares", "wavelet"},
        "kspace": {"zero-filled", "wavelet"},
        "ct": {"FBP", "SIRT", "least-squares"},
    }[task.kind]
    assert wanted <= names
    # SENSE and L1-ESPIRiT, where there are coils.
    assert ("least-squares" in names) == (task.kind in ("superres", "ct") or "multi" in name)
    if task.kind == "kspace":
        assert (task.config.simulation.coils > 1) == ("multi" in name)
    if task.kind == "ct":
        assert task.config.simulation.geometry == ("fan" if name.endswith("_fan") else "parallel")


def test_thick_slices_are_simulated_from_scans_of_cubic_voxels(medinr, synthetic, folder):
    """The folder's own scans are too thick to be a reference and are left out."""
    cubic = synthetic.phantom((18, 20, 22), geometry=synthetic.affine(spacing=(1.0, 1.0, 1.0)))
    path = write_nifti(cubic, folder / "cubic.nii.gz")
    rows = [ManifestRow(path.name, hash_scan(path), "s3", "v1", "MR", "T1", "devtest", "CC0", "3:4")]
    rows += read_manifest(folder / "heads.csv").rows
    write_manifest(Manifest(tuple(rows), folder), folder / "three.csv")
    text = (folder / "task.yaml").read_text().replace("task: denoise", "task: superres")
    (folder / "thick.yaml").write_text(text + "simulation: {direction: through-plane, factor: 3}\n")
    shared = (folder / "evaluate.yaml", "--tasks", folder / "thick.yaml", "--methods", "bicubic,TV")
    found = medinr("evaluate", folder / "three.csv", *shared, "--out", folder / "out")
    assert found.code == 0
    results = Results.read(folder / "out")
    assert set(results.table.subject) == {"s3"}
    for case in results.cases():
        measurement = read_measurement(folder / "out" / "measurements" / f"{case.case}.safetensors")
        assert measurement.data.shape == (1, 6, 22)
        assert measurement.image_shape == (18, 22)
        # Coronal slices out of the middle half of 20, not the manifest's choice of axial ones.
        assert 5 <= case.slice < 15
    found = medinr("evaluate", folder / "heads.csv", *shared, "--out", folder / "none")
    assert found.code == 2
    assert "nearly cubic voxels" in found.err


def test_raw_data_are_judged_against_the_image_of_all_of_them(medinr, folder, synthetic):
    image = synthetic.phantom((1, 32, 28)).array[0]
    data = Fourier(image.shape)(torch.from_numpy(image).to(torch.complex64))
    np.save(folder / "scan.npy", data.numpy())
    (folder / "said.yaml").write_text("kind: kspace\naxes: [ky, kx]\nspacing_mm: [2, 1.5]\n")
    row = ManifestRow("scan.npy", hash_scan(folder / "scan.npy"), "r1", "", "MR", "", "devtest", "CC0", "", "said.yaml")
    rows = (row, *read_manifest(folder / "heads.csv").rows)
    write_manifest(Manifest(rows, folder), folder / "mixed.csv")
    text = (folder / "task.yaml").read_text().replace("task: denoise", "task: kspace")
    (folder / "real.yaml").write_text(text + "raw: {acceleration: 2}\nsimulation: {centre_fraction: 0.2}\n")
    found = medinr(
        "evaluate",
        folder / "mixed.csv",
        folder / "evaluate.yaml",
        "--tasks",
        f"{folder / 'real.yaml'},{folder / 'task.yaml'}",
        "--methods",
        "zero-filled,noisy",
        "--out",
        folder / "out",
    )
    assert found.code == 0
    results = Results.read(folder / "out")
    subjects = results.table.groupby("task").subject.unique().map(set).to_dict()
    assert subjects == {"real": {"r1"}, "task": {"s1", "s2"}}
    (case,) = [case for case in results.cases() if case.task == "real"]
    assert case.sampling["kind"] == "lines"
    assert len(case.sampling["lines"]) == 16
    images = results.images(case)
    # Nothing is left out of the reference, so it is the image that was transformed.
    np.testing.assert_allclose(images["reference"], image, atol=1e-3 * image.max())
    assert psnr(images["zero-filled"], image, float(image.max())) < 40
    assert any("image of all of them" in note for note in results.facts["notes"])
