"""How much memory this process has needed at most."""

from __future__ import annotations

import sys


def peak_memory() -> int:
    """Peak resident size of this process in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
