"""Evaluations that are killed, run twice in one folder, and run in several processes: one and the same table."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from medinr.cli import main
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.nifti import write_nifti
from medinr.jobs.evaluate.results import Results

MAIN = "import sys; from medinr.cli import main; sys.exit(main())"
TIMES = ["seconds", "peak_memory_mb"]


@pytest.fixture(scope="module")
def folder(synthetic, tiny_model, tmp_path_factory):
    """Two people, a tiny model, two tasks."""
    folder = tmp_path_factory.mktemp("evaluations")
    rows = []
    for subject in ("s1", "s2"):
        path = write_nifti(synthetic.phantom((3, 20, 18), seed=len(rows)), folder / f"{subject}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), subject, "v1", "MR", "T1", "devtest", "CC0", ""))
    write_manifest(Manifest(tuple(rows), folder), folder / "heads.csv")
    tiny_model(folder / "mine.safetensors", "MR")
    for task in ("denoise", "kspace"):
        (folder / f"{task}_small.yaml").write_text(
            f"task: {task}\nmodel: {folder / 'mine.safetensors'}\nmethod: inr\n"
            "network: {image_domain: {passes: 1}, refinement_iterations: 2}\n"
            "plug_and_play: {iterations: 2}\ntotal_variation: {iterations: 20}\n"
        )
    # All but BM3D, should it be installed: its own threads add up in any order, so that no two of its images are equal.
    methods = "noisy, NLM, zero-filled, TV, TGV, wavelet, plug-and-play, INR, medinr"
    (folder / "evaluate.yaml").write_text(
        f"tasks: [denoise_small.yaml, kspace_small.yaml]\nslices: 1\nmethods: [{methods}]\n"
    )
    return folder


def _command(folder, out: str, *more: str) -> list[str]:
    command = ("evaluate", folder / "heads.csv", folder / "evaluate.yaml", "--out", folder / out, "--threads", "1")
    return [str(word) for word in (*command, *more)]


def _start(folder, out: str, *more: str) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", MAIN, *_command(folder, out, *more)]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _wait_for_records(folder, out: str, process: subprocess.Popen, count: int) -> None:
    while len(_records(folder, out)) < count and process.poll() is None:
        time.sleep(0.002)


def _records(folder, out: str) -> dict:
    return {path: path.stat().st_mtime_ns for path in (folder / out / "work").glob("[!.]*__*__*__*.safetensors")}


@pytest.fixture(scope="module")
def undisturbed(folder) -> Results:
    assert main(_command(folder, "undisturbed")) == 0
    return Results.read(folder / "undisturbed")


def _same(folder, out: str, wanted: Results) -> None:
    """The same table, but for times, and the same images, to the last bit."""
    found = Results.read(folder / out)
    pd.testing.assert_frame_equal(found.table.drop(columns=TIMES), wanted.table.drop(columns=TIMES))
    assert [case.case for case in found.cases()] == [case.case for case in wanted.cases()]
    for case in found.cases():
        mine, theirs = found.images(case), wanted.images(case)
        assert list(mine) == list(theirs)
        assert all((mine[name] == theirs[name]).all() for name in mine)
    assert not list((folder / out / "work").glob("*.claim"))


def test_killed_and_run_again_gives_the_same_table(folder, undisturbed):
    process = _start(folder, "killed")
    _wait_for_records(folder, "killed", process, 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    kept = _records(folder, "killed")
    assert 4 <= len(kept) < len(_records(folder, "undisturbed"))
    assert main(_command(folder, "killed")) == 0
    # Nothing that was finished was done again.
    assert kept.items() <= _records(folder, "killed").items()
    _same(folder, "killed", undisturbed)


def test_two_at_once_in_one_folder_share_the_work(folder, undisturbed):
    other = _start(folder, "twice")
    _wait_for_records(folder, "twice", other, 1)
    assert main(_command(folder, "twice")) == 0
    output, _ = other.communicate(timeout=300)
    assert other.returncode == 0, output.decode()
    _same(folder, "twice", undisturbed)


def test_two_workers_end_with_who_started_them_and_give_the_same_bits_as_one(folder, undisturbed):
    process = _start(folder, "workers", "--workers", "2")
    _wait_for_records(folder, "workers", process, 1)
    process.send_signal(signal.SIGKILL)
    # Its standard output closes only when the workers, who share it, have ended too.
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    kept = _records(folder, "workers")
    assert 1 <= len(kept) < len(_records(folder, "undisturbed"))
    assert main(_command(folder, "workers", "--workers", "2")) == 0
    assert kept.items() <= _records(folder, "workers").items()
    _same(folder, "workers", undisturbed)
