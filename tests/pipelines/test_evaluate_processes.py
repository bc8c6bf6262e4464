"""Evaluations that are killed, run twice in one folder, and run in several processes: one and the same table."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from medinr.cli import main
from medinr.evaluate.results import Results
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.nifti import write_nifti

MAIN = "import sys; from medinr.cli import main; sys.exit(main())"
TIMES = ["seconds", "peak_memory_mb"]


@pytest.fixture(scope="module")
def bench(synthetic, tiny_trunk, tmp_path_factory):
    """Two people, a tiny trunk, two tasks."""
    folder = tmp_path_factory.mktemp("bench")
    rows = []
    for subject in ("s1", "s2"):
        path = write_nifti(synthetic.phantom((3, 20, 18), seed=len(rows)), folder / f"{subject}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), subject, "v1", "MR", "T1", "devtest", "CC0", ""))
    write_manifest(Manifest(tuple(rows), folder), folder / "heads.csv")
    tiny_trunk(folder / "mine.safetensors", "MR")
    for task in ("denoise", "kspace"):
        (folder / f"{task}_small.yaml").write_text(
            f"task: {task}\ntrunk: {folder / 'mine.safetensors'}\n"
            "fit: {imitation: {passes: 1}, guide: {iterations: 2}, finish: 2}\npeer: {iterations: 20}\n"
        )
    # All but BM3D, should it be installed: its own threads add up in any order, so that no two of its images are equal.
    methods = "noisy, NLM, zero-filled, TV, TGV, wavelet, plug-and-play, medinr"
    (folder / "evaluate.yaml").write_text(
        f"tasks: [denoise_small.yaml, kspace_small.yaml]\nslices: 1\nmethods: [{methods}]\n"
    )
    return folder


def _command(bench, out: str, *more: str) -> list[str]:
    command = ("evaluate", bench / "heads.csv", bench / "evaluate.yaml", "--out", bench / out, "--threads", "1")
    return [str(word) for word in (*command, *more)]


def _start(bench, out: str, *more: str) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", MAIN, *_command(bench, out, *more)]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _wait_for_records(bench, out: str, process: subprocess.Popen, count: int) -> None:
    while len(_records(bench, out)) < count and process.poll() is None:
        time.sleep(0.002)


def _records(bench, out: str) -> dict:
    return {path: path.stat().st_mtime_ns for path in (bench / out / "work").glob("[!.]*__*__*__*.safetensors")}


@pytest.fixture(scope="module")
def undisturbed(bench) -> Results:
    assert main(_command(bench, "undisturbed")) == 0
    return Results.read(bench / "undisturbed")


def _same(bench, out: str, wanted: Results) -> None:
    """The same table, but for times, and the same images, to the last bit."""
    found = Results.read(bench / out)
    pd.testing.assert_frame_equal(found.table.drop(columns=TIMES), wanted.table.drop(columns=TIMES))
    assert [cell.cell for cell in found.cells()] == [cell.cell for cell in wanted.cells()]
    for cell in found.cells():
        mine, theirs = found.images(cell), wanted.images(cell)
        assert list(mine) == list(theirs)
        assert all((mine[name] == theirs[name]).all() for name in mine)
    assert not list((bench / out / "work").glob("*.claim"))


def test_killed_and_run_again_gives_the_same_table(bench, undisturbed):
    process = _start(bench, "killed")
    _wait_for_records(bench, "killed", process, 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    kept = _records(bench, "killed")
    assert 4 <= len(kept) < len(_records(bench, "undisturbed"))
    assert main(_command(bench, "killed")) == 0
    # Nothing that was finished was done again.
    assert kept.items() <= _records(bench, "killed").items()
    _same(bench, "killed", undisturbed)


def test_two_at_once_in_one_folder_share_the_work(bench, undisturbed):
    other = _start(bench, "twice")
    _wait_for_records(bench, "twice", other, 1)
    assert main(_command(bench, "twice")) == 0
    output, _ = other.communicate(timeout=300)
    assert other.returncode == 0, output.decode()
    _same(bench, "twice", undisturbed)


def test_two_workers_end_with_who_started_them_and_give_the_same_bits_as_one(bench, undisturbed):
    process = _start(bench, "workers", "--workers", "2")
    _wait_for_records(bench, "workers", process, 1)
    process.send_signal(signal.SIGKILL)
    # Its standard output closes only when the workers, who share it, have ended too.
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    kept = _records(bench, "workers")
    assert 1 <= len(kept) < len(_records(bench, "undisturbed"))
    assert main(_command(bench, "workers", "--workers", "2")) == 0
    assert kept.items() <= _records(bench, "workers").items()
    _same(bench, "workers", undisturbed)
