"""Auxiliary scans of an evaluation: which they are, where they are kept, and which method may use them."""

from dataclasses import replace

import numpy as np
import pytest

from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.nifti import read_nifti, write_nifti
from medinr.jobs.evaluate.auxiliary_rows import auxiliary_rows
from medinr.jobs.evaluate.results import Results

#: Subject, session, contrast, split.
SCANS = (
    ("a", "v1", "T1", "devtest"),
    ("a", "v2", "T1", "devtest"),
    ("a", "v3", "T1", "devtest"),
    ("a", "v3", "T2", "devtest"),
    ("b", "v1", "T1", "train"),
    ("c", "v9", "T1", "devtest"),
)


@pytest.fixture(scope="module")
def manifest(synthetic, tmp_path_factory) -> Manifest:
    folder = tmp_path_factory.mktemp("auxiliary")
    rows = []
    for number, (subject, session, contrast, split) in enumerate(SCANS):
        volume = synthetic.phantom((6, 40, 36), seed=number)
        path = write_nifti(volume, folder / f"{subject}_{session}_{contrast}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), subject, session, "MR", contrast, split, "CC0", "2:4"))
    found = Manifest(tuple(rows), folder)
    write_manifest(found, folder / "heads.csv")
    return found


@pytest.mark.parametrize(
    ("which", "wanted"),
    [
        # All contrasts of the session before, the same one first; of the T2 there is no earlier one, but another.
        ("session", ([], [0], [1], [1], [], [], [2, 3], [3, 2])),
        ("contrast", ([], [], [3], [2], [], [], [7], [6])),
        # Of the same split and contrast; the only person of the train split has nobody.
        ("stranger", ([5], [5], [5], [], [], [0], [5], [])),
    ],
)
def test_which_scans_are_auxiliary(manifest, which, wanted):
    later = [replace(manifest.rows[k], session="v4", path=f"later{k}") for k in (2, 3)]
    longer = Manifest((*manifest.rows, *later), manifest.root)
    found = [auxiliary_rows(longer, row, which) for row in longer]
    assert [[longer.rows.index(other) for other in others] for others in found] == list(wanted)


def test_the_auxiliary_scan_is_kept_and_used_by_medinr_alone(medinr, manifest, tmp_path):
    command = ("evaluate", manifest.root / "heads.csv", "--tasks", "prior_exam_8x", "--out", tmp_path / "out")
    options = ("--methods", "zero-filled,plug-and-play,medinr", "--set", "slices=1")
    assert medinr(*command, *options, "--debug").code == 0
    results = Results.read(tmp_path / "out")
    assert set(results.table.session) == {"v2", "v3"}
    cases = {(case.session, case.contrast): case for case in results.cases()}
    assert cases["v3", "T2"].series_description == "T2 v3, with T1 v2"
    for session, before in ((("v2", "T1"), "v1"), (("v3", "T1"), "v2"), (("v3", "T2"), "v2")):
        kept = tmp_path / "out" / "work" / f"prior_exam_8x__{cases[session].scan}__0.nii.gz"
        wanted = read_nifti(manifest.root / f"a_{before}_T1.nii.gz", modality="MR")
        np.testing.assert_array_equal(read_nifti(kept, modality="MR").array, wanted.array)
        reasons = {method: curve["reason"] for method, curve in cases[session].curves.items()}
        assert reasons["medinr"].startswith("Auxiliary scan moved by")
        assert "uxiliary scan" not in reasons["plug-and-play"]
    # The others are measured as in the task without: the same lines, the same noise.
    plain = ("evaluate", manifest.root / "heads.csv", "--tasks", "kspace_mr_single_8x", "--out", tmp_path / "plain")
    assert medinr(*plain, *options).code == 0
    keys = ["scan", "slice", "method", "region", "metric"]
    both = [Results.read(tmp_path / out).table.query("method != 'medinr'").set_index(keys) for out in ("out", "plain")]
    np.testing.assert_array_equal(both[0]["value"], both[1]["value"].loc[both[0].index])


def test_a_manifest_without_a_second_scan_is_refused_in_words(medinr, manifest, tmp_path):
    alone = Manifest((manifest.rows[5],), manifest.root)
    write_manifest(alone, manifest.root / "alone.csv", overwrite=True)
    found = medinr("evaluate", manifest.root / "alone.csv", "--tasks", "prior_exam_8x", "--out", tmp_path / "out")
    assert found.code == 2
    assert "prior tasks a second scan in the manifest" in found.err
