"""Damaged scans give a volume or a sentence, never anything else; `python -m benchmarks fuzz-readers` tries more."""

import mmap
import resource
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz_dicom_originals import dicom_originals, reference_of
from benchmarks.fuzz_readers import run_trials
from benchmarks.fuzz_trial import input_of, lay_out, originals, try_input
from medinr.io.scan import read_scan

#: In two processes; most of the time goes to loading libraries.
INPUTS, SEED = 500, 2


@pytest.fixture(scope="module")
def trials():
    return run_trials(INPUTS, SEED, minutes=5)


def test_five_hundred_damaged_inputs_give_a_volume_or_a_sentence(trials):
    outcomes, _ = trials
    faults = [f"{one.number} ({one.kind}; {one.damage}): {one.fault}\n{one.trace}" for one in outcomes if one.fault]
    assert not faults, "\n".join([f"{len(faults)} faults with seed {SEED}:", *faults])
    assert len(outcomes) == INPUTS
    verdicts = [one.verdict for one in outcomes]
    # Damage is neither always harmless nor always fatal.
    assert 0.2 < np.mean([verdict.startswith("volume") for verdict in verdicts]) < 0.8
    assert max(one.seconds for one in outcomes) < 5


def test_everything_undamaged_is_read_and_written(trials):
    _, undamaged = trials
    assert len(undamaged) > 20
    assert {kind: verdict for kind, verdict in undamaged.items() if verdict != "volume"} == {
        "nothing": "refused: FileError"
    }


def test_inputs_are_the_same_for_the_same_seed():
    kinds, again = originals(), originals()
    assert kinds == again
    for number in range(0, 66, 3):
        assert input_of(5, number, kinds) == input_of(5, number, again)
    assert any(input_of(5, number, kinds) != input_of(6, number, kinds) for number in range(10))


@pytest.mark.parametrize(
    "kind", ["classic CT", "classic MR, big-endian", "classic CT, JPEG 2000", "enhanced MR", "mosaic"]
)
def test_originals_hold_what_is_said_of_them(kind, tmp_path):
    values, affine = reference_of(kind)
    scan = read_scan(lay_out(dict(dicom_originals()[kind]), tmp_path / "in"))
    np.testing.assert_array_equal(scan.array, values)
    np.testing.assert_allclose(scan.affine, affine, atol=1e-6)


def _new_pages(size):
    """Memory that raises the peak of this process by `size` bytes, whatever it had before and gave back or kept."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    unused = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - pages * resource.getpagesize()
    values = np.frombuffer(mmap.mmap(-1, max(0, unused) + size), dtype=np.uint8)
    values[...] = 1
    return values


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (lambda path: 1 / 0, "ZeroDivisionError"),
        (lambda path: np.frombuffer((path.parent / "outside").read_bytes(), "<i2"), "reads a file outside"),
        (lambda path: _new_pages(200 * 2**20), "MiB for an input of"),
    ],
)
def test_faults_are_found(monkeypatch, tmp_path, synthetic, answer, fault):
    def read(path, **choices):
        values = answer(path)
        volume = synthetic.phantom()
        return volume.with_array(np.full(volume.shape, np.max(values), np.float32)) if len(values) < 1e6 else volume

    monkeypatch.setattr("benchmarks.fuzz_trial.read_scan", read)
    monkeypatch.setattr("benchmarks.fuzz_trial._check_nifti", lambda volume, path: None)
    kinds = {"classic CT": originals()["classic CT"]}
    assert fault in try_input(0, 1, kinds, tmp_path / "trial").fault
