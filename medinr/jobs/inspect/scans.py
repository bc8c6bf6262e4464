"""Inspection of DICOM series and of scans in single files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from medinr.errors import FileError, InputError, UnitError
from medinr.io.dicom.choose import choose_series
from medinr.io.dicom.facts import facts_of
from medinr.io.dicom.geometry import affine_of, tilt_degrees
from medinr.io.dicom.pixels import is_hounsfield
from medinr.io.dicom.read import iterate_slices, name_left_aside
from medinr.io.dicom.series import Listing, Series, list_series
from medinr.io.hashes import combine_hashes, hash_file
from medinr.io.limits import require_readable_size
from medinr.jobs.audit.audit import audit
from medinr.jobs.audit.catalogue import found
from medinr.jobs.audit.finding import Finding, by_severity, is_usable
from medinr.jobs.audit.sample import ScanSample, sample_scan, sample_volume, spread
from medinr.jobs.inspect.inspection import Inspection, ScanInspection
from medinr.volume import Volume

#: Slices that are decoded of each of several series.
_TRIED = 3

#: Kinds of series that hold no intensities, in words.
_NO_SCAN = {"screenshot": "a picture of a screen", "colours": "a colour picture"}


def inspect_volume(volume: Volume) -> Inspection:
    """Inspect a scan that is in memory."""
    sample = sample_volume(volume)
    provenance = volume.provenance
    scan = ScanInspection(
        audit(sample),
        sample=sample,
        format=provenance.format,
        sha256=provenance.sha256,
        notes=provenance.notes,
        files=provenance.files,
    )
    return Inspection("scans", (scan,))


def inspect_dicom(path: Path, wanted: int | str | None = None, modality: str | None = None) -> Inspection:
    """Inspect a folder, archive or file of DICOM: one series completely, or several by their headers and a few slices.

    Parameters
    ----------
    path : Path
    wanted : int or str, optional
        Which series (`medinr.io.dicom.choose.choose_series`).
    modality : {"MR", "CT", "OT"}, optional
        Must agree with the header of the series that is chosen.

    Raises
    ------
    FileError
        When there is no DICOM picture, or no such series.
    UnitError
        When the series is of another modality.
    """
    listing = list_series(path)
    name_left_aside(listing)
    try:
        chosen = choose_series(listing, wanted)
    except FileError:
        if wanted is not None:
            raise
        return Inspection(
            "scans", tuple(_inspect(listing, series, False) for series in listing.series), None, (), listing.notes
        )
    if modality not in (None, _modality(chosen)):
        raise UnitError(f"{path}: {modality} was asked for; the DICOM header has {_modality(chosen)}.")
    if wanted is not None or len(listing.series) == 1:
        return Inspection("scans", (_inspect(listing, chosen, True),), left_aside=listing.notes)
    scans = tuple(_inspect(listing, series, series is chosen) for series in listing.series)
    return Inspection("scans", scans, chosen.number, left_aside=listing.notes)


def _inspect(listing: Listing, series: Series, complete: bool) -> ScanInspection:
    header = series.frames[0].header
    files = tuple(dict.fromkeys(frame.path for frame in series.frames))
    described = ScanInspection(
        tuple(_header_findings(listing, series)),
        words=series.words,
        about={
            "description": header.description,
            "kind": series.kind,
            "variant": series.variant,
            "contrast_agent": header.contrast_agent,
        },
        number=series.number,
        complete=complete,
        format="dicom",
        files=(*files, *(one.path for one in listing.left_out), listing.path),
    )
    if not is_usable(described.findings):
        return described
    notes: list[str] = []
    try:
        sample = _sample(series, complete, notes)
        tilted = any(finding.code == "tilted" for finding in described.findings)
        audited = [finding for finding in audit(sample) if not (tilted and finding.code == "sheared")]
        findings = by_severity([*described.findings, *audited])
        digest = combine_hashes(hash_file(file) for file in files) if complete else ""
    except InputError as error:
        return replace(described, findings=by_severity([*described.findings, found("unreadable", str(error))]))
    return replace(described, findings=findings, sample=sample, sha256=digest, notes=tuple(notes))


def _header_findings(listing: Listing, series: Series) -> Iterator[Finding]:
    if series.kind in _NO_SCAN:
        yield found("not-a-scan", _NO_SCAN[series.kind])
        return
    lost = listing.lost_beside(series)
    if lost:
        yield found("lost-files", f"{len(lost)} file(s) beside the slices cannot be read")
    if series.problem:
        yield _irregular(series)
    if series.kind == "localiser":
        yield found("localiser", "a localiser")
    if len(series.frames) == 1:
        yield found("single-slice", "a single slice")


def _irregular(series: Series) -> Finding:
    """Finding on a series that forms no regular stack; a leaning one can be resampled."""
    try:
        degrees = tilt_degrees(affine_of(series.frames, [], tilted=True))
    except InputError:
        return found("irregular", series.problem)
    if not degrees:
        return found("irregular", series.problem)
    return found("tilted", f"slices lean by {degrees:.1f} degrees (gantry tilt)")


def _sample(series: Series, complete: bool, notes: list[str]) -> ScanSample:
    first = series.frames[0]
    count = len(series.frames)
    shape = (count, first.rows, first.columns)
    require_readable_size(shape[::-1], first.name)
    affine = affine_of(series.frames, notes, tilted=True)
    facts = facts_of(first, notes)
    hounsfield = is_hounsfield(first)
    if first.modality == "CT" and not hounsfield:
        notes.append(f"CT whose values are not Hounsfield units (RescaleType {first.rescale_type})")
    taken = range(count) if complete else spread(count, _TRIED)
    slices = iterate_slices(replace(series, frames=tuple(series.frames[number] for number in taken)))
    return sample_scan(slices, shape, affine, _modality(series), "HU" if hounsfield else "a.u.", facts, taken)


def _modality(series: Series) -> str:
    modality = series.frames[0].modality
    return modality if modality in ("MR", "CT") else "OT"
