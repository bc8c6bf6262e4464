"""What a DICOM header says about how a scan was acquired."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from medinr.io.dicom.frames import Frame, groups_of, number_of, value_in
from medinr.io.dicom.headers import read_header, words
from medinr.io.dicom.lenient import leniently
from medinr.io.dicom.mosaic import slice_times
from medinr.io.treated import DENOISED_NOTE, is_denoised
from medinr.volume import ScanFacts

#: ImageType's third or fourth word, or ComplexImageComponent, and what part of the complex signal that is.
_COMPONENTS = {
    "M": "magnitude",
    "MAGNITUDE": "magnitude",
    "M_FFE": "magnitude",
    "M_SE": "magnitude",
    "M_IR": "magnitude",
    "P": "phase",
    "PHASE": "phase",
    "P_FFE": "phase",
    "PHASE MAP": "phase",
    "PHASE CONTRAST M": "phase",
    "R": "real",
    "REAL": "real",
    "R_FFE": "real",
    "REAL_IMAGE": "real",
    "I": "imaginary",
    "IMAGINARY": "imaginary",
    "I_FFE": "imaginary",
}

#: Names of the compression methods of LossyImageCompressionMethod (PS3.3, C.7.6.1.1.5.1).
_METHODS = {
    "ISO_10918_1": "JPEG",
    "ISO_14495_1": "JPEG-LS",
    "ISO_15444_1": "JPEG 2000",
    "ISO_15444_15": "High-Throughput JPEG 2000",
}

#: Philips's private scale (slope, intercept), which turns displayed into floating-point values.
_PHILIPS_SCALE = (0x2005, 0x100E)


def facts_of(frame: Frame, notes: list[str]) -> ScanFacts:
    """Read a frame's header again for facts that reading the pixels does not need.

    Parameters
    ----------
    frame : Frame
        Of a series, the first.
    notes : list of str
        Irregularities are added.
    """
    with leniently(frame.path):
        dataset = read_header(frame.path)
        if dataset is None:
            return ScanFacts()
        places = groups_of(dataset, frame.number)
        component = _component(frame, places) if frame.modality == "MR" else ""
        inverted = frame.header.stored.photometric == "MONOCHROME1"
        if inverted:
            notes.append("MONOCHROME1: low values are shown bright; values are kept as they are")
        if frame.modality == "MR" and component not in ("", "magnitude"):
            notes.append(f"MR {component}, not magnitude")
        if is_denoised(str(value_in(places, "DerivationDescription") or "")):
            notes.append(DENOISED_NOTE)
        scale = number_of(dataset[_PHILIPS_SCALE].value) if _PHILIPS_SCALE in dataset else None
        if scale is not None and "philips" in str(dataset.get("Manufacturer") or "").lower():
            notes.append(
                f"Philips private scale (2005,100E) {scale:g} is not applied: values are those displayed, "
                "not proportional across scans"
            )
        return ScanFacts(
            component=component,
            image_type=frame.header.image_type,
            thickness=frame.thickness,
            acquired_matrix=_acquired_matrix(value_in(places, "AcquisitionMatrix"), places),
            lossy=_lossy(dataset, frame),
            inverted=inverted,
            bits_stored=frame.header.stored.bits_stored,
            window=_window(places),
            echo_time=_positive(places, "EchoTime", "EffectiveEchoTime"),
            repetition_time=_positive(places, "RepetitionTime"),
            inversion_time=_positive(places, "InversionTime"),
            flip_angle=_positive(places, "FlipAngle"),
            b_value=number_of(dict(frame.labels).get("b-value")),
            field_strength=_positive(places, "MagneticFieldStrength"),
            slice_times=slice_times(dataset) if frame.tile is not None else (),
        )


def _positive(places: list[Dataset], *keywords: str) -> float | None:
    number = number_of(value_in(places, *keywords))
    return number if number is not None and number > 0 else None


def _component(frame: Frame, places: list[Dataset]) -> str:
    stated = str(value_in(places, "ComplexImageComponent") or "").upper()
    if stated in _COMPONENTS:
        return _COMPONENTS[stated]
    image_type = words(value_in(places, "FrameType")) or frame.header.image_type
    return next((_COMPONENTS[word.upper()] for word in image_type[2:] if word.upper() in _COMPONENTS), "")


def _acquired_matrix(value: Any, places: list[Dataset]) -> tuple[int, int] | None:
    """Samples along (x, y): frequency rows, frequency columns, phase rows, phase columns in (0018,1310)."""
    try:
        frequency_rows, frequency_columns, phase_rows, phase_columns = (int(part) for part in value)
    except (TypeError, ValueError):
        frequency = number_of(value_in(places, "MRAcquisitionFrequencyEncodingSteps"))
        phase = number_of(value_in(places, "MRAcquisitionPhaseEncodingStepsInPlane"))
        if not frequency or not phase:
            return None
        along_columns = str(value_in(places, "InPlanePhaseEncodingDirection") or "").upper().startswith("COL")
        return (int(frequency), int(phase)) if along_columns else (int(phase), int(frequency))
    x, y = frequency_columns or phase_columns, frequency_rows or phase_rows
    return (x, y) if x and y else None


def _lossy(dataset: Dataset, frame: Frame) -> str:
    if str(dataset.get("LossyImageCompression") or "") == "01":
        methods = [_METHODS.get(method, method) for method in words(dataset.get("LossyImageCompressionMethod"))]
        ratios = dataset.get("LossyImageCompressionRatio")
        ratio = number_of(ratios[-1] if hasattr(ratios, "append") and len(ratios) else ratios)
        return f"{' and '.join(methods) or 'lossy compression'}{f', {ratio:g}:1' if ratio else ''}"
    name = frame.header.stored.syntax.name
    lossy_syntax = frame.header.stored.syntax.is_compressed and "JPEG" in name and "Lossless" not in name
    return name if lossy_syntax else ""


def _window(places: list[Dataset]) -> tuple[float, float] | None:
    pair = []
    for keyword in ("WindowCenter", "WindowWidth"):
        value = value_in(places, keyword)
        number = number_of(value[0] if hasattr(value, "append") and len(value) else value)
        if number is None:
            return None
        pair.append(number)
    return pair[0], pair[1]
