"""Memory that a command frees is kept for what comes next."""

import platform
import subprocess
import sys

import pytest

#: Pages that are asked for while pieces as large as the feature maps of a slice come and go.
COME_AND_GO = """
import resource
import numpy as np
from medinr.cli.memory import keep_freed_memory

kept = [keep_freed_memory() for _ in range(2)]
pieces = lambda: [np.ones(2**22, np.float32) for _ in range(3)]
pieces()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    pieces()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="GNU's C library alone is told")
@pytest.mark.parametrize("decided", [False, True])
def test_pages_are_asked_for_once_unless_the_user_has_decided(decided, monkeypatch):
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    if decided:
        monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "131072")
    words = subprocess.run([sys.executable, "-c", COME_AND_GO], capture_output=True, text=True, check=True).stdout
    kept, pages = words.rsplit(" ", 1)
    assert kept == f"[{not decided}, False]"
    # Thirty pieces of 16 MiB, in pages of 4 KiB (or larger ones, of some machines).
    assert (int(pages) < 100) is not decided
