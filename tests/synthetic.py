"""Scans made up on the spot: phantoms in known places, as arrays, DICOM series and enhanced DICOM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from medinr.volume import Volume

#: Names that no output, log or error may repeat.
PATIENT_NAME = "Musterfrau^Erika"
PATIENT_ID = "HOSP-4711"
BIRTH_DATE = "19640812"

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

Change = Callable[[Dataset, int], None]


def affine(
    spacing: Sequence[float] = (0.9, 0.8, 3.0),
    angles: Sequence[float] = (0.0, 0.0, 0.0),
    origin: Sequence[float] = (-40.0, -35.0, 12.0),
) -> np.ndarray:
    """Axial LPS-like affine in RAS mm, turned about the three patient axes by `angles` (degrees)."""
    a, b, c = np.radians(angles)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    lps = np.eye(4)
    lps[:3, :3] = about_z @ about_y @ about_x @ np.diag(spacing)
    lps[:3, 3] = origin
    return LPS_TO_RAS @ lps


def phantom(
    shape: tuple[int, int, int] = (5, 24, 20),
    modality: str = "MR",
    geometry: np.ndarray | None = None,
    seed: int = 0,
) -> Volume:
    """An ellipse of tissue with a disc in it on air, whole numbers; MR in a.u., CT in HU."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    body = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    disc = (x - 0.2) ** 2 + (y + 0.1) ** 2 < 0.1
    noise = np.random.default_rng(seed).integers(-20, 20, shape)
    if modality == "CT":
        array = np.where(body, np.where(disc, 300, 40 + 10 * z), -1000) + noise
    else:
        array = np.where(body, np.where(disc, 700, 400 + 50 * z) + noise, 0)
    geometry = affine() if geometry is None else geometry
    return Volume(np.rint(array).astype(np.float32), geometry, modality, "HU" if modality == "CT" else "a.u.")


def write_dicom_series(
    folder: Path,
    volume: Volume,
    *,
    series_uid: str | None = None,
    description: str = "synthetic",
    change: Change | None = None,
    seed: int | None = 0,
) -> list[Path]:
    """Write one classic DICOM file per slice and return the paths in slice order.

    File names and instance numbers are shuffled by `seed` (in order when None), so that a reader who trusts
    them is found out. `change` may edit each data set, given the slice number, before it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = volume.shape[0]
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    study = {name: generate_uid() for name in ("StudyInstanceUID", "FrameOfReferenceUID")}
    series_uid = series_uid or generate_uid()
    paths = []
    for number in range(count):
        dataset = slice_dataset(volume, number)
        dataset.update(_elements(study))
        dataset.SeriesInstanceUID = series_uid
        dataset.SeriesDescription = description
        dataset.InstanceNumber = int(order[number]) + 1
        if change is not None:
            change(dataset, number)
        path = folder / f"IM{order[number]:04d}"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def slice_dataset(volume: Volume, number: int) -> FileDataset:
    """One slice as a classic CT or MR data set, int16, CT with the usual intercept of -1024."""
    lps = LPS_TO_RAS @ volume.affine
    dx, dy, dz = volume.spacing
    is_ct = volume.modality == "CT"
    dataset = _dataset(CTImageStorage if is_ct else MRImageStorage)
    dataset.Modality = volume.modality
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PixelSpacing = [f"{dy:.10g}", f"{dx:.10g}"]
    dataset.SliceThickness = f"{dz:.10g}"
    cosines = np.concatenate([lps[:3, 0] / dx, lps[:3, 1] / dy])
    dataset.ImageOrientationPatient = [f"{value:.10f}"[:16] for value in cosines]
    dataset.ImagePositionPatient = [f"{value:.8f}"[:16] for value in lps[:3, 3] + number * lps[:3, 2]]
    intercept = -1024 if is_ct else 0
    if is_ct:
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = intercept, 1, "HU"
    _set_pixels(dataset, volume.array[number] - intercept)
    return dataset


def write_enhanced(path: Path, volume: Volume, change: Callable[[Dataset], None] | None = None) -> Path:
    """Write the whole volume as one enhanced multi-frame MR file, frames in shuffled order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lps = LPS_TO_RAS @ volume.affine
    dx, dy, dz = volume.spacing
    dataset = _dataset(EnhancedMRImageStorage)
    dataset.Modality = "MR"
    dataset.SeriesInstanceUID = generate_uid()
    dataset.NumberOfFrames = volume.shape[0]
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing = [f"{dy:.10g}", f"{dx:.10g}"]
    measures.SliceThickness = f"{dz:.10g}"
    cosines = np.concatenate([lps[:3, 0] / dx, lps[:3, 1] / dy])
    orientation.ImageOrientationPatient = [f"{value:.10f}"[:16] for value in cosines]
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    order = np.random.default_rng(1).permutation(volume.shape[0])
    frames = []
    for number in order:
        position, scale, frame = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [f"{value:.8f}"[:16] for value in lps[:3, 3] + number * lps[:3, 2]]
        scale.RescaleSlope, scale.RescaleIntercept = 2, -10
        frame.PlanePositionSequence = [position]
        frame.PixelValueTransformationSequence = [scale]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    _set_pixels(dataset, (volume.array[order] + 10) / 2)
    if change is not None:
        change(dataset)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _dataset(sop_class: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = PATIENT_NAME, PATIENT_ID, BIRTH_DATE
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    return dataset


def _elements(values: dict[str, str]) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _set_pixels(dataset: Dataset, values: np.ndarray) -> None:
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.PixelData = np.rint(values).astype("<i2").tobytes()
    dataset["PixelData"].VR = "OW"
