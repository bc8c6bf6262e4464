"""Any scan to a volume, by the content of the file and not by its name."""

from __future__ import annotations

from pathlib import Path

from medinr.errors import FileError, UnitError
from medinr.io.dicom.read import read_dicom_series
from medinr.io.hashes import looks_like_dicom
from medinr.io.nifti import read_nifti
from medinr.volume import Volume


def read_scan(
    path: Path | str, *, index: int | None = None, series: int | None = None, modality: str | None = None
) -> Volume:
    """Read a DICOM folder, a DICOM file or a NIfTI file.

    Parameters
    ----------
    path : Path or str
    index : int, optional
        Which volume of a four-dimensional NIfTI file, from 0.
    series : int, optional
        Which series of a DICOM folder, from 1.
    modality : {"MR", "CT", "OT"}, optional
        For NIfTI, which does not name it; for DICOM it must agree with the header.

    Raises
    ------
    FileError
        When there is nothing readable at `path`, or a choice does not apply to what is there.
    GeometryError
        When DICOM slices form no regular stack.
    UnitError
        When a DICOM series is of another modality.

    See Also
    --------
    medinr.io.nifti.read_nifti, medinr.io.dicom.read.read_dicom_series
    """
    path = Path(path)
    if not path.exists():
        raise FileError(f"{path}: no such file or folder.")
    if path.is_dir() or (path.is_file() and looks_like_dicom(path)):
        if index is not None:
            raise FileError(f"{path}: --index chooses a volume of a NIfTI file; this is DICOM, choose with --series.")
        volume = read_dicom_series(path, series)
        if modality not in (None, volume.modality):
            raise UnitError(f"{path}: {modality} was asked for; the DICOM header has {volume.modality}.")
        return volume
    if series is not None:
        raise FileError(f"{path}: --series chooses a series of a DICOM folder; this is a file that is not DICOM.")
    return read_nifti(path, index, modality)
