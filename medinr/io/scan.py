"""Any scan to a volume, by the content of the file and not by its name."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from medinr.errors import FileError, UnitError
from medinr.io.archive import is_zip, unpack
from medinr.io.choice import ScanChoice
from medinr.io.dicom.choose import choose_series
from medinr.io.dicom.read import read_dicom_series, read_series
from medinr.io.dicom.series import list_series
from medinr.io.folder import files_below, looks_like_dicom
from medinr.io.images.pairs import other_of_pair, scan_files
from medinr.io.nifti import read_nifti, read_nifti_volumes
from medinr.io.nifti.header import open_nifti
from medinr.io.recognise import Content, explain, recognise
from medinr.volume import Volume

#: Kinds of content that the DICOM reader takes.
_DICOM = ("dicom", "zip")

#: Kinds that hold a scan in one file, or in two.
_SINGLE_FILES = ("nifti", "analyze", "mgh", "nrrd", "metaimage")


def read_scan(
    path: Path | str,
    *,
    index: int | None = None,
    series: int | str | None = None,
    modality: str | None = None,
    slices: Sequence[int] | None = None,
    straighten: bool = False,
) -> Volume:
    """Read a DICOM folder, file or DICOMDIR, NIfTI, ANALYZE, FreeSurfer's MGH, NRRD or MetaImage, or a zip of one.

    Parameters
    ----------
    path : Path or str
        Of a scan in two files (``.hdr/.img``), either.
    index : int, optional
        Which volume of a four-dimensional file, from 0.
    series : int or str, optional
        Which series of a DICOM folder: its number, its UID, or text that fits its description.
    modality : {"MR", "CT", "OT"}, optional
        For formats that do not name it; for DICOM it must agree with the header.
    slices : sequence of int, optional
        Evenly spaced slice numbers from 0; of DICOM, only their pixels are read.
    straighten : bool
        Resample a DICOM stack that leans off the slice normal (gantry tilt) to a straight grid.

    Raises
    ------
    FileError
        When there is nothing readable at `path`, or a choice does not apply to what is there.
    GeometryError
        When DICOM slices form no regular stack, or a file has no usable position.
    UnitError
        When a DICOM series is of another modality.

    See Also
    --------
    medinr.io.nifti.read_nifti, medinr.io.dicom.read.read_dicom_series, medinr.io.images.mgh.read_mgh,
    medinr.io.images.itk.read_image
    """
    return open_scan(path, ScanChoice(index, series, modality, straighten), slices)


def open_scan(path: Path | str, choice: ScanChoice, slices: Sequence[int] | None = None) -> Volume:
    """Read what `read_scan` reads, with what is said of the scan as one value.

    Parameters
    ----------
    path : Path or str
    choice : ScanChoice
    slices : sequence of int, optional
        As of `read_scan`, which also lists the errors.
    """
    path = inside_archive(Path(path))
    content = _content(path)
    if content.kind in _DICOM and not content.compressed:
        if choice.index is not None:
            raise FileError(f"{path}: --index chooses a volume of a NIfTI file; this is DICOM, choose with --series.")
        volume = read_dicom_series(path, choice.series, slices=slices, straighten=choice.straighten)
        if choice.modality not in (None, volume.modality):
            raise UnitError(f"{path}: {choice.modality} was asked for; the DICOM header has {volume.modality}.")
        return volume
    if choice.series is not None or choice.straighten:
        option = "--straighten is for" if choice.series is None else "--series chooses a series of"
        raise FileError(f"{path}: {option} a DICOM folder; this is a file that is not DICOM.")
    volume = _read_file(path, content, choice.index, choice.modality)
    return volume if slices is None else volume.select(slices)


def require_scan(path: Path | str) -> None:
    """Refuse what holds no scan; first bytes and DICOM headers are read, pixels are not.

    Raises
    ------
    FileError
        Saying what is there instead, as `read_scan` does.
    """
    path = inside_archive(Path(path))
    content = _content(path)
    if content.kind in _DICOM and not content.compressed:
        list_series(path)
    elif content.kind not in _SINGLE_FILES:
        raise FileError(explain(path, content))


def read_volumes(path: Path | str, *, series: int | str | None = None, modality: str | None = None) -> Iterator[Volume]:
    """Give every volume of a four-dimensional scan in turn: of a NIfTI file, or of a DICOM series of several stacks.

    Parameters
    ----------
    path : Path or str
    series : int or str, optional
        Any stack of the DICOM series; the others of that series (echoes, time points, directions) are read too.
    modality : {"MR", "CT", "OT"}, optional

    Yields
    ------
    Volume
        In the file's order, or in that of `medinr.io.dicom.series.list_series`. A scan of one volume gives one.

    Raises
    ------
    FileError, GeometryError, UnitError
        As `read_scan`.
    """
    path = inside_archive(Path(path))
    content = _content(path)
    if content.kind in _DICOM and not content.compressed:
        listing = list_series(path)
        uids = {stack.frames[0].header.series for stack in listing.series}
        chosen = listing.series[0] if series is None and len(uids) == 1 else choose_series(listing, series)
        header = chosen.frames[0].header
        alike = [stack for stack in listing.series if stack.frames[0].header.series == header.series]
        for stack in alike:
            yield read_series(listing, stack)
    elif content.kind == "nifti":
        yield from read_nifti_volumes(path, modality)
    else:
        yield read_scan(path, modality=modality)


def count_volumes(path: Path | str) -> int:
    """Count the volumes of a NIfTI file, from its header; any other scan counts as one.

    Raises
    ------
    FileError
        When it cannot be read.
    """
    path = inside_archive(Path(path))
    return math.prod(open_nifti(path).layout.shape[3:]) if _content(path).kind == "nifti" else 1


def inside_archive(path: Path) -> Path:
    """Return the scan in a zip archive that holds no DICOM; any other path as it is.

    Raises
    ------
    FileError
        When the archive holds no scan, or several.
    """
    if not is_zip(path):
        return path
    files = files_below(unpack(path))
    if any(looks_like_dicom(file) for file in files):
        return path
    scans = [file for file in files if _content(file).kind in _SINGLE_FILES]
    # Of a scan in two files either name does.
    if len({file.with_suffix("") for file in scans}) == 1:
        return scans[0]
    what = f"{len(scans)} scans that are not DICOM" if scans else f"{len(files)} file(s), and no scan among them"
    raise FileError(f"{path}: the zip archive holds {what}. Unpack it and give one scan.")


def _read_file(path: Path, content: Content, index: int | None, modality: str | None) -> Volume:
    # The readers of the rarer formats are loaded when they are needed.
    if content.kind in ("nifti", "analyze") or other_of_pair(path) is not None:
        return read_nifti(path, index, modality)
    if content.kind == "mgh":
        from medinr.io.images.mgh import read_mgh

        return read_mgh(path, index, modality)
    if content.kind in ("nrrd", "metaimage"):
        from medinr.io.images.itk import read_image

        return read_image(path, index, modality)
    raise FileError(explain(path, content))


def _content(path: Path) -> Content:
    with suppress(OSError, ValueError):  # said in words below
        if path.is_dir():
            return Content("dicom", False)
    content = recognise(path)
    # Voxels without a header may begin as anything: their .hdr says what they are.
    return Content("nifti", False) if other_of_pair(path) is not None and len(scan_files(path)) > 1 else content
