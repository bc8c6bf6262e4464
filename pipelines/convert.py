"""Scan in, the same scan out: as NIfTI or DICOM, on its own grid or another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medinr.io.choice import AS_IT_IS, ScanChoice
from medinr.io.scan import open_scan
from medinr.jobs.convert import Converted, on_grid, require_convertible, require_convertible_name, write_converted


def convert(
    source: Path,
    out: Path,
    *,
    grid: str = "native",
    spacing: float | None = None,
    of: Path | None = None,
    slices: Sequence[int] | None = None,
    choice: ScanChoice = AS_IT_IS,
    overwrite: bool = False,
    deidentify: bool = False,
) -> Converted:
    """Read any scan and write it as NIfTI or as a derived DICOM series.

    Parameters
    ----------
    source : Path
        Whatever `medinr.io.scan.read_scan` reads.
    out : Path
        ``.nii`` or ``.nii.gz``; or a folder, for DICOM.
    grid : str
        ``native``; ``isotropic``; or the path of a scan whose grid is wanted.
    spacing : float, optional
        Of isotropic voxels in mm; by default the scan's smallest.
    of : Path, optional
        DICOM series that the scan was made from, whose patient and study the derived series belongs to.
    slices : sequence of int, optional
        Evenly spaced slice numbers; all by default.
    choice : ScanChoice
        Which scan, where there are several.
    overwrite : bool
        Replace a finished output.
    deidentify : bool
        Write DICOM under the Basic Application Level Confidentiality Profile.

    Returns
    -------
    Converted
    """
    require_convertible_name(out, grid, spacing, overwrite)
    scan = open_scan(source, choice, slices)
    original = scan if of is None else open_scan(of, ScanChoice(series=choice.series if of == source else None))
    require_convertible(original, out, deidentify)
    volume = on_grid(scan, grid, spacing)
    return write_converted(volume, original, out, grid=grid, overwrite=overwrite, deidentify=deidentify)
