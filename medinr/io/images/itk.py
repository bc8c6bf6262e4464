"""NRRD and MetaImage files to volumes, through SimpleITK."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.errors import FileError, GeometryError
from medinr.io.images.assembly import assemble_volume
from medinr.io.images.pairs import detached_files
from medinr.io.images.text_headers import TextHeader, read_text_header
from medinr.io.limits import require_plausible_size, require_readable_size
from medinr.io.nifti.voxels import ROUNDED, choose_volume, store
from medinr.io.recognise import explain, recognise, require_file
from medinr.volume import Affine, Array, Volume

#: ITK's positions are LPS; ours RAS.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

_READERS = {"nrrd": "NrrdImageIO", "metaimage": "MetaImageIO"}
_FARTHEST_MM = 1e9


def read_image(path: Path | str, index: int | None = None, modality: str | None = None) -> Volume:
    """Read an NRRD (``.nrrd``, ``.nhdr``) or MetaImage (``.mha``, ``.mhd``) file as a volume in RAS millimetres.

    Parameters
    ----------
    path : Path or str
        Voxels in another file are read only from the header's own folder.
    index : int, optional
        Which volume of a four-dimensional file, or which component of a vector image, from 0.
    modality : {"MR", "CT", "OT"}, optional
        Seldom named by the formats; see `medinr.io.nifti.read_nifti`.

    Returns
    -------
    Volume
        float32, complex64 where the values are complex.

    Raises
    ------
    FileError
        When the file is missing, truncated, neither format, too large, in colour, or a volume must be chosen.
    GeometryError
        When it has no usable position.
    """
    path = Path(path)
    content = recognise(path)
    if content.kind not in _READERS or content.compressed:
        raise FileError(explain(path, content, "an NRRD or MetaImage file"))
    header = read_text_header(path, content.kind)
    _require_voxels(path, header)
    notes: list[str] = []
    array, affine, chosen = _read(path, content.kind, header, index, notes)
    if not header.has_orientation:
        notes.append("the header has no orientation: spacing is known, position and orientation are not")
    if header.mm_per_unit != 1:
        affine[:3] *= header.mm_per_unit
        notes.append("lengths were converted to mm")
    return assemble_volume(
        path,
        array,
        affine,
        file_format=content.kind,
        index=chosen,
        modality=modality,
        notes=notes,
        header_text=f"modality={header.modality}" if header.modality else "",
    )


def _require_voxels(path: Path, header: TextHeader) -> None:
    files = detached_files(path)
    for file in files:
        require_file(file)
    stored = sum(file.stat().st_size for file in files) if files else path.stat().st_size - header.length
    require_readable_size(header.shape, path.name)
    require_plausible_size(header.shape, header.itemsize, stored, path.name, header.compressed)


def _read(path: Path, kind: str, header: TextHeader, index: int | None, notes: list[str]) -> tuple[Array, Affine, int]:
    import SimpleITK

    reader: Any = SimpleITK.ImageFileReader()
    reader.SetImageIO(_READERS[kind])
    reader.SetFileName(str(path))
    # ITK's own messages would reach the terminal.
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        reader.ReadImageInformation()
        size, components = tuple(reader.GetSize()), int(reader.GetNumberOfComponents())
        if math.prod(size) * components != math.prod(header.shape):
            raise FileError(f"{path}: the header declares {header.shape}, ITK understands {size}. Export it again.")
        volumes = _volumes(path, size, components, reader.GetPixelIDValue())
        chosen = choose_volume((*size[:3], *(1 for _ in range(3 - len(size))), volumes), index, path.name)
        if len(size) == 4:
            reader.SetExtractIndex([0, 0, 0, chosen])
            reader.SetExtractSize([*size[:3], 0])
        affine = _affine(path, reader, len(size))
        image: Any = reader.Execute()
    except RuntimeError as error:
        raise FileError(f"{path}: the file ends early or is damaged. Copy or export it again.") from error
    values: NDArray[Any] = SimpleITK.GetArrayViewFromImage(image)
    if components > 1:
        values = values[..., chosen]
    if values.ndim == 2:
        values = values[None]
    array: Any = np.empty(values.shape, dtype=np.complex64 if values.dtype.kind == "c" else np.float32)
    rounded = [store(target, plane) for target, plane in zip(array, values, strict=True)]
    if any(rounded):
        notes.append(ROUNDED)
    return array, affine, chosen


def _volumes(path: Path, size: tuple[int, ...], components: int, pixel: int) -> int:
    """How many volumes a file holds, along a fourth axis or as components."""
    import SimpleITK

    if components in (3, 4) and pixel == SimpleITK.sitkVectorUInt8:
        raise FileError(f"{path}: holds colours (RGB), not intensities. Export the scan, not a picture of it.")
    along = math.prod(size[3:])
    if not 2 <= len(size) <= 4 or (along > 1 and components > 1):
        raise FileError(f"{path}: {len(size)} dimensions {size} of {components} component(s); a scan has 2, 3 or 4.")
    return along * components


def _affine(path: Path, reader: Any, dimensions: int) -> Affine:
    spacing, origin = np.array(reader.GetSpacing()), np.array(reader.GetOrigin())
    direction = np.array(reader.GetDirection()).reshape(dimensions, dimensions)
    used = min(dimensions, 3)
    affine = np.eye(4)
    affine[:used, :used] = direction[:used, :used] * spacing[:used]
    affine[:used, 3] = origin[:used]
    if not np.abs(affine).max() < _FARTHEST_MM:
        raise GeometryError(f"{path}: the header's affine is not a place in mm: {affine.tolist()}. Is it damaged?")
    ras: Affine = _LPS_TO_RAS @ affine
    return ras
