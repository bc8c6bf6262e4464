"""What is no scan of tissue, and so is refused unless forced: labels, quantitative maps, phase, other modalities."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medinr.errors import IntensityError, UnitError
from medinr.io.images.bids import stem_of
from medinr.io.images.intensities import are_whole, sample_values
from medinr.io.nifti.stored import nifti_source
from medinr.volume import WITHOUT_MAGNITUDE, Volume

#: Whole values that are not zero: as few as these are labels; as few as the second number where nearly every voxel
#: has its neighbour's value. Real scans measured: 150 to 1200 grey levels, and 5 % of equal neighbours.
FEW_LABELS, MORE_LABELS, ALIKE = 24, 2500, 0.75

# fmt: off
#: Words of names of files and headers, between `_`, `-`, `.` and blanks (BIDS suffixes; FSL, FreeSurfer, dcm2niix).
_LABEL_WORDS = frozenset((
    "dseg", "probseg", "seg", "segmentation", "segmentations", "label", "labels", "labelmap", "mask", "aseg", "aparc",
    "parc", "parcellation", "roi",
))
_MAP_WORDS = frozenset((
    "adc", "fa", "md", "rd", "cbf", "cbv", "mtt", "ttp", "tmax", "ktrans", "phasediff", "fieldmap", "b0map", "b1map",
    "t1map", "t2map", "t2starmap", "r1map", "r2map", "r2starmap", "pdmap", "mtrmap", "mtsat", "mtvmap", "mwfmap",
    "chimap", "s0map", "m0map", "t1rho", "tb1map", "rb1map", "tb1dam", "sensitivity", "zstat", "tstat", "qsm",
))
#: Of these, words that mean it only at the end of a file's name.
_ONLY_LAST = frozenset(("fa", "md", "rd", "roi", "mask", "seg", "label", "sensitivity"))
#: Words of DICOM's ImageType (scanners of Siemens, GE, Philips).
_MAP_TYPES = frozenset((
    "ADC", "FA", "MD", "EADC", "DIFFUSION_ADC", "DIFFUSION_FA", "T1 MAP", "T2 MAP", "T2_STAR MAP", "R2_STAR MAP",
    "T1_MAP", "T2_MAP", "T2STAR_MAP", "R2STAR_MAP", "R1_MAP", "R2_MAP", "B0 MAP", "B0_MAP", "B1 MAP", "B1_MAP",
    "FIELD_MAP", "CBF", "CBV", "MTT", "TTP", "TMAX", "RELCBF", "RELCBV", "RELMTT", "KTRANS", "VELOCITY", "VELOCITY MAP",
    "PHASE MAP", "SUSCEPTIBILITY", "QSM", "T_STATISTICS", "Z_SCORE",
))
# fmt: on

#: Findings of readers that say the same.
_INTENTS = ("are labels, no scan", "are values of a statistic, no scan", "are no intensities of a scan")

_FORCE = "Say --force to treat it all the same."


def require_suitable(volume: Volume, force: bool = False) -> tuple[str, ...]:
    """Refuse what a denoiser of scans has no business with.

    Parameters
    ----------
    volume : Volume
        The first of the scan.
    force : bool
        Warn in place of refusing, where that can give anything at all.

    Returns
    -------
    tuple of str
        Warnings; none unless forced.

    Raises
    ------
    UnitError
        For phase alone, quantitative maps, labels, and modalities other than MR and CT; and for CT that is not in HU,
        forced or not.
    """
    if volume.modality == "CT" and volume.unit != "HU":
        raise UnitError(
            f"this CT is in {volume.unit}, and the denoiser of CT wants Hounsfield units. Where its values are HU, "
            "say --modality CT."
        )
    reasons = list(_reasons(volume))
    if reasons and not force:
        raise UnitError(f"{reasons[0]} {_FORCE}")
    return tuple(reasons)


def require_slices(volume: Volume, through_plane: bool) -> None:
    """Refuse through-plane work on one slice.

    Raises
    ------
    IntensityError
    """
    if through_plane and volume.shape[0] < 2:
        raise IntensityError(
            "the scan has one slice, and between slices nothing can be found without a second. Refine it within the "
            "slice: --factor 2,2,1, or --spacing X,Y,Z with the slices' own spacing as Z."
        )


def _reasons(volume: Volume) -> Iterator[str]:
    facts = volume.provenance.facts
    if facts.component in WITHOUT_MAGNITUDE:
        yield (
            f"this is the {facts.component} of an MR scan, no picture of the tissue. Give the magnitude, and this "
            "as its --phase."
        )
    words = _words(volume)
    types = {word.upper() for word in facts.image_type} & _MAP_TYPES
    if words & _MAP_WORDS or types:
        what = sorted(types) or sorted(words & _MAP_WORDS)
        yield (
            f"this looks like a quantitative map ({', '.join(what)}): its values are a property of the tissue, and "
            "its noise is not that of a scan. Denoise the scans that it is computed from."
        )
    intent = next((note for note in volume.provenance.notes if any(part in note for part in _INTENTS)), "")
    if intent:
        yield f"{intent}. Give the scan itself."
    elif words & _LABEL_WORDS or _are_labels(volume):
        yield "this looks like a label map or mask (few distinct values), no scan. Give the scan itself."
    if volume.modality not in ("MR", "CT"):
        yield (
            f"the modality is {volume.modality}; the denoisers know MR and CT. If it is one of these, say --modality."
        )


def _words(volume: Volume) -> set[str]:
    """Words of the file's name and of the header's texts, in small letters."""
    provenance = volume.provenance
    name = stem_of(provenance.files[0]) if provenance.format != "dicom" and len(provenance.files) == 1 else ""
    source = nifti_source(volume)
    of_name, of_header = (
        [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]
        for text in (name, "" if source is None else source.text)
    )
    return (set(of_name[:-1]) | set(of_header)) - _ONLY_LAST | set(of_name[-1:])


def _are_labels(volume: Volume) -> bool:
    if np.iscomplexobj(volume.array) or volume.unit == "HU":
        return False
    values = sample_values(volume.array)
    if not values.size or not are_whole(values) or values.min() < 0:
        return False
    some = values[values > 0]
    labels = len(np.unique(some))
    if labels <= FEW_LABELS:
        return True
    return labels <= MORE_LABELS and _alike(volume.array) >= ALIKE


def _alike(array: NDArray[np.generic]) -> float:
    """Share of voxels that are not zero and have the value of the next one in their row."""
    some = array[:: max(1, len(array) // 16)]
    filled = some[..., :-1] != 0
    equal = some[..., :-1] == some[..., 1:]
    return float((equal & filled).sum() / max(1, int(filled.sum())))
