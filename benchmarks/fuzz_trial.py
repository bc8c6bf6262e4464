"""One damaged input through reader and writers: what came of it, how long it took and how much memory."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.random import Generator

from benchmarks.fuzz_damage import ANY_FILE, Damage, Files, Link, Pipe, change_archive
from benchmarks.fuzz_dicom import DICOM_FILE
from benchmarks.fuzz_dicom_originals import IDENTIFIERS, dicom_originals
from benchmarks.fuzz_volumes import VOLUME_FILE, volume_originals
from medinr.errors import InputError
from medinr.io.dicom.derived.write import write_derived_series
from medinr.io.nifti import write_nifti
from medinr.io.scan import read_scan
from medinr.volume import Volume

#: Seconds after which an input counts as hanging; twice, as the machine may have been busy.
MOST_SECONDS = 5.0

#: Memory in bytes: this much for anything, and four times what the input can be as float32.
SLACK, TIMES = 32 * 2**20, 4

#: Address space that a worker may take beyond what it has at its start.
_ADDRESS_SPACE = 3 * 2**30

#: Values of a file beside the input, which nothing may read.
OUTSIDE = 31337

#: Positions (mm) and values (steps of 16 bits) that must survive writing and reading.
_POSITION, _STEPS = 1e-3, 0.51


@dataclass(frozen=True)
class Outcome:
    """What came of one input; `fault` is empty for a volume or a refusal in words."""

    number: int
    kind: str
    damage: str
    verdict: str
    fault: str = ""
    trace: str = ""
    seconds: float = 0.0
    extra_bytes: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


class _TooLong(BaseException):
    """Raised by the clock; not an Exception, so that no reader mistakes it for damage."""


class _WrongResultError(Exception):
    """The result contradicts the input."""


def originals() -> dict[str, Files]:
    """Every undamaged input by its kind."""
    found: dict[str, Files] = {"nothing": {"a": b""}}
    found |= {kind: {**files} for kind, files in dicom_originals().items()}
    found |= volume_originals()
    return found


def damaged(kind: str, files: Files, rng: Generator) -> tuple[Files, str]:
    """Return a copy of `files` with one to three kinds of damage, and what was done."""
    special: tuple[Damage, ...] = VOLUME_FILE
    if kind.startswith("zip"):
        special = (change_archive,)
    elif any(name.endswith(".dcm") for name in files):
        special = DICOM_FILE
    changed, said = dict(files), []
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        if not any(isinstance(data, bytes) for data in changed.values()):
            break
        choices = special if rng.random() < 0.65 else ANY_FILE
        words = choices[int(rng.integers(len(choices)))](changed, rng)
        said += [words] if words else []
        if "inflates" in words:
            # Anything further would parse what was inflated.
            break
    return changed, "; ".join(said) or "none"


def input_of(seed: int, number: int, kinds: dict[str, Files]) -> tuple[str, Files, str]:
    """Return kind, files and damage of one input; the same for the same seed and number."""
    rng = np.random.default_rng([seed, number])
    kind = list(kinds)[number % len(kinds)]
    files, words = damaged(kind, kinds[kind], rng)
    return kind, files, words


def lay_out(files: Files, folder: Path) -> Path:
    """Write the files and return the path to read: the file, or the folder where there are several."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, Link):
            path.unlink(missing_ok=True)
            path.symlink_to(data.target)
        elif isinstance(data, Pipe):
            os.mkfifo(path)
        else:
            path.write_bytes(data)
    scans = [name for name in files if not name.endswith((".json", ".img"))]
    lone = len(scans) == 1 or not any(name.endswith(".dcm") for name in scans)
    return folder / scans[0] if scans and lone else folder


def try_input(seed: int, number: int, kinds: dict[str, Files], base: Path) -> Outcome:
    """Read one input and write what came of it as NIfTI and, from DICOM, as a derived series.

    Parameters
    ----------
    seed, number : int
    kinds : dict
        `originals()`.
    base : Path
        A folder of this trial's own; emptied.
    """
    kind, files, words = input_of(seed, number, kinds)
    _clear(base)
    path = lay_out(files, base / "in")
    (base / "outside").write_bytes(np.full(800, OUTSIDE, "<i2").tobytes())
    plausible = max(_bytes(files), _bytes(kinds[kind]))
    for attempt in range(2):
        before = _reset_peak()
        begun = time.perf_counter()
        try:
            verdict, fault, trace = _judged(path, base)
        except _TooLong:
            # The clock rang just as the work was done.
            verdict, fault, trace = "none", "hangs", ""
        seconds = time.perf_counter() - begun
        if fault != "hangs" or attempt:
            break
    extra = max(0, _peak() - before)
    # float32 is four bytes, eight-bit and compressed pixels are one byte or less.
    if not fault and extra > SLACK + TIMES * 4 * plausible:
        fault = f"takes {extra / 2**20:.0f} MiB for an input of {_bytes(files)} bytes"
    strange = sorted({entry.name for entry in base.iterdir()} - {"in", "out", "outside", "tmp"})
    if not fault and strange:
        fault = f"wrote outside its folders: {strange}"
    return Outcome(number, kind, words, verdict, fault, trace, seconds, extra)


