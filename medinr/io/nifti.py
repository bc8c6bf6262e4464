"""NIfTI files to volumes and back."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from medinr.errors import FileError, GeometryError, IntensityError
from medinr.io.atomic import atomic_path
from medinr.io.hashes import hash_file
from medinr.io.limits import require_readable_size
from medinr.io.padding import HU_FLOOR, fill_padding, padding_note
from medinr.volume import Affine, Array, Provenance, Volume

#: Units of length by their code in the header, and what they are in mm.
_LENGTH_UNITS = {1: "metres", 2: "mm", 3: "micrometres"}
_MM_PER_UNIT = {"metres": 1000.0, "mm": 1.0, "micrometres": 0.001, "unknown": 1.0}

#: Values at or below this in a scan of whole numbers can only be Hounsfield units of air.
_HU_AIR_AT_MOST = -900.0

#: sform and qform that place a corner voxel further apart than this (mm) give a note.
_FORM_TOLERANCE_MM = 0.1

#: No scan lies this far from its origin, in any unit of length.
_FARTHEST_MM = 1e9

#: Cosine between voxel axes from which a grid counts as sheared (0.1 degrees off a right angle).
_SHEAR_COSINE = 0.002


def read_nifti(path: Path | str, index: int | None = None, modality: str | None = None) -> Volume:
    """Read a NIfTI file as a float32 volume (complex64 for complex data) in RAS millimetres.

    The slope and intercept of the header are applied; the sform goes before the qform. NaN is accepted here;
    `Volume.require_usable` refuses it.

    Parameters
    ----------
    path : Path or str
        ``.nii`` or ``.nii.gz`` of 2, 3 or 4 dimensions.
    index : int, optional
        Which volume of a four-dimensional file, counted from 0.
    modality : {"MR", "CT", "OT"}, optional
        NIfTI does not name it. Without it, whole numbers reaching down to air (-900) are taken as CT in HU, all
        else as MR, and the guess is noted. CT padding becomes `medinr.io.padding.HU_FLOOR`.

    Raises
    ------
    FileError
        When the file is missing, truncated, not NIfTI, too large, or a volume must be chosen.
    GeometryError
        When its affine is singular.
    """
    path = Path(path)
    if path.is_dir():
        raise FileError(f"{path}: this is a folder; a NIfTI scan is one file (.nii or .nii.gz).")
    if not path.is_file():
        raise FileError(f"{path}: no such file.")
    notes: list[str] = []
    try:
        image: Any = nib.load(path, mmap=False)
        if not isinstance(image.header, nib.Nifti1Header):
            raise ImageFileError("another image format")
        shape = tuple(int(size) for size in image.shape)
        require_readable_size(shape[:3], path.name)
        selection = _choose(shape, index, path.name)
        data = np.asarray(image.dataobj[selection])
    except (ImageFileError, HeaderDataError, gzip.BadGzipFile) as error:
        raise FileError(f"{path}: not a NIfTI file, in spite of its name. Export it again as .nii.gz.") from error
    except (EOFError, OSError, zlib.error, ValueError) as error:
        raise FileError(f"{path}: the file ends early or is damaged. Copy or export it again.") from error
    array = _as_float(data.reshape(shape[:3] + (1,) * (3 - len(shape[:3]))), path.name, notes)
    try:
        affine = _affine(image.header, array.shape, path.name, notes)
    except (ValueError, HeaderDataError) as error:
        raise GeometryError(f"{path}: the header's rotation is impossible. Is it damaged?") from error
    modality, unit = _modality(array, modality, notes)
    if unit == "HU" and (array < HU_FLOOR).any():
        notes.append(padding_note(fill_padding(array)))
    provenance = Provenance("nifti", (path,), hash_file(path), "", tuple(notes))
    try:
        return Volume(np.ascontiguousarray(array.T), affine, modality, unit, provenance)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error


def write_nifti(volume: Volume, path: Path | str, overwrite: bool = False, dtype: str | None = None) -> Path:
    """Write a volume as ``.nii`` or ``.nii.gz``, atomically, geometry in both sform and qform.

    Parameters
    ----------
    volume : Volume
    path : Path or str
    overwrite : bool
    dtype : str, optional
        Such as ``"uint16"``, to keep a file small; refused unless every value survives it exactly.

    Raises
    ------
    OutputExistsError
        When the file exists and `overwrite` is not set.
    FileError
        When the name does not end in .nii or .nii.gz.
    IntensityError
        When `dtype` cannot hold the values.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise FileError(f"{path}: a NIfTI file's name ends in .nii or .nii.gz.")
    array = np.ascontiguousarray(volume.array.T)
    if dtype is not None:
        with np.errstate(invalid="ignore"):
            narrow = array.astype(dtype)
        if not np.array_equal(narrow.astype(array.dtype), array):
            raise IntensityError(
                f"{path.name}: {dtype} cannot hold the values {array.min():g} to {array.max():g} exactly."
            )
        array = narrow
    image: Any = nib.Nifti1Image(array, volume.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(volume.affine, code="scanner")
    # A qform is a rotation and spacings and cannot express shear; then only the sform is valid.
    image.set_qform(volume.affine, code="unknown" if _is_sheared(volume.affine) else "scanner")
    with atomic_path(path, overwrite) as temporary:
        nib.save(image, temporary)
    return path


def _choose(shape: tuple[int, ...], index: int | None, name: str) -> tuple[slice | int, ...]:
    count = math.prod(shape[3:])
    if not 2 <= len(shape) <= 4 and count > 1:
        raise FileError(f"{name}: {len(shape)} dimensions ({shape}); a scan has 2, 3 or 4.")
    if count > 1 and index is None:
        raise FileError(f"{name}: holds {count} volumes. Choose one with --index 0 to {count - 1}.")
    if index is not None and not 0 <= index < count:
        raise FileError(f"{name}: volume {index} was asked for; the file holds {count}, numbered 0 to {count - 1}.")
    return (
        *(slice(None) for _ in shape[:3]),
        *(0 for _ in shape[3:-1]),
        *((index or 0,) if len(shape) > 3 else ()),
    )


def _as_float(data: Any, name: str, notes: list[str]) -> Any:
    if data.dtype.names:
        raise FileError(f"{name}: holds colours (RGB), not intensities. Export the scan, not a picture of it.")
    if np.iscomplexobj(data):
        return np.asarray(data, dtype=np.complex64)
    if data.dtype.kind not in "iuf":
        raise FileError(f"{name}: voxels of kind {data.dtype} are not intensities.")
    with np.errstate(over="ignore"):
        array = np.asarray(data, dtype=np.float32)
    large = data.dtype.kind in "iu" and data.dtype.itemsize > 2
    if large and not np.array_equal(array.astype(np.float64), data):
        notes.append("whole numbers above 16777216 were rounded to float32")
    return array


def _affine(header: Any, shape: tuple[int, ...], name: str, notes: list[str]) -> Affine:
    affine = np.asarray(header.get_best_affine(), dtype=np.float64).copy()
    if not np.abs(affine).max() < _FARTHEST_MM:
        raise GeometryError(f"{name}: the header's affine is not a place in mm: {affine.tolist()}. Is it damaged?")
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if not sform_code and not qform_code:
        notes.append("the header has neither sform nor qform: spacing is known, position and orientation are not")
    if sform_code and qform_code:
        corner = np.array([*(size - 1 for size in shape), 1.0])
        apart = max(
            float(np.linalg.norm((header.get_sform() - header.get_qform()) @ point))
            for point in (corner, np.array([0, 0, 0, 1.0]))
        )
        if apart > _FORM_TOLERANCE_MM:
            notes.append(f"sform and qform differ by up to {apart:.1f} mm; the sform was used")
    # The low three bits are the unit of length; in a damaged header their value may be undefined.
    unit = _LENGTH_UNITS.get(int(header["xyzt_units"]) & 7, "unknown")
    affine[:3] *= _MM_PER_UNIT[unit]
    if unit == "unknown":
        notes.append("the header has no unit of length; mm was assumed")
    elif unit != "mm":
        notes.append(f"lengths were given in {unit} and converted to mm")
    if _is_sheared(affine):
        notes.append("the voxel axes are not at right angles (sheared affine)")
    return affine


def _modality(array: Array, modality: str | None, notes: list[str]) -> tuple[str, str]:
    if modality is not None:
        return modality, "HU" if modality == "CT" else "a.u."
    if not np.iscomplexobj(array):
        # A few slices suffice to tell whole numbers from fractions.
        sample = array[..., :: max(1, array.shape[-1] // 5)]
        if sample.min() <= _HU_AIR_AT_MOST and np.array_equal(sample, np.rint(sample)):
            notes.append("taken as CT in Hounsfield units: whole numbers that reach down to air")
            return "CT", "HU"
    notes.append("taken as MR: NIfTI does not name the modality")
    return "MR", "a.u."


def _is_sheared(affine: Affine) -> bool:
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not lengths.all():
        return False
    cosines = (axes.T @ axes) / np.outer(lengths, lengths)
    return bool(np.abs(cosines - np.eye(3)).max() > _SHEAR_COSINE)
