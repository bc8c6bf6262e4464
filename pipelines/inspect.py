"""What is in this file or folder, whether medinr can use it, and what that means for results made from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medinr.errors import FileError
from medinr.io.choice import AS_IT_IS, ScanChoice
from medinr.io.dicom.series import is_dicom_source
from medinr.io.raw.recognise import is_raw
from medinr.io.scan import inside_archive, open_scan
from medinr.jobs.inspect.describe import describe_manifest, describe_safetensors
from medinr.jobs.inspect.inspection import Inspection
from medinr.jobs.inspect.scans import inspect_dicom, inspect_volume


def inspect(
    path: Path | str,
    *,
    choice: ScanChoice = AS_IT_IS,
    sidecar: Path | str | Mapping[str, Any] | None = None,
) -> Inspection:
    """Describe a scan, a raw measurement, a folder of series, a manifest or a medinr file.

    Parameters
    ----------
    path : Path or str
        DICOM folder, archive or file, NIfTI, raw data (see `medinr.io.raw.read.read_raw`), ``.safetensors``
        (measurement or model) or ``.csv`` (manifest).
    choice : ScanChoice
        Which scan, where there are several; all series of a DICOM folder are listed where none is named.
    sidecar : Path, str or mapping, optional
        What a raw file does not say itself.

    Returns
    -------
    Inspection
        Its `text` and `json` describe it, `usable` tells whether there is something to work with.

    Raises
    ------
    FileError
        When nothing that medinr knows is at `path`.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return Inspection("safetensors", lines=tuple(describe_safetensors(path).splitlines()))
    if path.suffix == ".csv":
        return Inspection("manifest", lines=tuple(describe_manifest(path).splitlines()))
    if is_raw(path):
        from medinr.io.raw.read import read_raw
        from medinr.jobs.inspect.raw import describe_raw

        return Inspection("raw", lines=tuple(describe_raw(read_raw(path, sidecar=sidecar)).splitlines()))
    if sidecar is not None:
        raise FileError(f"{path}: a sidecar explains raw data; this is none.")
    path = inside_archive(path)
    if is_dicom_source(path) and choice.index is None:
        return inspect_dicom(path, choice.series, choice.modality)
    return inspect_volume(open_scan(path, choice))
