"""How much memory this process has needed at most."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path


def peak_memory() -> int:
    """Peak resident size of this process in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def forget_peak() -> None:
    """Begin to measure the peak anew, where the system can (Linux); elsewhere it is that of its whole life."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_since() -> float:
    """Peak resident size in MiB since `forget_peak`; NaN where the system does not say."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        if found:
            return int(found[1]) / 1024
    return peak_memory() / 2**20 or float("nan")
