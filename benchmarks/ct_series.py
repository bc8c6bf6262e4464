"""A synthetic CT series of full size, for what depends on the number of bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

#: Stored value outside the round field of view.
_PADDING = -2000


def write_ct_series(folder: Path, slices: int, size: int) -> Path:
    """Write a chest-like CT series, one uncompressed file per slice; a finished one of that size is kept.

    Parameters
    ----------
    folder : Path
    slices, size : int
        Number of slices, and pixels per side.

    Returns
    -------
    Path
        The subfolder with the slices.
    """
    series = folder / f"ct-{slices}x{size}"
    if len(list(series.glob("*.dcm"))) == slices:
        return series
    series.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(*2 * (np.linspace(-1, 1, size),), indexing="ij")
    body = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
    lungs = ((np.abs(x) - 0.35) / 0.25) ** 2 + (y / 0.4) ** 2 < 1
    outside = x**2 + y**2 > 1
    study, uid, frame = (generate_uid(entropy_srcs=["ct series", word]) for word in ("study", "series", "frame"))
    for number in range(slices):
        tissue = np.where(lungs, -850, 40 + 30 * np.sin(9 * x + 0.05 * number))
        values = np.where(body, tissue + rng.normal(0, 25, x.shape), -1000) + 1024
        dataset = _dataset(generate_uid(entropy_srcs=["ct series", str(number)]))
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, uid, frame
        dataset.InstanceNumber = number + 1
        dataset.ImagePositionPatient = [-0.35 * (size - 1), -0.35 * (size - 1), float(number)]
        dataset.Rows = dataset.Columns = size
        dataset.PixelData = np.where(outside, _PADDING, np.rint(values)).astype("<i2").tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.save_as(series / f"{number:04d}.dcm", enforce_file_format=True)
    return series


def _dataset(instance: UID) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, instance
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = "Synthetic", "0", "20200102"
    dataset.StudyID, dataset.SeriesNumber, dataset.SeriesDescription = "1", 2, "CHEST 1.0"
    dataset.Modality, dataset.ImageType, dataset.Manufacturer = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], "Synthetic"
    dataset.KVP, dataset.PatientPosition, dataset.ConvolutionKernel = "120", "HFS", "B"
    dataset.PixelSpacing, dataset.SliceThickness = ["0.7", "0.7"], "1"
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
    dataset.PixelPaddingValue = _PADDING
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    return dataset
