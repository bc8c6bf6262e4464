"""NIfTI files to volumes."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from nibabel.spatialimages import HeaderDataError

from medinr.errors import FileError
from medinr.io.hashes import hash_scan
from medinr.io.images.assembly import assemble_volume
from medinr.io.nifti.geometry import find_affine
from medinr.io.nifti.header import NiftiFile, open_nifti, open_voxels
from medinr.io.nifti.voxels import choose_volume, read_voxels, require_voxels
from medinr.io.recognise import naming_note
from medinr.io.treated import DENOISED_NOTE, is_denoised
from medinr.volume import ScanFacts, Volume

#: Intents of a header (intent_code) that are no scan: statistics, estimates, labels, vectors.
_LABELS, _STATISTICS, _OTHER_INTENTS = 1002, range(2, 25), range(1001, 1012)


def read_nifti(path: Path | str, index: int | None = None, modality: str | None = None) -> Volume:
    """Read a NIfTI file as a float32 volume (complex64 for complex data) in RAS millimetres.

    NIfTI-1, NIfTI-2 and ANALYZE 7.5, in one file or as a ``.hdr/.img`` pair, compressed by gzip or not: the content
    decides, not the name. Slope and intercept are applied. The sform goes before the qform. NaN is accepted here;
    `Volume.require_usable` refuses it. Facts of the acquisition come from the JSON sidecar (BIDS, dcm2niix).

    Parameters
    ----------
    path : Path or str
        A file of 2, 3 or 4 dimensions; of a pair, either.
    index : int, optional
        Which volume of a four-dimensional file, counted from 0; the others are not loaded.
    modality : {"MR", "CT", "OT"}, optional
        NIfTI does not name it. Without it, the sidecar, the name, the header and the values decide
        (`medinr.io.images.modality`), and the guess is noted. Padding of a CT in HU becomes
        `medinr.io.padding.HU_FLOOR`; phase and all else keep every value.

    Raises
    ------
    FileError
        When the file is missing, unreadable, truncated, not NIfTI, too large, or a volume must be chosen.
    GeometryError
        When it has no usable position.
    UnitError
        When `modality` is unknown.
    """
    path = Path(path)
    scan = open_nifti(path)
    chosen = choose_volume(scan.layout.shape, index, path.name)
    return next(_volumes(path, scan, [chosen], modality))


def read_nifti_volumes(path: Path | str, modality: str | None = None) -> Iterator[Volume]:
    """Give every volume of a file in turn; the file is read once, and one volume is in memory.

    Parameters
    ----------
    path, modality
        As `read_nifti`.

    Raises
    ------
    FileError, GeometryError, UnitError
        As `read_nifti`.
    """
    path = Path(path)
    scan = open_nifti(path)
    choose_volume(scan.layout.shape, 0, path.name)
    yield from _volumes(path, scan, range(math.prod(scan.layout.shape[3:])), modality)


def _volumes(path: Path, scan: NiftiFile, indices: Iterable[int], modality: str | None) -> Iterator[Volume]:
    """Read volumes of a file in increasing order, so that a compressed one is gone through once."""
    require_voxels(scan.layout, scan.voxel_path.stat().st_size, scan.voxels_compressed, path.name)
    digest = hash_scan(path)
    with open_voxels(scan) as file:
        for index in indices:
            notes = _notes_on_files(scan)
            try:
                array = read_voxels(file, scan.layout, index, notes)
            except (EOFError, OSError, zlib.error, ValueError, HeaderDataError) as error:
                raise FileError(f"{path}: the file ends early or is damaged. Copy or export it again.") from error
            affine = find_affine(scan, array.shape[::-1], path.name, notes)
            yield assemble_volume(
                path,
                array,
                affine,
                file_format="nifti",
                index=index,
                modality=modality,
                notes=notes,
                header_text=scan.text,
                header_facts=_facts_of_header(scan),
                digest=digest,
            )


def _notes_on_files(scan: NiftiFile) -> list[str]:
    notes = []
    naming = naming_note(scan.header_path, scan.header_compressed)
    if naming:
        notes.append(naming)
    if is_denoised(scan.text):
        notes.append(DENOISED_NOTE)
    if not scan.is_analyze:
        intent = int(scan.header["intent_code"])
        if intent == _LABELS:
            notes.append("the header says that these are labels, no scan")
        elif intent in _STATISTICS:
            notes.append("the header says that these are values of a statistic, no scan")
        elif intent in _OTHER_INTENTS:
            notes.append(f"the header says that these are no intensities of a scan (intent {intent})")
    return notes


def _facts_of_header(scan: NiftiFile) -> ScanFacts:
    # dcm2niix writes the echo time (ms) into the description: "TE=30;Time=134935.305;phase=1".
    echo = re.match(r"TE=(\d{1,6}(?:\.\d{1,6})?);", scan.text)
    return ScanFacts(echo_time=float(echo[1]) or None if echo else None, repetition_time=scan.repetition_time)
