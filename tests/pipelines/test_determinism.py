"""The same command gives the same bits: again, and beside another process on the same cores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from medinr.io.nifti import write_nifti

TASKS = ("denoise", "superres", "kspace", "ct")

#: More than one thread, so that the order of sums could matter; what decides is the machine.
THREADS = min(2, os.cpu_count() or 1)

QUICK = ("fit.imitation.passes=1", "fit.guide.iterations=2", "fit.finish=2", "peer.iterations=5")
STARTS = "import sys; from medinr.cli import main; sys.exit(main())"


def _images(out: Path) -> dict[str, np.ndarray]:
    return load_file(out / "work" / "slice_0000.safetensors")


def _same_bits(first: Path, second: Path) -> None:
    left, right = _images(first), _images(second)
    assert left.keys() == right.keys() >= {"medinr", "input"}
    for name in left:
        assert left[name].tobytes() == right[name].tobytes(), name


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("task", TASKS)
def test_twice_in_one_process(reconstruct, tmp_path, task):
    for out in ("first", "second"):
        assert reconstruct(task, tmp_path / out, "--threads", 1).code == 0
    _same_bits(tmp_path / "first", tmp_path / "second")


@pytest.fixture(scope="module")
def start(synthetic, trunks, tmp_path_factory):
    """Starts `medinr reconstruct` in a process of its own, on a slice large enough to be shared among threads."""
    scan = write_nifti(synthetic.phantom((1, 128, 120)), tmp_path_factory.mktemp("large") / "head.nii.gz")
    # The number of threads is the command's alone.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "GOMP_"))}

    def run(out: Path) -> subprocess.Popen:
        command = ["reconstruct", scan, "--task", "kspace", "--trunk", trunks["MR"], "--threads", THREADS, "--out", out]
        command += [word for setting in QUICK for word in ("--set", setting)]
        return subprocess.Popen([sys.executable, "-c", STARTS, *map(str, command)], env=clean)

    return run


def test_alone_and_two_at_once(start, tmp_path):
    assert start(tmp_path / "alone").wait(timeout=300) == 0
    both = [start(tmp_path / out) for out in ("left", "right")]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    for out in ("left", "right"):
        _same_bits(tmp_path / "alone", tmp_path / out)
        facts = json.loads((tmp_path / out / "result.json").read_text())
        assert facts["versions"]["threads"] == str(THREADS)
