"""A derived object of many frames, on the voxels of an enhanced CT or MR object (PS3.3, C.7.6.16)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from pydicom.dataset import Dataset

from medinr.io.dicom.derived.header import (
    Derivation,
    copied,
    derived_image_type,
    file_meta,
    mark_derived,
    plain,
    reference_to,
    set_padding,
    set_pixels,
    set_window,
)
from medinr.io.dicom.derived.quantisation import Quantisation
from medinr.io.dicom.derived.real_world import real_world_mapping
from medinr.volume import Volume

#: Functional groups that hold for the source's pixels only.
_DROPPED_GROUPS = (
    "PixelValueTransformationSequence",
    "RealWorldValueMappingSequence",
    "DerivationImageSequence",
)

#: How frames were acquired, which only original and mixed images may say outside their functional groups (MR Pulse
#: Sequence and Bulk Motion Synchronization modules, PS3.3, C.8.13.4 and C.8.13.2).
_OF_ORIGINALS = (
    "PulseSequenceName",
    "MRAcquisitionType",
    "EchoPulseSequence",
    "MultipleSpinEcho",
    "MultiPlanarExcitation",
    "PhaseContrast",
    "VelocityEncodingAcquisitionSequence",
    "TimeOfFlightContrast",
    "ArterialSpinLabelingContrast",
    "SteadyStatePulseSequence",
    "EchoPlanarPulseSequence",
    "SaturationRecovery",
    "SpectrallySelectedSuppression",
    "OversamplingPhase",
    "GeometryOfKSpaceTraversal",
    "RectilinearPhaseEncodeReordering",
    "SegmentedKSpaceTraversal",
    "CoverageOfKSpace",
    "NumberOfKSpaceTrajectories",
    "BulkMotionCompensationTechnique",
    "BulkMotionSignalSource",
)

#: What does not describe one object of many frames with a rescaling of its own.
_DROPPED = (
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ConcatenationUID",
    "ConcatenationFrameOffsetNumber",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "SOPInstanceUIDOfConcatenationSource",
)

_FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence")


def enhanced_object(
    volume: Volume,
    source: Dataset,
    frames: Sequence[int],
    values: Quantisation,
    derivation: Derivation,
    instance: int = 1,
) -> Dataset:
    """Make one derived object of many frames.

    Parameters
    ----------
    volume : Volume
        The slices that come from this object, in the voxel order of its frames.
    source : Dataset
        Header of the enhanced object, de-identified if that is wanted.
    frames : sequence of int
        For every slice the source's frame, from 0.
    values : Quantisation
    derivation : Derivation
    instance : int
        InstanceNumber, where a series has several such objects.
    """
    derived = copied(source)
    shared = (derived.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    groups = [derived.PerFrameFunctionalGroupsSequence[number] for number in frames]
    for group in (shared, *groups):
        _renew(group, values)
    shared.RealWorldValueMappingSequence = [real_world_mapping(values, volume.unit)]
    for group, number in zip(groups, frames, strict=True):
        # The same for all frames, but some readers look for it in each of them only.
        group.PixelValueTransformationSequence = [_rescaling(values, volume.unit == "HU", source)]
        group.DerivationImageSequence = [_derivation(source, number, derivation)]
    _set_dimensions(groups)
    derived.SharedFunctionalGroupsSequence = [shared]
    derived.PerFrameFunctionalGroupsSequence = groups
    derived.NumberOfFrames = len(frames)
    derived.ImageType = derived_image_type(derived.get("ImageType"), secondary=False)
    for keyword in (*_DROPPED, *_OF_ORIGINALS):
        if keyword in derived:
            del derived[keyword]
    mark_derived(derived, derivation, instance)
    derived.SourceImageEvidenceSequence = [_evidence(source)]
    stored = np.stack([values.stored(plane) for plane in volume.array])
    set_pixels(derived, stored)
    set_padding(derived, stored, values)
    derived.file_meta = file_meta(derived)
    return derived


def _renew(group: Dataset, values: Quantisation) -> None:
    for keyword in _DROPPED_GROUPS:
        if keyword in group:
            del group[keyword]
    for keyword in _FRAME_TYPES:
        for item in group.get(keyword) or ():
            item.FrameType = derived_image_type(item.get("FrameType"), secondary=False)
    for item in group.get("FrameVOILUTSequence") or ():
        if "VOILUTSequence" in item:
            del item["VOILUTSequence"]
        set_window(item, values)
    if "FrameVOILUTSequence" in group and "WindowWidth" not in (group.FrameVOILUTSequence or [Dataset()])[0]:
        del group["FrameVOILUTSequence"]


def _rescaling(values: Quantisation, hounsfield: bool, source: Dataset) -> Dataset:
    item = Dataset()
    item.RescaleSlope, item.RescaleIntercept = f"{values.slope:.9g}", f"{values.intercept:.9g}"
    item.RescaleType = "HU" if hounsfield else _rescale_type(source)
    return item


def _rescale_type(source: Dataset) -> str:
    shared = source.get("SharedFunctionalGroupsSequence") or []
    for group in (*shared, *source.PerFrameFunctionalGroupsSequence[:1]):
        for item in group.get("PixelValueTransformationSequence") or ():
            if item.get("RescaleType"):
                return str(item.RescaleType)
    return "US"


def _derivation(source: Dataset, frame: int, derivation: Derivation) -> Dataset:
    item = Dataset()
    item.DerivationDescription = plain(derivation.settings, 1024)
    codes = derivation.codes(resampled=False)
    if codes:
        item.DerivationCodeSequence = codes
    item.SourceImageSequence = [reference_to(source, preserved=True, frames=[frame + 1])]
    return item


def _set_dimensions(groups: Sequence[Dataset]) -> None:
    """Count the indices of the frames that are left from 1 without gaps, in their old order (C.7.6.17.1)."""
    contents = [(group.get("FrameContentSequence") or [Dataset()])[0] for group in groups]
    for keyword in ("InStackPositionNumber", "TemporalPositionIndex"):
        found = [content.get(keyword) for content in contents]
        if all(value is not None for value in found):
            for content, rank in zip(contents, _ranks(found), strict=True):
                setattr(content, keyword, rank)
    indices = [content.get("DimensionIndexValues") for content in contents]
    if any(index is None for index in indices):
        return
    rows = [[index] if isinstance(index, int) else list(index) for index in indices]
    if any(len(a) != len(b) for a, b in pairwise(rows)):
        return
    columns = [_ranks(column) for column in zip(*rows, strict=True)]
    for content, row in zip(contents, zip(*columns, strict=True), strict=True):
        content.DimensionIndexValues = list(row) if len(row) > 1 else row[0]


def _ranks(values: Sequence[int]) -> list[int]:
    places = {value: rank for rank, value in enumerate(sorted(set(values)), start=1)}
    return [places[value] for value in values]


def _evidence(source: Dataset) -> Dataset:
    """Study, series and instance of what the frames refer to (C.7.6.16.1.3)."""
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    series.ReferencedSOPSequence, series.SeriesInstanceUID = [instance], source.SeriesInstanceUID
    study.ReferencedSeriesSequence, study.StudyInstanceUID = [series], source.StudyInstanceUID
    return study
