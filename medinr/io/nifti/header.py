"""Headers of NIfTI-1, NIfTI-2 and ANALYZE 7.5, checked, without their voxels."""

from __future__ import annotations

import logging
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension, Nifti1PairHeader
from nibabel.nifti2 import Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError
from nibabel.spm2analyze import Spm2AnalyzeHeader

from medinr.errors import FileError
from medinr.io.images.pairs import other_of_pair
from medinr.io.nifti.voxels import Layout
from medinr.io.recognise import explain, open_content, recognise, require_file

#: Extensions that begin within this many bytes of the file are kept when a scan is written again.
MOST_EXTENSION_BYTES = 2**20

#: nibabel's own messages about headers; ours stand in the notes.
_QUIET = logging.getLogger("medinr.io.nifti.header")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False

#: Units of time in the header (xyzt_units), in ms.
_MS_PER_UNIT = {8: 1000.0, 16: 1.0, 24: 0.001}


@dataclass(frozen=True)
class NiftiFile:
    """A NIfTI scan on disk: one file, or a header and its voxels.

    Attributes
    ----------
    header : nibabel header
        Checked; zero and negative spacings were made usable, see `spacings`.
    spacings : ndarray, shape (3,)
        As they stand in the file.
    is_analyze : bool
        ANALYZE 7.5, which knows no position and no orientation.
    header_path, voxel_path : Path
    header_compressed, voxels_compressed : bool
    """

    header: Any
    spacings: Any
    is_analyze: bool
    header_path: Path
    voxel_path: Path
    header_compressed: bool
    voxels_compressed: bool

    @property
    def layout(self) -> Layout:
        """Where the voxels are, and how they are scaled.

        Raises
        ------
        HeaderDataError, ValueError
            When the header contradicts itself.
        """
        slope, intercept = self.header.get_slope_inter()
        return Layout(
            tuple(int(size) for size in self.header.get_data_shape()),
            self.header.get_data_dtype(),
            int(self.header.get_data_offset()),
            1.0 if slope is None else float(slope),
            0.0 if intercept is None else float(intercept),
        )

    @property
    def text(self) -> str:
        """Free text of the header."""
        names = ("descrip", "intent_name") if not self.is_analyze else ("descrip",)
        return " ".join(self.header[name].item().decode("latin-1") for name in names)

    @property
    def repetition_time(self) -> float | None:
        """Time between volumes in ms, where the header gives it with its unit."""
        if self.is_analyze or len(self.header.get_data_shape()) < 4:
            return None
        factor = _MS_PER_UNIT.get(int(self.header["xyzt_units"]) & 0x38)
        step = float(self.header["pixdim"][4])
        return step * factor if factor is not None and np.isfinite(step) and step > 0 else None


def open_nifti(path: Path) -> NiftiFile:
    """Find and check the header of a NIfTI scan; either file of a ``.hdr/.img`` pair may be given.

    Raises
    ------
    FileError
        When it is something else, damaged, or half of a pair.
    """
    header_path = _header_of(path)
    content = recognise(header_path)
    if content.kind not in ("nifti", "analyze"):
        raise FileError(explain(path, content, "a NIfTI file"))
    with open_content(header_path, content.compressed) as file:
        block = file.read(544)
    kind, size = _class_of(block)
    if len(block) < size:
        raise FileError(f"{path}: the file ends early, within its header. Copy or export it again.")
    try:
        # The offset comes out of the header as it stands; in a damaged one it may be no number.
        with np.errstate(all="ignore"):
            header: Any = kind(block[:size], check=False)
            spacings = header["pixdim"][1:4].astype(np.float64)
            header.check_fix(logger=_QUIET)
            header.get_data_shape(), header.get_data_dtype(), header.get_data_offset(), header.get_slope_inter()
    except (HeaderDataError, ValueError, OverflowError, KeyError) as error:
        reason = str(error).strip("'\"") or type(error).__name__
        raise FileError(f"{path}: the header is damaged or of an unknown kind ({reason}). Export it again.") from error
    single = content.kind != "analyze" and header["magic"].item() in (b"n+1", b"n+2")
    voxel_path = header_path if single else _voxels_of(header_path)
    compressed = content.compressed if single else _is_gzip(voxel_path)
    return NiftiFile(
        header, spacings, content.kind == "analyze", header_path, voxel_path, content.compressed, compressed
    )


def read_extensions(scan: NiftiFile) -> list[Any]:
    """Extensions of a header as raw bytes; none where they are damaged or very long."""
    start = 544 if scan.header["sizeof_hdr"] == 540 else 352
    try:
        with open_content(scan.header_path, scan.header_compressed) as file:
            raw = file.read(MOST_EXTENSION_BYTES)
    except (OSError, EOFError, zlib.error):
        # Damage beyond the voxels that were read.
        return []
    end = len(raw)
    if scan.voxel_path == scan.header_path:
        end = int(scan.header.get_data_offset())
    if end > len(raw) or end < start + 16 or raw[start - 4] == 0:
        return []
    order = "<" if scan.header.endianness == "<" else ">"
    extensions = []
    while start + 8 <= end:
        size, code = struct.unpack_from(f"{order}ii", raw, start)
        if size < 16 or start + size > end:
            break
        extensions.append(Nifti1Extension(code, raw[start + 8 : start + size].rstrip(b"\x00")))
        start += size
    return extensions


def open_voxels(scan: NiftiFile) -> IO[bytes]:
    """Open the file of the voxels."""
    return open_content(scan.voxel_path, scan.voxels_compressed)


def _class_of(block: bytes) -> tuple[Any, int]:
    if block[4:7] == b"n+2":
        return nib.Nifti2Header, 540
    if block[4:7] == b"ni2":
        return Nifti2PairHeader, 540
    if block[344:347] == b"n+1":
        return nib.Nifti1Header, 348
    return (Nifti1PairHeader if block[344:347] == b"ni1" else Spm2AnalyzeHeader), 348


def _header_of(path: Path) -> Path:
    other = other_of_pair(path)
    is_voxels = path.name.lower().removesuffix(".gz").endswith(".img")
    if other is None or not is_voxels:
        return path
    require_file(path)
    if not other.is_file():
        content = recognise(path)
        if content.kind not in ("nifti", "analyze"):
            raise FileError(f"{path}: the .hdr file with its header is missing beside it. Copy both files.")
        return path
    return other


def _voxels_of(header: Path) -> Path:
    voxels = other_of_pair(header)
    if voxels is None or header.name.lower().removesuffix(".gz").endswith(".img"):
        voxels = header.with_suffix(".img")
    if not voxels.is_file():
        raise FileError(
            f"{header}: this is a header whose voxels are in another file, {voxels.name}, which is missing beside it. "
            "Copy both files, or export the scan as .nii.gz."
        )
    require_file(voxels)
    return voxels


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"
