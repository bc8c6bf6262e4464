"""Number of threads of a command, and how idle threads wait."""

from __future__ import annotations

import argparse
import functools
import os
from pathlib import Path

#: Idle OpenMP workers sleep after some 20 microseconds. GNU's runtime (torch's Linux builds) counts iterations of a
#: loop. LLVM's and Intel's (the other builds) count milliseconds; there they sleep at once. NumPy's OpenBLAS counts
#: powers of two of the processor's cycles; its default is 20 milliseconds.
WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0", "OPENBLAS_THREAD_TIMEOUT": "16"}

#: If any of these is in the environment, the user has decided how threads wait.
DECIDED = ("OMP_WAIT_POLICY", *WAITING)


def wait_briefly() -> None:
    """Let idle threads sleep soon instead of spinning; each runtime reads this once, when it is loaded.

    By default an idle worker spins for some milliseconds in case more work comes. Two processes on the same cores then
    lose whole time slices to loops that compute nothing. Workers that sleep at once have to be woken for every small
    operation: a reconstruction takes a third longer. With a short wait nearly all of that is avoided, and two
    reconstructions at once take no longer than one after the other.
    """
    if not any(name in os.environ for name in DECIDED):
        os.environ.update(WAITING)


def machine_threads() -> int:
    """Number of threads that the machine can run at once."""
    return os.cpu_count() or 1


def granted_threads(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Number of threads that this process may run at once: its CPU affinity, or its container's quota if smaller.

    Parameters
    ----------
    quota : Path
        File of two words, microseconds of processor time per period (or ``max``) and the period; may be missing.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine_threads()
    try:
        time, period = quota.read_text().split()
        # Rounded down: a thread beyond the quota is suspended, and all the others wait for it.
        return max(1, min(affinity, int(time) // int(period)))
    except (OSError, ValueError):
        return affinity


def parse_threads(text: str) -> int:
    """Read a number of threads, at most as many as this machine has.

    Examples
    --------
    >>> parse_threads("1")
    1
    """
    most = machine_threads()
    wanted = f"1 to {most}" if most > 1 else "1"
    try:
        count = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number. Give {wanted}, or leave it out.") from error
    if not 1 <= count <= most:
        raise argparse.ArgumentTypeError(
            f"{count} threads were asked for; this machine runs {wanted}. Give that, or leave it out."
        )
    return count


@functools.cache
def _own_choice() -> int:
    # Read once, before anything is set: torch excludes hyperthreads and respects OMP_NUM_THREADS.
    import torch

    return torch.get_num_threads()


def use_threads(count: int | None) -> int:
    """Set the threads of torch's operations, by default to what this process may use; return the number."""
    import torch

    own = _own_choice()
    chosen = min(granted_threads(), own) if count is None else count
    torch.set_num_threads(chosen)
    return chosen
