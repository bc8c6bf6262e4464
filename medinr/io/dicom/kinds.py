"""What a DICOM object is, by its class: only stacks of slices are scans."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import UID

#: Words in the name of a class (PS3.6, annex A), and what to call such an object; the first that fits.
_NO_SCAN = (
    ("Segmentation Storage", "a segmentation (labels)"),
    ("Structure Set", "a structure set"),
    ("RT Dose", "a dose distribution"),
    ("RT ", "a treatment object (RT)"),
    ("Directory", "an index (DICOMDIR)"),
    ("SR", "a report"),
    ("Report", "a report"),
    ("Log Storage", "a report"),
    ("Encapsulated", "a document"),
    ("Presentation State", "display settings"),
    ("Key Object", "a list of key images"),
    ("Spectroscopy", "spectra"),
    ("Raw Data", "raw data of the scanner"),
    ("Waveform", "a waveform"),
    ("ECG", "a waveform"),
    ("Registration", "a registration"),
    ("Fiducials", "fiducials"),
    ("Real World Value", "a mapping of values"),
    ("Tractography", "fibre tracts"),
    ("Surface", "a surface"),
    ("Microscopy", "microscopy"),
    ("Whole Slide", "microscopy"),
    ("Photograph", "a photograph"),
    ("Endoscopic", "a photograph"),
    ("Radiography", "a projection radiograph"),
    ("Digital X-Ray", "a projection radiograph"),
    ("Mammography", "a projection radiograph"),
    ("Intra-Oral", "a projection radiograph"),
    ("Ultrasound", "ultrasound"),
    ("Video", "a video"),
)

#: What a picture of a screen or a scanned sheet is called.
SCREENSHOT = "a screenshot or scanned sheet (secondary capture)"

#: What raw projections in DICOM are called.
PROJECTIONS = "raw CT projections (DICOM-CT-PD)"

#: Private groups in which DICOM-CT-PD describes detector and source (Chen et al., Med. Phys. 2015).
_PROJECTION_GROUPS = frozenset(range(0x7029, 0x7042, 2))


def class_name(dataset: Dataset) -> str:
    """Return the name of an object's SOP class; empty when it has none."""
    # The meta header has it too, and is intact where the data set is truncated.
    meta = getattr(dataset, "file_meta", None) or Dataset()
    uid = dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    return UID(str(uid)).name if uid else ""


def no_scan(dataset: Dataset) -> str:
    """Return what an object is in words, or an empty text when it may be a scan.

    A secondary capture that says where it lies in the patient may be one: some systems export reformatted slices so.
    """
    name = class_name(dataset)
    if len({element.group for element in dataset.keys()} & _PROJECTION_GROUPS) > 1:  # noqa: SIM118 (tags alone)
        return PROJECTIONS
    if "Secondary Capture" in name:
        placed = "ImagePositionPatient" in dataset or "PerFrameFunctionalGroupsSequence" in dataset
        return "" if placed else SCREENSHOT
    return next((words for part, words in _NO_SCAN if part in name), "")


def what_to_do(kind: str) -> str:
    """Return the advice for an object that is no scan."""
    if kind == PROJECTIONS:
        return (
            "medinr reconstruct takes projections as Data Exchange .h5, .npy or .mat with a sidecar (see "
            "docs/raw-data.md): convert them first, or give the reconstructed series."
        )
    return "Give the series of slices itself."
