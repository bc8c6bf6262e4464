"""One NIfTI file of one volume or several, written volume by volume, so that one of them is in memory."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np

from medinr.errors import FileError, MedinrError, ShapeError
from medinr.io.atomic import atomic_path
from medinr.io.nifti.geometry import is_sheared
from medinr.io.nifti.header import NiftiFile
from medinr.io.nifti.stored import StoredAs, nifti_source
from medinr.volume import Array, Volume

#: Fields of a source's header that place its voxels in the patient, and slices in time.
_PLACE = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)
_SLICES = ("dim_info", "slice_start", "slice_end", "slice_code", "slice_duration", "toffset")

#: Affines that differ by less (mm, and mm per voxel) are those of one grid; headers keep float32.
_SAME = 1e-4

#: Largest number of voxels along an axis that NIfTI-1 can say.
_MOST_OF_ONE = 2**15 - 1

#: Bytes of a description; one more ends it.
_DESCRIPTION = 79

#: Of gzip: noise does not compress, and the fastest is nearly as small as the smallest.
_LEVEL = 1

#: Unit of time (xyzt_units), and of length: mm.
_TIME, _MM, _SECONDS = 0x38, 2, 8


@contextmanager
def nifti_series(
    path: Path | str, like: Volume, count: int, stored: StoredAs, overwrite: bool = False, description: str = ""
) -> Iterator[Callable[[Array], None]]:
    """Write volumes of one grid into one file, atomically: three-dimensional for one volume, else four-dimensional.

    Where the grid is that of a NIfTI source that is still there, sform and qform are copied with their codes, and so
    are the order and times of slices. The time between volumes is kept always. Texts of the source are not copied, as
    they may hold anything.

    Parameters
    ----------
    path : Path or str
        Ends in .nii or .nii.gz.
    like : Volume
        Grid and provenance; its values do not count.
    count : int
        How many volumes will come.
    stored : StoredAs
        How values are stored.
    overwrite : bool
    description : str
        Text for the header, of 79 characters that are kept.

    Yields
    ------
    callable
        Takes the values of the next volume, shape (z, y, x).

    Raises
    ------
    OutputExistsError
        When the file exists and `overwrite` is not set.
    FileError
        When it cannot be written, or has another ending.
    ShapeError
        When a volume has another shape, or another number of them came.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise FileError(f"{path}: scans are written as NIfTI; give it a name that ends in .nii or .nii.gz.")
    header = _header(like, count, stored)
    header["descrip"] = description.encode("ascii", "replace")[:_DESCRIPTION]
    done = 0
    try:
        with atomic_path(path, overwrite) as temporary, _opened(temporary) as file:
            file.write(header.binaryblock + bytes(4))

            def add(values: Array) -> None:
                nonlocal done
                if values.shape != like.shape or done == count:
                    raise ShapeError(f"Volume {done} of {count} has shape {values.shape}; the grid is {like.shape}.")
                for plane in values:  # a slice at a time, for memory
                    file.write(np.ascontiguousarray(stored.stored(plane)).astype(_little(stored), copy=False).data)
                done += 1

            yield add
            if done != count:
                raise ShapeError(f"{path.name} was to hold {count} volumes; {done} came.")
    except MedinrError:
        raise
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error}).") from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as raw:
        if path.name.endswith(".nii"):
            yield raw
        else:
            # Neither the name nor the hour of writing goes into the file.
            with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as packed:
                yield packed  # type: ignore[misc]


def _little(stored: StoredAs) -> np.dtype[Any]:
    return stored.dtype.newbyteorder("<")


def _header(like: Volume, count: int, stored: StoredAs) -> Any:
    shape = (*like.shape[::-1], *((count,) if count > 1 else ()))
    kind: Any = nib.Nifti1Header if max(shape) <= _MOST_OF_ONE else nib.Nifti2Header
    header = kind(endianness="<")
    header.set_data_dtype(_little(stored))
    header.set_data_shape(shape)
    header.set_slope_inter(stored.slope, stored.intercept)
    source = nifti_source(like)
    header["xyzt_units"] = _MM
    _place(header, like, source)
    repetition = like.provenance.facts.repetition_time
    step = 0.0 if source is None else float(source.header["pixdim"][4])
    unit = 0 if source is None else int(source.header["xyzt_units"]) & _TIME
    if unit and np.isfinite(step) and step > 0:
        header["pixdim"][4], header["xyzt_units"] = step, _MM | unit
    elif repetition is not None:
        header["pixdim"][4], header["xyzt_units"] = repetition / 1000, _MM | _SECONDS
    header["magic"] = b"n+1"
    header["vox_offset"] = int(header["sizeof_hdr"]) + 4
    return header


def _place(header: Any, like: Volume, source: NiftiFile | None) -> None:
    """Write the affine: as it stands in the source where that has the same grid, else in both forms."""
    codes = (1, 1)
    if source is not None:
        old = source.header
        codes = int(old["sform_code"]), int(old["qform_code"])
        if _is_same_grid(old, like):
            header["pixdim"][:4] = old["pixdim"][:4]
            for name in (*_PLACE, *_SLICES):
                header[name] = old[name]
            return
    known = next((code for code in codes if 1 <= code <= 5), 1)
    sform, qform = (code if 1 <= code <= 5 else known for code in codes)
    header.set_sform(like.affine, code=sform)
    # A qform is a rotation and spacings and cannot express shear; then only the sform is valid.
    header.set_qform(like.affine, code=0 if is_sheared(like.affine) else qform)


def _is_same_grid(old: Any, like: Volume) -> bool:
    shape = (*(int(size) for size in old.get_data_shape()[:3]), 1, 1)[:3]
    if shape != like.shape[::-1] or int(old["xyzt_units"]) & 7 not in (0, _MM):
        return False
    return bool(np.abs(old.get_best_affine() - like.affine).max() <= _SAME)
