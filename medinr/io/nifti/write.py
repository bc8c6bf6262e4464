"""Volumes to NIfTI files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medinr.errors import FileError, InputError, IntensityError
from medinr.io.atomic import atomic_path
from medinr.io.hashes import hash_scan
from medinr.io.nifti.geometry import is_sheared
from medinr.io.nifti.header import NiftiFile, open_nifti, read_extensions
from medinr.volume import Volume

#: Fields of a source's header that stay true when the scan is cut, resampled or reconstructed.
_KEPT = ("descrip", "intent_code", "intent_name", "intent_p1", "intent_p2", "intent_p3")

#: Code of coordinates in the scanner's space (NIFTI_XFORM_SCANNER_ANAT).
_SCANNER = 1


def write_nifti(
    volume: Volume, path: Path | str, overwrite: bool = False, dtype: str | None = None, *, source_header: bool = True
) -> Path:
    """Write a volume as ``.nii`` or ``.nii.gz``, atomically, geometry in both sform and qform.

    A volume that came from a NIfTI file, which is still there unchanged, keeps that file's description, extensions,
    intent, space (scanner, MNI) and time between volumes; otherwise a known repetition time is written.

    Parameters
    ----------
    volume : Volume
    path : Path or str
    overwrite : bool
    dtype : str, optional
        Such as ``"uint16"``, to keep a file small; refused unless every value survives it exactly.
    source_header : bool
        False leaves out description, extensions and intent, which may hold anything or be untrue of what was computed
        (a map of uncertainty); space and time are kept all the same.

    Raises
    ------
    OutputExistsError
        When the file exists and `overwrite` is not set.
    FileError
        When the name does not end in .nii or .nii.gz, or nothing can be written there.
    IntensityError
        When `dtype` cannot hold the values.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise FileError(f"{path}: scans are written as NIfTI; give it a name that ends in .nii or .nii.gz.")
    # A view: x varies fastest in both.
    array: NDArray[Any] = volume.array.T
    if dtype is not None:
        array = _narrowed(volume.array, dtype, path.name).T
    image: Any = nib.Nifti1Image(array, volume.affine, dtype=array.dtype)
    space = _SCANNER
    source = _source(volume)
    repetition = volume.provenance.facts.repetition_time
    image.header.set_xyzt_units("mm", None if repetition is None else "sec")
    if repetition is not None:
        image.header["pixdim"][4] = repetition / 1000
    if source is not None:
        space = _keep_space_and_time(image, source)
        if source_header:
            _keep_texts(image, source)
    image.set_sform(volume.affine, code=space)
    # A qform is a rotation and spacings and cannot express shear; then only the sform is valid.
    image.set_qform(volume.affine, code="unknown" if is_sheared(volume.affine) else space)
    try:
        with atomic_path(path, overwrite) as temporary:
            nib.save(image, temporary)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error}).") from error
    return path


def _narrowed(array: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise IntensityError(f"{name}: {dtype!r} is no kind of number; say int16, uint16, float32 or such.") from error
    narrow = np.empty(array.shape, dtype=kind)
    with np.errstate(invalid="ignore", over="ignore"):
        for number, plane in enumerate(array):
            narrow[number] = plane.astype(kind)
            if not np.array_equal(narrow[number].astype(array.dtype), plane):
                raise IntensityError(
                    f"{name}: {dtype} cannot hold the values {array.min():g} to {array.max():g} exactly."
                )
    return narrow


def _source(volume: Volume) -> NiftiFile | None:
    """Return the NIfTI file that a volume came from, if it is there unchanged."""
    provenance = volume.provenance
    if provenance.format != "nifti" or not provenance.files:
        return None
    try:
        scan = open_nifti(provenance.files[0])
        same = hash_scan(provenance.files[0]) == provenance.sha256
    except InputError:
        return None
    return scan if same and not scan.is_analyze else None


def _keep_texts(image: Any, source: NiftiFile) -> None:
    """Copy description, intent and extensions."""
    for name in _KEPT:
        image.header[name] = source.header[name]
    for extension in read_extensions(source):
        image.header.extensions.append(extension)


def _keep_space_and_time(image: Any, source: NiftiFile) -> int:
    """Copy the time between volumes, and return the code of the source's space."""
    old, new = source.header, image.header
    time = int(old["xyzt_units"]) & 0x38
    step = float(old["pixdim"][4])
    if time and np.isfinite(step) and step > 0:
        new["pixdim"][4] = step
        new["xyzt_units"] = (int(new["xyzt_units"]) & 7) | time
    code = int(old["sform_code"]) or int(old["qform_code"])
    return code if 1 <= code <= 5 else _SCANNER
