"""ECLARE (Remedios et al. 2025, arXiv 2503.11787), a program of its authors, run in an environment of its own.

Nothing of it is imported: its licence is its own. It learns from the slices of the scan, so it is given all of it, and
what it gives is kept for the other planes of the scan. With its own settings it takes days without a graphics
processor, so it is then told to learn less, by options of its command (`limits`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from medinr.data.resample import continued_onto
from medinr.errors import LibraryError
from medinr.io.atomic import write_json
from medinr.io.claims import wait_for_claim
from medinr.io.nifti import write_nifti
from medinr.io.scan import read_scan
from medinr.jobs.methods.acquired_thick import require_thick
from medinr.jobs.methods.input import MethodInput, Outcome
from medinr.jobs.methods.method import UnfinishedError
from medinr.volume import Provenance, Volume

#: Environment variable that names the command, such as ``/opt/eclare/bin/run-eclare``.
PROGRAM = "MEDINR_ECLARE"

#: Longest time on one scan.
LIMIT_SECONDS = 600.0

#: Training patches without a graphics processor, where the command does not say.
PATCHES = 800

#: Of these, so many make one step of the training: few, so that there are enough steps.
BATCH = 2

#: Characters of what the program said that an error repeats.
_LAST_WORDS = 300


def by_eclare(case: MethodInput) -> Outcome:
    """ECLARE on the whole scan, resampled to the plane by cubic splines; seconds are the plane's share.

    Raises
    ------
    UnfinishedError
        When it takes longer than `LIMIT_SECONDS` on the scan.
    LibraryError
        When its command fails or leaves no result.
    """
    acquisition = require_thick(case)
    scan = acquisition.scan
    # Nothing of the original scan travels to another program.
    scan = Volume(scan.array, scan.affine, scan.modality, scan.unit, Provenance())
    command = shlex.split(os.environ[PROGRAM])
    limited = limits(command, scan)
    command += limited
    # Of the same scan, what other options gave is another result.
    given = scan.array.tobytes() + scan.affine.tobytes() + shlex.join(command).encode()
    key = hashlib.sha256(given).hexdigest()[:16]
    image, facts = case.folder / f"eclare_{key}.nii.gz", case.folder / f"eclare_{key}.json"
    with wait_for_claim(facts.with_suffix(".claim")):
        if not facts.exists():
            write_json(facts, {"seconds": _run(command, scan, image), "limit": LIMIT_SECONDS})
    seconds = json.loads(facts.read_text())["seconds"]
    if seconds is None:
        raise UnfinishedError(f"ECLARE was stopped after {LIMIT_SECONDS / 60:g} minutes on the scan")
    plane = acquisition.grid(range(case.position, case.position + 1))
    found = continued_onto(read_scan(image, modality=scan.modality), plane.affine, plane.shape)
    reason = f"limited by {shlex.join(limited)}" if limited else ""
    return Outcome(torch.from_numpy(found.array[:, 0].copy()), seconds / acquisition.measurement.slices, reason=reason)


def limits(command: list[str], scan: Volume) -> list[str]:
    """Options that make the program learn less; none where its command names a graphics processor.

    Its search for the slice profile alone takes longer than `LIMIT_SECONDS` on one core. It is left out by telling a
    thickness: that of slices as thick as they are apart, which is also what medinr takes where nothing is told.

    Parameters
    ----------
    command : list of str
        What it names already is left as it is.
    scan : Volume
        Thick slices first.

    Returns
    -------
    list of str
        To be added to the command.
    """
    named = {word.partition("=")[0] for word in command}
    if "--gpu-id" in named:
        return []
    x, y, z = scan.spacing
    options = {
        "--n-patches": f"{PATCHES}",
        "--batch-size": f"{BATCH}",
        "--relative-slice-thickness": f"{z / min(x, y):.3f}",
    }
    return [word for option, value in options.items() if option not in named for word in (option, value)]


def _run(command: list[str], scan: Volume, result: Path) -> float | None:
    """Run the program on a scan and keep its result; seconds, or None where it was stopped."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_nifti(scan, folder / "scan.nii.gz")
        command = [*command, "--in-fpath", str(folder / "scan.nii.gz"), "--out-dir", str(folder / "out")]
        started = time.perf_counter()
        with (folder / "log").open("wb") as log:
            code = _code(command, log.fileno())
        seconds = time.perf_counter() - started
        if code is None:
            return None
        made = sorted((folder / "out").glob("scan*_eclare.nii*"))
        if code != 0 or not made:
            words = (folder / "log").read_text(errors="replace").strip()[-_LAST_WORDS:]
            raise LibraryError(
                f"The command of {PROGRAM} ended with exit code {code} and "
                f"{'a' if made else 'no'} result. It said: {words or 'nothing'}. Check that it runs by itself, or "
                f"unset {PROGRAM} to leave ECLARE out."
            )
        write_nifti(read_scan(made[0], modality=scan.modality), result, overwrite=True, source_header=False)
    return seconds


def _code(command: list[str], log: int) -> int | None:
    """Exit code of a command; None where it was stopped at the limit, with all that it started."""
    try:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    except OSError as error:
        raise LibraryError(
            f"The command of {PROGRAM} cannot be run ({error.strerror}): {shlex.join(command[:-4])}. Name one that can."
        ) from None
    with _ended_with_us(process):
        try:
            return process.wait(LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            return None


@contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process and all that it started at the end, also when this one is told to end meanwhile."""

    def end() -> None:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                if hasattr(os, "killpg"):
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
            process.wait()

    def end_both(number: int, _frame: object) -> None:
        end()
        signal.signal(number, before)
        os.kill(os.getpid(), number)

    # Python takes signals in its main thread only.
    watched = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, end_both) if watched else None
    try:
        yield
    finally:
        end()
        if watched:
            signal.signal(signal.SIGTERM, before)
