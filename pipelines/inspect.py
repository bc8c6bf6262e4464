"""What is in this file or folder, in words and without anything that names the patient."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medinr.errors import FileError
from medinr.io.hashes import looks_like_dicom
from medinr.io.raw.read import is_raw, read_raw
from medinr.io.scan import read_scan
from medinr.jobs.inspect.describe import describe_dicom, describe_manifest, describe_safetensors, describe_volume
from medinr.jobs.inspect.raw import describe_raw


def inspect(
    path: Path | str,
    *,
    index: int | None = None,
    series: int | None = None,
    sidecar: Path | str | Mapping[str, Any] | None = None,
) -> str:
    """Describe a scan, a raw measurement, a folder of series, a manifest or a medinr file.

    Parameters
    ----------
    path : Path or str
        DICOM folder or file, NIfTI, raw data (see `medinr.io.raw.read.read_raw`), ``.safetensors`` (measurement or
        model) or ``.csv`` (manifest).
    index : int, optional
        Which volume of a four-dimensional NIfTI file.
    series : int, optional
        Which series of a DICOM folder; all are listed without it.
    sidecar : Path, str or mapping, optional
        What a raw file does not say itself.

    Returns
    -------
    str
        Several lines: geometry, intensities and oddities, or what keeps the scan from being used.

    Raises
    ------
    FileError
        When nothing that medinr knows is at `path`.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return describe_safetensors(path)
    if path.suffix == ".csv":
        return describe_manifest(path)
    if is_raw(path):
        return describe_raw(read_raw(path, sidecar=sidecar))
    if sidecar is not None:
        raise FileError(f"{path}: a sidecar explains raw data; this is none.")
    if path.is_dir() or (path.is_file() and looks_like_dicom(path)):
        return describe_dicom(path, series)
    return describe_volume(read_scan(path, index=index, series=series))
