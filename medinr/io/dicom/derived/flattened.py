"""One frame of an enhanced CT or MR object as the header of a classic one (PS3.3, A.3 and A.4)."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, MRImageStorage

from medinr.io.dicom.derived.header import copied

#: What belongs to objects of many frames only.
_OF_MANY_FRAMES = (
    "NumberOfFrames",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DimensionOrganizationSequence",
    "DimensionOrganizationType",
    "DimensionIndexSequence",
    "ReferencedImageEvidenceSequence",
    "SourceImageEvidenceSequence",
    "ConcatenationUID",
    "ConcatenationFrameOffsetNumber",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "SOPInstanceUIDOfConcatenationSource",
    "PixelPresentation",
    "VolumetricProperties",
    "VolumeBasedCalculationTechnique",
    "ComplexImageComponent",
    "AcquisitionContrast",
    "AcquisitionDuration",
    "ContentQualification",
    "PresentationLUTShape",
    "AcquisitionContextSequence",
    "FrameLaterality",
)

#: Tags of functional groups that classic objects have under the same name.
_SAME_NAME = (
    "SliceThickness",
    "RepetitionTime",
    "EchoTrainLength",
    "FlipAngle",
    "NumberOfAverages",
    "PercentSampling",
    "PercentPhaseFieldOfView",
    "PixelBandwidth",
    "ReceiveCoilName",
    "TransmitCoilName",
    "KVP",
    "ConvolutionKernel",
    "FilterType",
    "RescaleType",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "BodyPartExamined",
)

#: Required, possibly empty (type 2), in classic MR and CT.
_EMPTY = {
    MRImageStorage: ("RepetitionTime", "EchoTime", "EchoTrainLength", "ScanOptions", "MRAcquisitionType"),
    CTImageStorage: ("KVP", "AcquisitionNumber"),
}


def flattened(source: Dataset, frame: int) -> Dataset:
    """Copy one frame's header; `frame` counts from 0. Geometry and pixels are the caller's to set."""
    shared = (source.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = source.PerFrameFunctionalGroupsSequence[frame]
    places = [element.value[0] for group in (own, shared) for element in group if element.VR == "SQ" and element.value]

    def find(keyword: str) -> Any:
        return next((place[keyword].value for place in (*places, source) if keyword in place), None)

    header = Dataset()
    left_out = _many_frames(source)
    header.update({element.tag: element for element in source if element.tag not in left_out})
    flat = copied(header)
    for keyword in _SAME_NAME:
        value = find(keyword)
        if value is not None:
            setattr(flat, keyword, value)
    is_ct = source.SOPClassUID == EnhancedCTImageStorage
    flat.SOPClassUID = CTImageStorage if is_ct else MRImageStorage
    flat.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if is_ct else "OTHER"]
    if not is_ct:
        flat.EchoTime = find("EffectiveEchoTime")
        inversion = find("InversionTimes")
        if inversion is not None:
            flat.InversionTime = inversion[0] if isinstance(inversion, (list, tuple)) else inversion
        flat.ScanningSequence, flat.SequenceVariant = _sequence(find), _variant(find)
    paired = () if flat.get("BodyPartExamined") else ("Laterality",)
    for keyword in (*_EMPTY[flat.SOPClassUID], *paired):
        if keyword not in flat:
            setattr(flat, keyword, None)
    return flat


def _many_frames(source: Dataset) -> set[int]:
    return {int(source[keyword].tag) for keyword in _OF_MANY_FRAMES if keyword in source}


def _sequence(find: Any) -> list[str]:
    words = {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}.get(str(find("EchoPulseSequence")), [])
    if find("EchoPlanarPulseSequence") == "YES":
        words = [*words, "EP"]
    if find("InversionRecovery") == "YES":
        words = [*words, "IR"]
    # Research mode, where the source does not say (PS3.3, C.8.3.1).
    return words or ["RM"]


def _variant(find: Any) -> list[str]:
    words = []
    if find("SegmentedKSpaceTraversal") not in (None, "SINGLE"):
        words.append("SK")
    if find("MagnetizationTransfer") not in (None, "NONE"):
        words.append("MTC")
    if find("SteadyStatePulseSequence") not in (None, "NONE"):
        words.append("SS")
    if find("Spoiling") not in (None, "NONE"):
        words.append("SP")
    if find("OversamplingPhase") not in (None, "NONE"):
        words.append("OSP")
    return words or ["NONE"]
