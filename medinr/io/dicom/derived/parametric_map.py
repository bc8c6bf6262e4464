"""A map of real numbers, such as an uncertainty, as a DICOM parametric map (PS3.3, A.75), by highdicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from medinr.errors import LibraryError
from medinr.io.atomic import atomic_path
from medinr.io.dicom.derived.deidentify import Deidentifier, notes_of
from medinr.io.dicom.derived.header import (
    MANUFACTURER,
    SERIES_NUMBER_OFFSET,
    copied,
    file_meta,
    plain,
    version,
)
from medinr.io.dicom.derived.quantisation import require_real
from medinr.io.dicom.derived.real_world import UNITS
from medinr.io.dicom.derived.single import stack_of
from medinr.io.dicom.derived.sources import Source, open_sources
from medinr.io.dicom.derived.write import Written, writing
from medinr.io.dicom.headers import whole_number
from medinr.volume import Volume

#: Series of maps follow the derived series of images.
_AFTER_IMAGES = 1


def require_parametric_maps() -> None:
    """Raise `LibraryError` where highdicom is not installed."""
    _library()


def write_parametric_map(
    volume: Volume,
    path: Path | str,
    *,
    label: str,
    explanation: str,
    source: Volume | None = None,
    overwrite: bool = False,
    deidentify: bool = False,
) -> Written:
    """Write a map as one parametric map object of float32 pixels: no value is rounded.

    Parameters
    ----------
    volume : Volume
        The map, on any rectangular grid in the source's frame of reference.
    path : Path or str
    label : str
        ContentLabel, such as ``"UNCERTAINTY"``; capital letters, at most 16.
    explanation : str
        What the numbers are, in words; cut at 64 characters.
    source : Volume, optional
        The scan that the map belongs to; by default the volume's own provenance says it.
    overwrite : bool
    deidentify : bool
        As for `medinr.io.dicom.derived.write.write_derived_series`.

    Returns
    -------
    Written

    Raises
    ------
    FileError
        When there is no source that derived objects can be made of, or its header lacks what a map needs.
    GeometryError
        When the volume's axes are not perpendicular.
    IntensityError
        When values are complex or not finite.
    LibraryError
        When highdicom, or the library for `deidentify`, is missing.
    OutputExistsError
        When the file exists and `overwrite` is not set.
    """
    path = Path(path)
    _library()
    require_real(volume)
    sources = open_sources(volume if source is None else source)
    cleaner = Deidentifier() if deidentify else None
    with writing(path), atomic_path(path, overwrite) as temporary:
        frame_of_reference = generate_uid()
        headers = [_complete(one, frame_of_reference, volume.spacing[2]) for one in sources]
        if cleaner is not None:
            for header in headers:
                cleaner(header)
        dataset = _map(volume, headers, label, explanation)
        dataset.file_meta = file_meta(dataset)
        # Holds every name, whatever set the source's was in.
        dataset.SpecificCharacterSet = "ISO_IR 192"
        if headers[0].get("BodyPartExamined"):
            dataset.BodyPartExamined = headers[0].BodyPartExamined
        else:
            dataset.Laterality = headers[0].get("Laterality") or ""
        if deidentify:
            for keyword in ("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"):
                setattr(dataset, keyword, headers[0][keyword].value)
            dataset.LongitudinalTemporalInformationModified = "REMOVED"
        dataset.save_as(temporary, enforce_file_format=True)
    return Written((path,), 0.0, notes_of(sources[0].header) if deidentify else ())


def _complete(source: Source, frame_of_reference: str, thickness: float) -> Dataset:
    header = copied(source.header)
    # Required of every image, and copied by the library without a question whether they are there.
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        if keyword not in header:
            setattr(header, keyword, "")
    for keyword in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"):
        if keyword not in header:
            setattr(header, keyword, "")
    if not header.get("FrameOfReferenceUID"):
        header.FrameOfReferenceUID = frame_of_reference
    if "SliceThickness" not in header:
        header.SliceThickness = f"{thickness:.6g}"
    if source.enhanced:
        _share(header)
    return header


def _share(header: Dataset) -> None:
    # The library looks for these among what all frames share, where they may stand as well (PS3.3, C.7.6.16.2).
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        if keyword not in shared and keyword in header.PerFrameFunctionalGroupsSequence[0]:
            shared.add(header.PerFrameFunctionalGroupsSequence[0][keyword])
    header.SharedFunctionalGroupsSequence = [shared]


def _map(volume: Volume, headers: list[Dataset], label: str, explanation: str) -> Any:
    highdicom = _library()
    stack = stack_of(volume)
    array = volume.array[::-1] if stack.backwards else volume.array
    x, y, z = stack.spacing
    code, meaning = UNITS[volume.unit]
    low, high = float(volume.array.min()), float(volume.array.max())
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label=plain(label, 16),
        lut_explanation=plain(explanation, 64),
        unit=highdicom.sr.CodedConcept(code, "UCUM", meaning),
        value_range=(low, high if high > low else low + 1.0),
        slope=1.0,
        intercept=0.0,
    )
    positions = [
        highdicom.PlanePositionSequence(highdicom.CoordinateSystemNames.PATIENT, image_position=[float(v) for v in one])
        for one in stack.origins
    ]
    first = headers[0]
    return highdicom.pm.ParametricMap(
        source_images=headers,
        pixel_array=np.ascontiguousarray(array, dtype=np.float32),
        series_instance_uid=generate_uid(),
        series_number=max(1, whole_number(first.get("SeriesNumber")) or 0) + SERIES_NUMBER_OFFSET + _AFTER_IMAGES,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=version(),
        device_serial_number="1",
        # Where the source does not say so, a face may show.
        contains_recognizable_visual_features=first.get("RecognizableVisualFeatures") != "NO",
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[
            highdicom.VOILUTTransformation(window_center=(low + high) / 2, window_width=max(high - low, 1.0))
        ],
        content_label=plain(label, 16),
        content_description=plain(explanation, 64),
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=[y, x], slice_thickness=z, spacing_between_slices=z
        ),
        plane_orientation=highdicom.PlaneOrientationSequence(
            highdicom.CoordinateSystemNames.PATIENT, image_orientation=[float(v) for v in (*stack.row, *stack.column)]
        ),
        plane_positions=positions,
    )


def _library() -> Any:
    try:
        import highdicom
    except ImportError as error:
        raise LibraryError(
            "Parametric maps need the library highdicom, which is not installed. Run pip install highdicom."
        ) from error
    return highdicom
