"""Freed memory that is kept for reuse instead of being returned to the system."""

from __future__ import annotations

import ctypes
import os

#: GNU's allocator requests every block larger than the second size from the system, and returns it when it is freed. Of
#: smaller ones it keeps as much as the first size. The defaults are smaller than the feature maps of a slice, which are
#: allocated a thousand times in a reconstruction; each time the system would fill all their pages with zeros. Keys are
#: the environment variables that new processes read, values the option of `mallopt` (malloc.h) and the bytes.
KEPT = {"MALLOC_TRIM_THRESHOLD_": (-1, 2**28), "MALLOC_MMAP_THRESHOLD_": (-3, 2**26)}


def keep_freed_memory() -> bool:
    """Let this process and those it starts keep some memory that they free; only with GNU's C library.

    A reconstruction of 320 x 320 pixels takes a seventh less time.

    Returns
    -------
    bool
        Whether it was done; False where the user has set the variables, or on another system.
    """
    if any(name in os.environ for name in KEPT):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    os.environ.update({name: str(size) for name, (_, size) in KEPT.items()})
    taken = [mallopt(option, size) for option, size in KEPT.values()]
    return all(taken)
