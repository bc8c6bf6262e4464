"""What a manifest takes from the voxels of a scan: modality, contrast, hash, fingerprint; or why it cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medinr.errors import InputError
from medinr.io.dicom.read import read_series
from medinr.io.hashes import combine_hashes, hash_file, hash_scan
from medinr.io.scan import read_scan
from medinr.jobs.manifest.candidates import Candidate, in_words
from medinr.jobs.manifest.contrast import contrast_of
from medinr.jobs.manifest.fingerprints import fingerprint
from medinr.jobs.manifest.journal import Reading
from medinr.volume import Volume

#: A volume of no more different values than this is a mask or a map of labels.
_MOST_LABELS = 16

#: Parts of the complex signal that are no image of intensities.
_NO_INTENSITIES = ("phase", "real", "imaginary")


def read_candidate(candidate: Candidate, root: Path) -> Reading:
    """Read a candidate once; errors of the readers become the reason why it cannot be used."""
    try:
        volume = read_series(*candidate.stack) if candidate.stack else read_scan(candidate.path)
        reason = _unusable(volume)
        if reason:
            return Reading(reason)
        if candidate.series is None:
            digest = hash_scan(candidate.path)
        else:
            digest = combine_hashes(hash_file(file) for file in candidate.files)
    except InputError as error:
        return Reading(in_words(error, root))
    contrast = ""
    if volume.modality == "MR":
        contrast = contrast_of(candidate.words, volume.provenance.facts, candidate.agent)
    return Reading("", digest, volume.modality, contrast, fingerprint(volume).to_json())


def _unusable(volume: Volume) -> str:
    if volume.modality not in ("MR", "CT"):
        return f"modality {volume.modality}; a manifest lists MR and CT"
    component = volume.provenance.facts.component
    if component in _NO_INTENSITIES:
        return f"the {component} of the signal, not its magnitude"
    if not any(np.isfinite(plane).all() and plane.any() for plane in volume.array):
        return "no slice can be used: all are zero or hold NaN"
    if _levels(volume) <= _MOST_LABELS:
        return f"a mask or a map of labels: {_levels(volume)} different values"
    return ""


def _levels(volume: Volume) -> int:
    found: set[complex] = set()
    for plane in volume.array:
        found.update(np.unique(plane)[: _MOST_LABELS + 1].tolist())
        if len(found) > _MOST_LABELS:
            break
    return len(found)
