"""What a file is, by its first bytes and not by its name, and what to do with what is no scan."""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

from medinr.errors import FileError
from medinr.io.folder import looks_like_dicom, why_unreadable

#: First bytes that are looked at; the mark of a tar archive stands at byte 257, that of NIfTI at 344.
_START = 1024

_GZIP = b"\x1f\x8b"

_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")

#: Kinds known by fixed bytes: (kind, offset, bytes).
_MARKS = (
    ("nrrd", 0, b"NRRD000"),
    ("zip", 0, b"PK\x03\x04"),
    ("empty_zip", 0, b"PK\x05\x06"),
    ("hdf5", 0, b"\x89HDF\r\n\x1a\n"),
    ("matlab", 0, b"MATLAB 5.0 MAT-file"),
    ("matlab", 0, b"MATLAB 7"),
    ("numpy", 0, b"\x93NUMPY"),
    ("minc1", 0, b"CDF\x01"),
    ("png", 0, b"\x89PNG\r\n\x1a\n"),
    ("jpeg", 0, b"\xff\xd8\xff"),
    ("jpeg2000", 4, b"jP  \r\n\x87\n"),
    ("gif", 0, b"GIF8"),
    ("bmp", 0, b"BM"),
    ("tiff", 0, b"II*\x00"),
    ("tiff", 0, b"MM\x00*"),
    ("pdf", 0, b"%PDF"),
    ("7z", 0, b"7z\xbc\xaf\x27\x1c"),
    ("rar", 0, b"Rar!\x1a\x07"),
    ("tar", 257, b"ustar"),
    ("bzip2", 0, b"BZh"),
    ("xz", 0, b"\xfd7zXZ\x00"),
    ("zstd", 0, b"\x28\xb5\x2f\xfd"),
    ("par", 0, b"# === DATA DESCRIPTION FILE"),
    ("vtk", 0, b"# vtk DataFile"),
)

_PICTURE = "Export the scan itself (DICOM or NIfTI), not a picture of it"
_ARCHIVE = "Unpack it and give the scan in it"
_RAW = "It may be raw data: `medinr reconstruct` takes it; a scan comes as DICOM or NIfTI"

#: What a kind is called, and what to do.
_ADVICE = {
    "dicom": ("DICOM", "Give it, or the folder that holds its slices, without compressing it"),
    "nifti": ("a NIfTI file", "medinr.load_scan reads it"),
    "analyze": ("a header of ANALYZE 7.5", "Give it together with its .img file"),
    "mgh": ("a FreeSurfer image (MGH, MGZ)", "medinr.load_scan reads it; or convert it with mri_convert to .nii.gz"),
    "nrrd": ("an NRRD image", "medinr.load_scan reads it; or convert it to .nii.gz"),
    "metaimage": ("a MetaImage (MHA, MHD)", "medinr.load_scan reads it; or convert it to .nii.gz"),
    "zip": ("a ZIP archive", _ARCHIVE),
    "empty_zip": ("an empty ZIP archive", "Pack the scan again, or give its folder"),
    "hdf5": ("an HDF5 file", _RAW),
    "matlab": ("a MATLAB file", _RAW),
    "numpy": ("a NumPy array", "An array has no position in mm; write it as .nii.gz with its affine"),
    "minc1": ("a MINC or NetCDF file", "Convert it with mnc2nii"),
    "png": ("a PNG picture", _PICTURE),
    "jpeg": ("a JPEG picture", _PICTURE),
    "jpeg2000": ("a JPEG 2000 picture", _PICTURE),
    "gif": ("a GIF picture", _PICTURE),
    "bmp": ("a BMP picture", _PICTURE),
    "tiff": ("a TIFF picture", _PICTURE),
    "pdf": ("a PDF document", "Give the scan it belongs to (DICOM or NIfTI)"),
    "7z": ("a 7z archive", _ARCHIVE),
    "rar": ("a RAR archive", _ARCHIVE),
    "tar": ("a TAR archive", _ARCHIVE),
    "bzip2": ("a bzip2 file", "Decompress it (bunzip2)"),
    "xz": ("an xz file", "Decompress it (unxz)"),
    "zstd": ("a zstd file", "Decompress it (unzstd)"),
    "par": ("a Philips PAR header", "Convert it with dcm2niix to .nii.gz"),
    "vtk": ("a VTK file", "Convert it to .nii.gz"),
    "html": ("an HTML page", "Was a page for logging in downloaded in place of the scan? Download it again"),
    "json": ("a JSON text", "Give the scan it belongs to (DICOM or NIfTI)"),
    "xml": ("an XML text", "Give the scan it belongs to (DICOM or NIfTI)"),
    "text": ("a text", "Give the scan it belongs to (DICOM or NIfTI)"),
    "empty": ("empty (0 bytes)", "Copy or export it again"),
    "zeros": ("zeros only", "Its copy was broken off: copy or export it again"),
    "gzip_damaged": ("a damaged gzip file", "It ends early or is damaged: copy or export it again"),
    "unknown": (
        "neither DICOM, NIfTI, MGH, NRRD nor MetaImage",
        "Export it again as DICOM or .nii.gz; voxels without a header (.img, .raw) need the header's file beside them",
    ),
}


