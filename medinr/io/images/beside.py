"""What stands beside a NIfTI scan and stays true of a result: times, b-values and directions, without texts."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from medinr.io.atomic import write_json, write_text
from medinr.io.images.bids import MOST_SIDECAR_BYTES, read_sidecar, stem_of
from medinr.io.recognise import is_accessible

#: Facts of a sidecar that are of the slices as they were acquired: not true on another grid.
OF_SLICES = ("SliceThickness", "SliceTiming")

_WORD = re.compile(r"[A-Z0-9_ .:+-]{1,32}")


def write_beside(source: Path, result: Path, *, same_grid: bool, same_axes: bool, overwrite: bool) -> list[str]:
    """Write the sidecars of a result from those of its source: ``.json``, ``.bval`` and ``.bvec``.

    Parameters
    ----------
    source : Path
        NIfTI scan.
    result : Path
        NIfTI file that was made of it.
    same_grid : bool
        Whether it has the same slices; facts of single slices are left out otherwise.
    same_axes : bool
        Whether its voxel axes run the same way; directions of diffusion are along these, and left out otherwise.
    overwrite : bool

    Returns
    -------
    list of str
        Names of the files written. Of the JSON sidecar, numbers and words in capitals only, as it may hold anything.
    """
    stem, folder = stem_of(result), result.parent
    written = []
    fields, _ = read_sidecar(source)
    kept = {key: value for key, value in fields.items() if _is_plain(value) and (same_grid or key not in OF_SLICES)}
    if kept:
        written.append(write_json(folder / f"{stem}.json", kept, overwrite).name)
    for ending in (".bval", ".bvec") if same_axes else (".bval",):
        text = _numbers(source.with_name(stem_of(source) + ending))
        if text:
            written.append(write_text(folder / f"{stem}{ending}", text, overwrite).name)
    return written


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) < MOST_SIDECAR_BYTES and all(_is_plain(item) and not isinstance(item, list) for item in value)
    if isinstance(value, str):
        return bool(_WORD.fullmatch(value))
    return isinstance(value, int | float) and math.isfinite(value)


def _numbers(path: Path) -> str:
    """The text of a file of numbers as it stands; empty where there is none, or it holds anything else."""
    if not is_accessible(path) or path.stat().st_size > MOST_SIDECAR_BYTES:
        return ""
    try:
        text = path.read_text("utf-8")
        for word in text.split():
            float(word)
    except (ValueError, OSError):
        return ""
    return text