def _clear(base: Path) -> None:
    shutil.rmtree(base, ignore_errors=True)
    (base / "tmp").mkdir(parents=True)


def _bytes(files: Files) -> int:
    return sum(len(data) for data in files.values() if isinstance(data, bytes))


def _judged(path: Path, base: Path) -> tuple[str, str, str]:
    """Verdict, fault and traceback of one input."""
    shutil.rmtree(base / "out", ignore_errors=True)
    try:
        with _clock(MOST_SECONDS), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            verdict = _run(path, base)
        # A foreign warning on the terminal may repeat what identifies the patient.
        if caught:
            first = caught[0]
            return verdict, f"warns: {first.category.__name__}", f"{first.filename}:{first.lineno}: {first.message}"
        return verdict, "", ""
    except InputError as error:
        named = [word for value in IDENTIFIERS.values() for word in re.split(r"\^", value) if word in str(error)]
        return (
            f"refused: {type(error).__name__}",
            f"message repeats {named}" if named else "",
            str(error) if named else "",
        )
    except _TooLong:
        return "none", "hangs", traceback.format_exc()
    except _WrongResultError as error:
        return "volume", str(error), ""
    except Exception as error:
        return "none", f"{type(error).__name__}: {error}"[:200], traceback.format_exc()


def _run(path: Path, base: Path) -> str:
    volume = _read(path)
    if np.isin(volume.array, (OUTSIDE, OUTSIDE - 1024)).sum() > 100:
        raise _WrongResultError("reads a file outside the input")
    volume.require_usable()
    _check_nifti(volume, base / "out" / "a.nii.gz")
    if volume.provenance.format == "dicom":
        try:
            _check_derived(volume, base / "out" / "derived")
        except InputError:
            return "volume, no DICOM"
    return "volume"


def _read(path: Path) -> Volume:
    try:
        return read_scan(path)
    except InputError as error:
        # What must be chosen among several is read further with the first.
        if "--series" in str(error):
            return read_scan(path, series=1)
        if "--index" in str(error):
            return read_scan(path, index=0)
        raise


def _check_nifti(volume: Volume, path: Path) -> None:
    # NIfTI of CT is in HU; values of another kind (dual-energy maps) have no padding that reading would fill.
    modality = "OT" if volume.modality == "CT" and volume.unit != "HU" else volume.modality
    back = read_scan(write_nifti(volume, path), modality=modality)
    wanted = np.asarray(volume.array)
    if volume.unit == "HU":
        wanted = np.maximum(wanted, -1024)
    if back.shape != volume.shape or not np.array_equal(back.array, wanted):
        raise _WrongResultError("NIfTI holds other values than were written")
    _check_positions(back, volume, "NIfTI")


def _check_derived(volume: Volume, folder: Path) -> None:
    write_derived_series(volume, folder, description="fuzz", settings_summary="fuzz")
    back = read_scan(folder)
    wanted = np.asarray(volume.array, np.float64)
    # 0 stays a number of its own, so half of 16 bits may go unused.
    step = np.abs(wanted).max() / 32767 if volume.unit != "HU" else 1.0
    tolerance = _STEPS * step + 1e-6 * np.abs(wanted).max()
    if back.shape != volume.shape or np.abs(back.array - wanted).max() > tolerance:
        raise _WrongResultError("derived DICOM holds other values than were written")
    _check_positions(back, volume, "derived DICOM")


def _check_positions(back: Volume, volume: Volume, name: str) -> None:
    z, y, x = volume.shape
    corners = np.array([[i, j, k, 1] for i in (0, x - 1) for j in (0, y - 1) for k in (0, z - 1)]).T
    wanted, found = volume.affine @ corners, back.affine @ corners
    if np.abs(found - wanted).max() > _POSITION + 1e-5 * np.abs(wanted).max():
        raise _WrongResultError(f"{name} lies {np.abs(found - wanted).max():.3g} mm off")


@contextmanager
def _clock(seconds: float) -> Iterator[None]:
    def ring(signum: int, frame: FrameType | None) -> None:
        raise _TooLong

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _reset_peak() -> int:
    """Start a new measurement of the peak; returns the memory held now, in bytes (0 where this is not Linux)."""
    if sys.platform != "linux" or not os.access("/proc/self/clear_refs", os.W_OK):
        return 0
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM") if sys.platform == "linux" and os.access("/proc/self/clear_refs", os.W_OK) else 0


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def work(seed: int, numbers: range, base: Path, send: Callable[[tuple[str, Any]], None]) -> None:
    """Try inputs one after the other; announces each before it starts and sends its `Outcome` afterwards.

    Everything undamaged is read first, so that libraries loaded on first use do not count as memory of an input.
    """
    # Archives are unpacked where everything is removed with the input.
    tempfile.tempdir = str(base / "tmp")
    kinds = originals()
    for kind, files in kinds.items():
        _clear(base)
        path = lay_out(files, base / "in")
        send(("undamaged", (kind, *_judged(path, base))))
    if sys.platform == "linux":
        limit = _status("VmSize") + _ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    for number in numbers:
        send(("begun", number))
        send(("done", try_input(seed, number, kinds, base)))
    send(("finished", None))
