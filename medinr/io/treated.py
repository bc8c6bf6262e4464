"""What a header says of a scan that medinr treated: written into the result, and known again when that is read."""

from __future__ import annotations

import re

#: Note of a reader on what `medinr denoise` gave.
DENOISED_NOTE = "the scan was denoised by medinr already"

_DENOISED = re.compile(r"\bmedinr \S+, denoise\b")


def treated_by(version: str, verb: str) -> str:
    """Text for a header.

    Examples
    --------
    >>> treated_by("1.2", "denoise"), is_denoised(treated_by("1.2", "denoise"))
    ('medinr 1.2, denoise', True)
    """
    return f"medinr {version}, {verb}"


def is_denoised(text: str) -> bool:
    """Whether a text of a header says that medinr denoised the scan."""
    return _DENOISED.search(text) is not None
