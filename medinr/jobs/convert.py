"""A scan on the grid and in the format that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from medinr.data.resample import isotropic, onto_scan
from medinr.errors import ConfigError, FileError, OutputExistsError
from medinr.io.atomic import require_writable
from medinr.io.dicom.derived.deidentify import require_deidentifier
from medinr.io.dicom.derived.sources import why_not_dicom
from medinr.io.dicom.derived.write import write_derived_series
from medinr.io.nifti import write_nifti
from medinr.io.provenance import notes_without_names
from medinr.io.scan import read_scan
from medinr.volume import Volume

#: Names of grids; any other is the path of a scan.
GRIDS = ("native", "isotropic")

_NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True, eq=False)
class Converted:
    """What `medinr convert` made.

    Attributes
    ----------
    volume : Volume
    files : tuple of Path
    step : float or None
        Distance of the stored values in DICOM, in the volume's unit; None in NIfTI, which keeps every value.
    notes : tuple of str
        For the user.
    """

    volume: Volume
    files: tuple[Path, ...]
    step: float | None = None
    notes: tuple[str, ...] = ()

    def said(self) -> tuple[str, ...]:
        """Irregularities of the scan and of what was written, in words that name no file."""
        found = notes_without_names(self.volume.provenance.notes, self.volume.provenance.files)
        if self.step is None:
            return (*found, *self.notes)
        return (*found, f"values are stored in steps of {self.step:.3g} {self.volume.unit}", *self.notes)


def is_nifti_name(out: Path) -> bool:
    """Whether an output is a NIfTI file by its name; else it is a folder for DICOM.

    Raises
    ------
    FileError
        When the name has another ending.
    """
    if out.name.endswith(_NIFTI):
        return True
    if out.suffix and not out.is_dir():
        raise FileError(
            f"{out}: scans are written as .nii or .nii.gz, or as DICOM into a folder (a name without ending)."
        )
    return False


def require_convertible_name(out: Path, grid: str, spacing: float | None, overwrite: bool) -> None:
    """Refuse an output or a grid that cannot be, before anything is read.

    Raises
    ------
    OutputExistsError
        When `out` is there and may not be replaced.
    FileError
        When nothing can be written there, or its name has an ending of neither NIfTI nor a folder.
    ConfigError
        When a spacing is given for another grid than the isotropic one.
    """
    if out.exists() and not overwrite:
        raise OutputExistsError(f"{out} exists already. Choose another --out, or replace it with --overwrite.")
    if spacing is not None and grid != "isotropic":
        raise ConfigError("--spacing is of cubic voxels: say --grid isotropic too, or leave it out.")
    is_nifti_name(out)
    require_writable(out.parent)


def require_convertible(scan: Volume, out: Path, deidentify: bool) -> None:
    """Refuse DICOM that cannot be written, before anything is computed.

    Raises
    ------
    FileError
        When the source gives no header for a derived series.
    LibraryError
        When DICOM is to be de-identified and the library for it is missing.
    """
    if is_nifti_name(out):
        if deidentify:
            raise FileError(f"{out}: --deidentify is for DICOM; NIfTI written by medinr has no patient in its header.")
        return
    reason = why_not_dicom(scan)
    if reason:
        raise FileError(
            f"{out}: cannot be written as DICOM: {reason} Write .nii.gz, or name the DICOM series with --of."
        )
    if deidentify:
        require_deidentifier()


def on_grid(scan: Volume, grid: str, spacing: float | None = None) -> Volume:
    """Return a scan on its own grid (``native``), with cubic voxels (``isotropic``), or on the grid of another scan."""
    if grid == "native":
        return scan
    return isotropic(scan, spacing) if grid == "isotropic" else onto_scan(scan, read_scan(grid))


def write_converted(
    volume: Volume, source: Volume, out: Path, *, grid: str, overwrite: bool, deidentify: bool
) -> Converted:
    """Write a volume as its name says.

    Parameters
    ----------
    volume : Volume
    source : Volume
        DICOM series whose patient and study a derived series belongs to.
    out : Path
        ``.nii``, ``.nii.gz``, or a folder.
    grid : str
        Name of the grid, or the path of a scan, which is not written down.
    overwrite, deidentify : bool
    """
    if is_nifti_name(out):
        write_nifti(volume, out, overwrite, dtype=_exact_type(volume), source_header=True)
        return Converted(volume, (out,))
    written = write_derived_series(
        volume,
        out,
        description="medinr",
        settings_summary=f"medinr {version('medinr')}, converted, grid {grid if grid in GRIDS else 'of another scan'}",
        derivation="",
        source=source,
        overwrite=overwrite,
        deidentify=deidentify,
    )
    return Converted(volume, written.files, written.step, written.notes)


def _exact_type(volume: Volume) -> str | None:
    """Whole numbers of 16 bits are stored as such: half the size, and no value changes."""
    if np.iscomplexobj(volume.array):
        return None
    limits = np.iinfo(np.int16)
    for plane in volume.array:
        whole = np.rint(plane)
        if not np.array_equal(whole, plane) or plane.min() < limits.min or plane.max() > limits.max:
            return None
    return "int16"
