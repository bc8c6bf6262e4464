"""A reconstruction as a derived DICOM series in the study of its source.

Patient, study and frame of reference come from the source slices. The series and its instances are new and record the
derivation and the source images (PS3.3, C.7.6.1.1.3 and C.12.4).
"""

from __future__ import annotations

import copy
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medinr.errors import FileError, IntensityError, UnitError
from medinr.io.atomic import atomic_path
from medinr.io.dicom.frames import Frame, frames_of, read_header
from medinr.io.dicom.geometry import affine_of, distance
from medinr.io.grid import onto_grid
from medinr.volume import Volume

#: Added to the source's SeriesNumber, so that viewers list the derived series near, but after, its source.
SERIES_NUMBER_OFFSET = 9000

#: Tags that describe the source's stored numbers, its other pictures or its signature, not the new pixels.
_DROPPED = (
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "IconImageSequence",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "OriginalAttributesSequence",
    "PixelDataProviderURL",
    "DataSetTrailingPadding",
    "SourceImageSequence",
    "DerivationCodeSequence",
    "ReferencedImageSequence",
    "FloatPixelData",
    "DoubleFloatPixelData",
)

_INT16 = np.iinfo(np.int16)


def write_derived_series(
    volume: Volume,
    folder: Path | str,
    *,
    description: str,
    settings_summary: str,
    overwrite: bool = False,
) -> list[Path]:
    """Write one derived slice per source slice, on the source's own pixels.

    Parameters
    ----------
    volume : Volume
        Read from a classic DICOM series (one source file per slice), perhaps reoriented since, with new values.
    folder : Path or str
        Appears only when all slices are written.
    description : str
        SeriesDescription; cut at 64 characters, as DICOM does.
    settings_summary : str
        DerivationDescription: how the pixels were made; cut at 1024 characters.
    overwrite : bool

    Returns
    -------
    list of Path
        The files, in slice order.

    Raises
    ------
    FileError
        When the volume has no classic DICOM source.
    GeometryError
        When it does not lie on its source's voxels.
    IntensityError
        When values are not finite, or beyond 16 bits for HU.
    UnitError
        When CT values are not in HU.
    OutputExistsError
        When the folder exists and `overwrite` is not set.
    """
    folder = Path(folder)
    sources, frames = _sources(volume)
    first = frames[0]
    placed = onto_grid(volume, affine_of(frames, []), (len(frames), first.rows, first.columns), first.name)
    if np.iscomplexobj(placed.array) or not np.isfinite(placed.array).all():
        raise IntensityError(f"{folder.name}: DICOM holds finite real values. Take the magnitude first.")
    if volume.modality == "CT" and volume.unit == "1/mm":
        raise UnitError("CT goes out in HU; these values are 1/mm. Use units.hu_from_attenuation.")
    stored, slope, intercept = _stored(placed)
    series_uid = generate_uid()
    names = []
    # Sources with values outside their VR (odd dates, long names) are common and are copied unchanged.
    with pydicom.config.disable_value_validation(), atomic_path(folder, overwrite) as temporary:
        temporary.mkdir()
        for number, (source, pixels) in enumerate(zip(sources, stored, strict=True), start=1):
            slice_ = _derived(source, series_uid, number, description, settings_summary)
            _set_pixels(slice_, pixels, slope, intercept, volume.unit == "HU")
            names.append(f"{number:04d}.dcm")
            slice_.save_as(temporary / names[-1], enforce_file_format=True)
    return [folder / name for name in names]


def _sources(volume: Volume) -> tuple[list[Dataset], list[Frame]]:
    files = volume.provenance.files
    if volume.provenance.format != "dicom" or len(files) != volume.shape[0]:
        raise FileError(
            f"The scan came from {volume.provenance.format} with {len(files)} file(s) for {volume.shape[0]} "
            "slices; a derived DICOM series needs one source file per slice. Write NIfTI instead."
        )
    sources, frames = [], []
    for file in files:
        dataset = read_header(file)
        found = [] if dataset is None else frames_of(dataset, file)
        if dataset is None or len(found) != 1 or found[0].number is not None:
            raise FileError(f"{file}: not a DICOM file of one slice (enhanced?). Write NIfTI instead.")
        sources.append(dataset)
        frames.append(found[0])
    # The volume may have been reoriented since; on disk slices are ordered along their normal, as they were read.
    order = sorted(range(len(frames)), key=lambda number: distance(frames[number]))
    return [sources[number] for number in order], [frames[number] for number in order]


def _stored(volume: Volume) -> tuple[NDArray[np.int16], float, float]:
    low, high = float(volume.array.min()), float(volume.array.max())
    if volume.unit == "HU":
        if low < _INT16.min or high > _INT16.max:
            raise IntensityError(f"HU from {low:.0f} to {high:.0f} do not fit 16 bits. Clip the values first.")
        slope, intercept = 1.0, 0.0
    else:
        # All 16 bits, with a slope and intercept that survive as decimal strings of 16 characters.
        slope = float(f"{(high - low) / (_INT16.max - _INT16.min):.9g}") or 1.0
        intercept = float(f"{low - slope * _INT16.min:.9g}")
    stored = np.rint((volume.array.astype(np.float64) - intercept) / slope)
    return np.clip(stored, _INT16.min, _INT16.max).astype(np.int16), slope, intercept


def _derived(source: Dataset, series_uid: str, number: int, description: str, settings: str) -> Dataset:
    derived = copy.deepcopy(source)
    derived.remove_private_tags()
    # Overlays (groups 6000 to 60FF) were drawn on the source's picture.
    del derived[0x60000000:0x61000000]
    for keyword in _DROPPED:
        if keyword in derived:
            del derived[keyword]
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    derived.SourceImageSequence = [reference]
    derived.SOPInstanceUID = generate_uid()
    derived.SeriesInstanceUID = series_uid
    derived.SeriesNumber = int(source.get("SeriesNumber") or 0) + SERIES_NUMBER_OFFSET
    derived.InstanceNumber = number
    derived.ImageType = ["DERIVED", "SECONDARY", *list(source.get("ImageType") or [])[2:]]
    derived.SeriesDescription = _plain(description, 64)
    derived.DerivationDescription = _plain(settings, 1024)
    now = datetime.now()
    derived.InstanceCreationDate = derived.ContentDate = f"{now:%Y%m%d}"
    derived.InstanceCreationTime = derived.ContentTime = f"{now:%H%M%S}"
    derived.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    derived.file_meta.MediaStorageSOPClassUID = derived.SOPClassUID
    derived.file_meta.MediaStorageSOPInstanceUID = derived.SOPInstanceUID
    return derived


def _plain(text: str, limit: int) -> str:
    # A backslash separates values in DICOM, and the source's character set may hold ASCII only.
    return text.replace("\\", "/").encode("ascii", "replace").decode("ascii")[:limit]


def _set_pixels(dataset: Dataset, pixels: NDArray[np.int16], slope: float, intercept: float, hounsfield: bool) -> None:
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleSlope = f"{slope:.10g}"
    dataset.RescaleIntercept = f"{intercept:.10g}"
    dataset.PixelData = np.ascontiguousarray(pixels, dtype="<i2").tobytes()
    dataset["PixelData"].VR = "OW"
    if hounsfield:
        dataset.RescaleType = "HU"
