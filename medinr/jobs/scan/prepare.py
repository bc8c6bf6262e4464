"""From a request to a job: the scan is read, refused or taken, and its noise found, before anything is computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.io.atomic import require_writable
from medinr.io.hashes import hash_file
from medinr.jobs.audit.audit import audit_volume
from medinr.jobs.audit.finding import Finding
from medinr.jobs.reconstruct.dicom_output import DicomPlan, plan_dicom
from medinr.jobs.record import new_result, versions
from medinr.jobs.reference import Reference
from medinr.jobs.scan.effect import Blend
from medinr.jobs.scan.judge import judge
from medinr.jobs.scan.kept import KeptVolumes
from medinr.jobs.scan.methods import DENOISERS, require_method
from medinr.jobs.scan.noise import doubted_where_denoised, find_noise, noise_words, read_mask, read_told
from medinr.jobs.scan.request import ScanRequest
from medinr.jobs.scan.source import ScanSource, open_source
from medinr.jobs.scan.suitable import require_suitable
from medinr.jobs.scan.suited_model import open_scan_model
from medinr.models.checkpoint import find_model
from medinr.models.model import Model
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume

#: Takes a line for the user.
Announce = Callable[[str], None]

FINISHED = "result.json"


@dataclass(frozen=True, eq=False)
class ScanJob:
    """A scan that can be treated, and what it is treated with.

    Attributes
    ----------
    request : ScanRequest
    source : ScanSource
    noise : ScanNoise
    blend : Blend
    mask : ndarray of bool, shape (z, y, x), or None
    model : Model
    model_name : str
    findings : tuple of Finding
        Of the scan's audit.
    dicom : DicomPlan
    warnings, notes : tuple of str
        For the user; none names a file.
    """

    request: ScanRequest
    source: ScanSource
    noise: ScanNoise
    blend: Blend
    mask: NDArray[np.bool_] | None
    model: Model
    model_name: str
    findings: tuple[Finding, ...]
    dicom: DicomPlan
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def kept(self, more: Mapping[str, Any]) -> KeptVolumes:
        """Where volumes are kept, finished or not; `more` are settings of the command that they depend on too."""
        card = self.model.card
        facts = {
            **self.request.facts,
            **more,
            "version": versions()["medinr"],
            "source": self.source.first.provenance.sha256,
            "values": _hash(self.source.first.array),
            "grid": [list(self.source.first.shape), self.source.first.affine.tolist()],
            "count": self.source.count,
            "noise": self.noise.facts,
            "map": _hash(self.noise.sigma_map),
            "tables": [_hash(table) for table in (self.noise.autocorrelation, *(self.noise.across or ()))],
            "mask": _hash(self.mask),
            "weights": "" if card is None else hash_file(find_model(self.model_name)),
            "blend": self.blend.value,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
        return KeptVolumes(self.request.out / "work", digest)


def require_output(request: ScanRequest) -> None:
    """Refuse an output that cannot be written, or is finished and may not be replaced.

    Raises
    ------
    FileError, OutputExistsError
    """
    require_writable(request.out)
    new_result(request.out, FINISHED, request.overwrite)


def open_job(
    request: ScanRequest,
    methods: Mapping[str, object],
    announce: Announce,
    check: Callable[[Volume], object] | None = None,
) -> ScanJob:
    """Read a scan and find its noise.

    Parameters
    ----------
    request : ScanRequest
    methods : mapping
        Of the command, by name.
    announce : callable
        Gets what was found as soon as it is known.
    check : callable, optional
        Refuses what the command cannot treat.

    Raises
    ------
    InputError
        In words, when the scan cannot be treated, or what was given does not go together.
    """
    require_method(request.method, methods)
    source = open_source(request.source, request.choice, request.slices, request.phase)
    first = source.first
    announce(source.words)
    forced = require_suitable(first, request.force)
    if check is not None:
        check(first)
    opened = open_scan_model(first, request.model)
    dicom = plan_dicom(Reference(first, np.empty((0, 0, 0), np.float32), 1.0), request.deidentify)
    mask = read_mask(request.mask, first)
    told = read_told(request.sigma, request.noise_scan, request.coils, first)
    noise = find_noise(source, told, mask)
    # A scan that was denoised may well be brought to a finer grid.
    if methods is DENOISERS and not request.force:
        noise = doubted_where_denoised(noise, first, told)
    announce(noise_words(noise, first.unit))
    findings = audit_volume(first)
    opened = opened.suited_to(first, noise)
    notes = (opened.note, *source.notes) if opened.note else source.notes
    judged = judge(first, noise, opened.model, request.blend, findings, forced, notes)
    return ScanJob(
        request,
        source,
        noise,
        judged.blend,
        mask,
        opened.model,
        opened.name,
        findings,
        dicom,
        judged.warnings,
        judged.notes,
    )


def _hash(values: NDArray[Any] | None) -> str:
    return "" if values is None else hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
