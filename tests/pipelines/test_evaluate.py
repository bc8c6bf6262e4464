import csv

import pytest
from medinr.pipelines import evaluate as pipeline

from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.nifti import write_nifti

pytestmark = pytest.mark.usefixtures("without_figures")

TASK = """\
task: denoise
trunk: {trunk}
fit: {{imitation: {{passes: 1}}, guide: {{iterations: 2}}, finish: 2}}
peer: {{tv_weight: 1.0, iterations: 5}}
"""


@pytest.fixture
def bench(synthetic, tiny_trunk, tmp_path):
    """A manifest of two people, a trunk that knows neither, and the configuration of an evaluation."""
    rows = []
    for subject in ("s1", "s2"):
        path = write_nifti(synthetic.phantom((4, 20, 18), seed=len(rows)), tmp_path / f"{subject}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), subject, "v1", "MR", "T1", "devtest", "CC0", "1:4"))
    write_manifest(Manifest(tuple(rows), tmp_path), tmp_path / "heads.csv")
    tiny_trunk(tmp_path / "mine.safetensors", "MR")
    (tmp_path / "task.yaml").write_text(TASK.format(trunk=tmp_path / "mine.safetensors"))
    (tmp_path / "evaluate.yaml").write_text("tasks: [task.yaml]\nslices: 2\n")
    return tmp_path


@pytest.fixture
def evaluate(medinr, bench):
    def run(*more):
        return medinr("evaluate", bench / "heads.csv", bench / "evaluate.yaml", "--out", bench / "out", *more)

    return run


def _rows(bench):
    return list(csv.DictReader((bench / "out" / "scores.csv").read_text().splitlines()))


def test_every_method_slice_and_scan_is_scored(evaluate, bench):
    found = evaluate("--debug")
    assert found.code == 0
    rows = _rows(bench)
    assert len(rows) == 3 * 2 * 2
    assert {row["method"] for row in rows} == {"noisy", "TV", "medinr"}
    assert {row["subject"] for row in rows} == {"s1", "s2"}
    # Two slices of those that the manifest names.
    assert {row["slice"] for row in rows} <= {"1", "2", "3"}
    assert len({(row["scan"], row["slice"]) for row in rows}) == 2 * 2
    for row in rows:
        assert 5 < float(row["psnr"]) < 60
        assert (row["stopped_at"] != "") == (row["method"] == "medinr")
    assert "1/2" in found.out
    assert "2/2" in found.out
    assert "scores.csv" in found.out
    assert "medinr is" in found.out


def test_an_interrupted_evaluation_continues_where_it_stopped(evaluate, bench, monkeypatch):
    real, done = pipeline.reconstruct, []

    def limited(*arguments, **options):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(options["slices"])
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "reconstruct", limited)
        stopped = evaluate()
    assert stopped.code == 130
    before = (bench / "out" / "scores.csv").read_text()
    assert len(_rows(bench)) == 9
    done.clear()
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "reconstruct", lambda *a, **k: done.append(1) or real(*a, **k))
        assert evaluate().code == 0
    assert len(done) == 1
    assert (bench / "out" / "scores.csv").read_text().startswith(before)
    assert len(_rows(bench)) == 12
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "reconstruct", limited)
        done.extend([0, 0])
        assert evaluate().code == 0
    assert len(_rows(bench)) == 12


def test_other_settings_are_refused_and_begun_anew_when_asked(evaluate, bench):
    assert evaluate().code == 0
    text = (bench / "task.yaml").read_text()
    (bench / "task.yaml").write_text(text.replace("tv_weight: 1.0", "tv_weight: 0.0"))
    refused = evaluate()
    assert refused.code == 2
    assert "other settings" in refused.err
    assert len(_rows(bench)) == 12
    assert evaluate("--overwrite").code == 0
    assert {row["method"] for row in _rows(bench)} == {"noisy", "medinr"}


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"subjects": ["s2"]}, "subject s2 is among its training subjects"),
        ({"hashes": None}, "this very scan is among"),
    ],
)
def test_what_the_trunk_has_seen_is_refused_before_anything_is_computed(evaluate, bench, tiny_trunk, seen, words):
    if "hashes" in seen:
        seen = {"hashes": [hash_scan(bench / "s2.nii.gz")]}
    tiny_trunk(bench / "mine.safetensors", "MR", **seen)
    found = evaluate()
    assert found.code == 2
    assert words in found.err
    assert "s2.nii.gz cannot be evaluated with trunk 'mine'" in found.err
    assert not (bench / "out").exists()


def test_nothing_to_evaluate(evaluate):
    found = evaluate("--set", "split=test")
    assert found.code == 2
    assert "no scan in split 'test' for denoise" in found.err
    assert evaluate("--set", "contrasts=[T2]").code == 2


def test_a_scan_that_was_changed_is_refused(evaluate, bench, synthetic):
    write_nifti(synthetic.phantom((4, 20, 18), seed=7), bench / "s2.nii.gz", overwrite=True)
    found = evaluate()
    assert found.code == 2
    assert "SHA-256" in found.err
