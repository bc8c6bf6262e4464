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

QUICK = ("plug_and_play.iterations=2", "total_variation.iterations=5")
METHODS = {
    "plug-and-play": QUICK,
    "inr": (*QUICK, "network.image_domain.passes=1", "network.refinement_iterations=2"),
}
STARTS = "import sys; from medinr.cli import main; sys.exit(main())"


def _images(out: Path) -> dict[str, np.ndarray]:
    return load_file(out / "work" / "slice_0000.safetensors")


def _same_bits(first: Path, second: Path) -> None:
    left, right = _images(first), _images(second)
    assert left.keys() == right.keys() >= {"medinr", "input"}
    for name in left:
        assert left[name].tobytes() == right[name].tobytes(), name


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_twice_in_one_process(reconstruct, tmp_path, task, method):
    for out in ("first", "second"):
        assert reconstruct(task, tmp_path / out, "--threads", 1, method=method).code == 0
    _same_bits(tmp_path / "first", tmp_path / "second")


@pytest.fixture(scope="module")
def start(synthetic, models, tmp_path_factory):
    """Starts `medinr reconstruct-simulated` in another process, on a slice large enough to be shared among threads."""
    scan = write_nifti(synthetic.phantom((1, 128, 120)), tmp_path_factory.mktemp("large") / "head.nii.gz")
    # The number of threads is the command's alone.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "GOMP_"))}

    def run(out: Path, method: str) -> subprocess.Popen:
        command = [
            "reconstruct-simulated",
            scan,
            "--task",
            "kspace",
            "--model",
            models["MR"],
            "--threads",
            THREADS,
            "--out",
            out,
        ]
        command += ["--method", method]
        command += [word for setting in METHODS[method] for word in ("--set", setting)]
        return subprocess.Popen([sys.executable, "-c", STARTS, *map(str, command)], env=clean)

    return run


@pytest.mark.parametrize("method", METHODS)
def test_alone_and_two_at_once(start, tmp_path, method):
    assert start(tmp_path / "alone", method).wait(timeout=300) == 0
    both = [start(tmp_path / out, method) for out in ("left", "right")]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    for out in ("left", "right"):
        _same_bits(tmp_path / "alone", tmp_path / out)
        facts = json.loads((tmp_path / out / "result.json").read_text())
        assert facts["versions"]["threads"] == str(THREADS)