@dataclass(frozen=True)
class Content:
    """Kind of a file.

    Attributes
    ----------
    kind : str
        ``"dicom"``, ``"nifti"``, ``"analyze"``, ``"mgh"``, ``"nrrd"``, ``"metaimage"`` are scans; others are not.
    compressed : bool
        Whether the whole file is compressed by gzip, whatever its name says.
    """

    kind: str
    compressed: bool


def require_file(path: Path) -> int:
    """Return a regular file's size in bytes, or say in words why there is none.

    Raises
    ------
    FileError
        When nothing is there, a link leads nowhere, access is denied, or it is a folder, a pipe or a device.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            with path.open("rb"):
                return status.st_size
    except OSError as error:
        raise FileError(f"{path}: {why_unreadable(path, error)}") from error
    except ValueError as error:
        raise FileError(f"{str(path)!r}: no path of a file ({error}).") from error
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
    raise FileError(f"{path}: this is {kind}; a scan's file was wanted (.nii, .nii.gz or another).")


def recognise(path: Path) -> Content:
    """Find out what a file is by its first bytes.

    Raises
    ------
    FileError
        When it cannot be read at all (see `require_file`).
    """
    require_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(_START)
        if looks_like_dicom(path):
            return Content("dicom", False)
        if start[:2] != _GZIP:
            return Content(_kind(start), False)
        with gzip.open(path) as unpacked:
            return Content(_kind(unpacked.read(_START)), True)
    except (EOFError, OSError, zlib.error):
        return Content("gzip_damaged", True)


def open_content(path: Path, compressed: bool) -> IO[bytes]:
    """Open a file for reading, through gzip where its content is compressed."""
    # A GzipFile has all that readers need, though its stub does not say so.
    return cast(IO[bytes], gzip.open(path)) if compressed else path.open("rb")


def explain(path: Path | str, content: Content, wanted: str = "a NIfTI file or another scan") -> str:
    """Say what a file is and what to do, where `wanted` was expected."""
    what, remedy = _ADVICE.get(content.kind, _ADVICE["unknown"])
    if content.kind == "unknown":
        return f"{path}: not {wanted}: its content is {what}. {remedy}."
    if content.compressed and content.kind not in ("gzip_damaged", "nifti", "mgh"):
        what, remedy = f"{what}, compressed by gzip", f"Decompress it (gunzip). {remedy}"
    return f"{path}: not {wanted} but {what}. {remedy}."


def naming_note(path: Path, compressed: bool) -> str:
    """Return a note where a file's ending says otherwise about its compression than its content; else nothing."""
    named = path.suffix.lower() in (".gz", ".mgz")
    if compressed and not named:
        return "the file is compressed by gzip, which its ending does not say; other programs may refuse it"
    if named and not compressed:
        return f"the file is not compressed, in spite of its ending {path.suffix.lower()}; other programs may refuse it"
    return ""


def _kind(start: bytes) -> str:
    if not start:
        return "empty"
    for kind, offset, mark in _MARKS:
        if start[offset : offset + len(mark)] == mark:
            return kind
    for recognised in (_dicom_kind(start), _nifti_kind(start), _mgh_kind(start), _text_kind(start)):
        if recognised:
            return recognised
    return "zeros" if not any(start) else "unknown"


def _dicom_kind(start: bytes) -> str:
    return "dicom" if start[128:132] == b"DICM" else ""


def _nifti_kind(start: bytes) -> str:
    sizes = {int.from_bytes(start[:4], order) for order in _ORDERS}
    if 540 in sizes and start[4:7] in (b"n+2", b"ni2"):
        return "nifti"
    if 348 in sizes:
        return "nifti" if start[344:347] in (b"n+1", b"ni1") else "analyze"
    return ""


def _mgh_kind(start: bytes) -> str:
    words = [int.from_bytes(start[4 * n : 4 * n + 4], "big") for n in range(6)]
    plausible = words[0] == 1 and all(1 <= size < 2**20 for size in words[1:5]) and words[5] in (0, 1, 3, 4, 10)
    return "mgh" if plausible and len(start) >= 90 else ""


def _text_kind(start: bytes) -> str:
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb"(ObjectType|ObjectSubType|Comment|NDims)\s*=", head) and re.search(rb"(?m)^NDims\s*=", head):
        return "metaimage"
    if re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", start):
        return ""
    lower = head[:256].lower()
    if lower.startswith(b"<!doctype html") or b"<html" in lower:
        return "html"
    if lower.startswith(b"<?xml"):
        return "xml"
    return "json" if head[:1] in (b"{", b"[") else "text"


def is_accessible(path: Path) -> bool:
    """Whether a file exists and may be read, without raising."""
    try:
        return path.is_file() and os.access(path, os.R_OK)
    except (OSError, ValueError):
        return False
