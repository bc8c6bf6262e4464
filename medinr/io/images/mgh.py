"""FreeSurfer's MGH and MGZ files to volumes, through nibabel."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader
from nibabel.spatialimages import HeaderDataError

from medinr.errors import FileError, GeometryError
from medinr.io.images.assembly import assemble_volume
from medinr.io.nifti.voxels import Layout, choose_volume, reach_checksum, read_voxels, require_voxels
from medinr.io.recognise import explain, naming_note, open_content, recognise
from medinr.volume import Affine, ScanFacts, Volume

#: Bytes of the header that are in use; voxels begin at byte 284.
_HEADER_BYTES, _OFFSET = 90, 284

#: Bytes of the footer behind the voxels: repetition time (ms), flip angle (rad), echo time, inversion time (ms).
_FOOTER_BYTES = 16

_FARTHEST_MM = 1e9


def read_mgh(path: Path | str, index: int | None = None, modality: str | None = None) -> Volume:
    """Read an MGH or MGZ file as a float32 volume in RAS millimetres.

    Parameters
    ----------
    path : Path or str
    index : int, optional
        Which frame of several, from 0.
    modality : {"MR", "CT", "OT"}, optional
        The format does not name it; see `medinr.io.nifti.read_nifti`.

    Raises
    ------
    FileError
        When the file is missing, truncated, no MGH file, too large, or a frame must be chosen.
    GeometryError
        When its affine is no place in mm.
    """
    path = Path(path)
    content = recognise(path)
    if content.kind != "mgh":
        raise FileError(explain(path, content, "an MGH or MGZ file"))
    naming = naming_note(path, content.compressed)
    notes = [naming] if naming else []
    try:
        with open_content(path, content.compressed) as file, np.errstate(all="ignore"):
            header: Any = MGHHeader(file.read(_HEADER_BYTES))
            shape = tuple(int(size) for size in header["dims"])
            layout = Layout(shape, header.get_data_dtype(), _OFFSET)
            chosen = choose_volume(shape, index, path.name)
            require_voxels(layout, path.stat().st_size, content.compressed, path.name)
            array = read_voxels(file, layout, chosen, notes, to_end=False)
            whole = chosen == math.prod(shape[3:]) - 1
            footer = _read_footer(file) if whole else ScanFacts()
            if whole:
                reach_checksum(file)
    except (EOFError, OSError, zlib.error, ValueError, KeyError, HeaderDataError) as error:
        raise FileError(f"{path}: the file ends early or is damaged. Copy or export it again.") from error
    affine = _affine(header, path.name, notes)
    return assemble_volume(
        path,
        array,
        affine,
        file_format="mgh",
        index=chosen,
        modality=modality,
        notes=notes,
        header_facts=footer,
    )


def _affine(header: Any, name: str, notes: list[str]) -> Affine:
    with np.errstate(all="ignore"):
        affine = np.asarray(header.get_affine(), dtype=np.float64)
    if not np.abs(affine).max() < _FARTHEST_MM:
        raise GeometryError(f"{name}: the header's affine is not a place in mm: {affine.tolist()}. Is it damaged?")
    if not header["goodRASFlag"]:
        notes.append("the header has no orientation: FreeSurfer's default (coronal, 1 mm) was assumed")
    return affine


def _read_footer(file: IO[bytes]) -> ScanFacts:
    raw = file.read(_FOOTER_BYTES)
    if len(raw) < _FOOTER_BYTES:
        return ScanFacts()  # the footer is optional
    repetition, flip, echo, inversion = (float(value) for value in np.frombuffer(raw, dtype=">f4"))
    return ScanFacts(
        repetition_time=_known(repetition),
        flip_angle=_known(math.degrees(flip)),
        echo_time=_known(echo),
        inversion_time=_known(inversion),
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) and value > 0 else None
