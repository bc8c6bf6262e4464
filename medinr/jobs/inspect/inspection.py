"""What `medinr inspect` found, as text for a person and as values for a program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medinr.io.provenance import notes_without_names
from medinr.jobs.audit.finding import Finding, is_usable, verdict
from medinr.jobs.audit.geometry import STRAIGHT_DEGREES, oblique_degrees
from medinr.jobs.audit.sample import ScanSample
from medinr.volume import Volume

#: Of the JSON.
FORMAT = "medinr-inspection-1"

#: Parts of the JSON that say what it is about; `about` adds the scanner's description without its date.
About = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class ScanInspection:
    """One scan or series.

    Attributes
    ----------
    findings : tuple of Finding
    words : str
        The series in a line; empty for files that are no DICOM.
    about : mapping
        The same as values, without dates.
    number : int or None
        Of a DICOM series.
    sample : ScanSample or None
        None when it cannot be read.
    complete : bool
        Whether every slice was read, or a few.
    format, sha256 : str
    notes : tuple of str
        Irregularities that the reader told.
    files : tuple of Path
        Source files, whose names the JSON must not contain.
    """

    findings: tuple[Finding, ...]
    words: str = ""
    about: About = field(default_factory=dict)
    number: int | None = None
    sample: ScanSample | None = None
    complete: bool = True
    format: str = ""
    sha256: str = ""
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether nothing rules it out."""
        return is_usable(self.findings)

    @property
    def verdict(self) -> str:
        """Usable, usable with cautions, or not usable, in a line."""
        return verdict(self.findings)

    def text(self) -> str:
        """Describe the scan in lines: verdict, geometry, intensities, findings and notes, without names of files."""
        lines = [f"verdict     {self._nameless(self.verdict)}"]
        if self.words:
            lines.append(f"series      {self.words}")
        if self.sample is not None:
            lines += _geometry_lines(self.sample, self.format)
            lines.append(f"intensity   {_intensity_words(self.sample)}")
        if self.sha256:
            lines.append(f"sha256      {self.sha256}")
        lines += [f"{finding.severity:<11} {self._nameless(str(finding))}" for finding in self.findings]
        lines += [f"note        {self._nameless(note)}" for note in self.notes]
        return "\n".join(lines)

    def naming_files(self) -> tuple[str, ...]:
        """Findings and notes that say which file they are of: for the user's eyes, never to be written."""
        told = (*(finding.words for finding in self.findings), *self.notes)
        return tuple(words for words in told if self._nameless(words) != words)

    def _nameless(self, words: str) -> str:
        return notes_without_names([words], self.files)[0]

    def facts(self) -> dict[str, Any]:
        """Return plain values for JSON, without names of files."""
        nameless = self._nameless
        found = [{key: nameless(value) for key, value in finding.facts().items()} for finding in self.findings]
        facts: dict[str, Any] = {
            "number": self.number,
            "usable": self.usable,
            "verdict": nameless(self.verdict),
            **self.about,
            "complete": self.complete,
            "format": self.format,
            "sha256": self.sha256,
            "findings": found,
            "notes": [nameless(note) for note in self.notes],
        }
        return facts if self.sample is None else facts | _sample_facts(self.sample)


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is at a path.

    Attributes
    ----------
    kind : str
        ``"scans"``, ``"raw"``, ``"manifest"`` or ``"safetensors"``.
    scans : tuple of ScanInspection
        Every series, of `kind` scans.
    chosen : int or None
        Which of several series is taken when none is asked for.
    lines : tuple of str
        Text of the other kinds.
    left_aside : tuple of str
        Files that are no part of a scan: what they are, counted, without their names.
    """

    kind: str
    scans: tuple[ScanInspection, ...] = ()
    chosen: int | None = None
    lines: tuple[str, ...] = ()
    left_aside: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether there is something that medinr can work with."""
        return self.kind != "scans" or any(scan.usable for scan in self.scans)

    def naming_files(self) -> tuple[str, ...]:
        """What names a file, series by series: for the user's eyes, never to be written."""
        several = len(self.scans) > 1
        return tuple(
            f"series {scan.number}: {words}" if several else words
            for scan in self.scans
            for words in scan.naming_files()
        )

    def text(self) -> str:
        """Describe everything in lines; nothing identifies the patient."""
        if self.kind != "scans":
            return "\n".join(self.lines)
        aside = [f"note        {note}" for note in self.left_aside]
        if len(self.scans) == 1:
            return "\n".join([self.scans[0].text(), *aside])
        taken = "" if self.chosen is None else f"; without it, series {self.chosen} is taken, the only volume"
        lines = [f"{len(self.scans)} series; choose one with --series N{taken}"]
        for scan in self.scans:
            lines += [f"  {scan.number}: {scan.words}", f"     {notes_without_names([scan.verdict], scan.files)[0]}"]
        lines += aside
        described = [scan.text() for scan in self.scans if scan.number == self.chosen]
        return "\n".join([*lines, *(["", *described] if described else [])])

    def facts(self) -> dict[str, Any]:
        """Return the same as plain values: no names of files, no dates, nothing that identifies the patient."""
        facts: dict[str, Any] = {"format": FORMAT, "kind": self.kind, "usable": self.usable}
        if self.kind != "scans":
            return facts | {"lines": list(self.lines)}
        return facts | {
            "chosen": self.chosen,
            "scans": [scan.facts() for scan in self.scans],
            "left_aside": list(self.left_aside),
        }

    def json(self) -> str:
        """Return `facts` as JSON; numbers that are not finite are null."""
        return json.dumps(_finite(self.facts()), indent=2, ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        return self.text()


def _geometry_lines(sample: ScanSample, source: str) -> list[str]:
    z, y, x = sample.shape
    dx, dy, dz = sample.spacing
    right, anterior, superior = _centre(sample)
    degrees = oblique_degrees(sample)
    tilt = "straight" if degrees < STRAIGHT_DEGREES else f"oblique by {degrees:.0f} degrees"
    grid = _grid(sample)
    return [
        f"modality    {sample.modality}, from {source}",
        f"matrix      {x} x {y} pixels, {z} slice{'s' if z > 1 else ''}",
        f"spacing     {dx:.3f} x {dy:.3f} mm in the slice, {dz:.3f} mm from slice to slice",
        f"plane       {grid.plane}, {tilt}; axes run to {', '.join(grid.axes)}",
        f"coverage    {x * dx:.0f} x {y * dy:.0f} x {z * dz:.0f} mm around "
        f"R {right:.1f}, A {anterior:.1f}, S {superior:.1f} mm",
    ]


def _grid(sample: ScanSample) -> Volume:
    """An empty volume on the same axes, which names them."""
    return Volume(np.zeros((1, 1, 1), np.float32), sample.affine)


def _centre(sample: ScanSample) -> tuple[float, float, float]:
    z, y, x = sample.shape
    right, anterior, superior = sample.affine[:3] @ [(x - 1) / 2, (y - 1) / 2, (z - 1) / 2, 1]
    return float(right), float(anterior), float(superior)


def _percentiles(sample: ScanSample) -> Sequence[float]:
    values = sample.coarse[np.isfinite(sample.coarse)]
    return [float(value) for value in np.percentile(values, [1, 50, 99])] if values.size else [float("nan")] * 3


def _intensity_words(sample: ScanSample) -> str:
    low, high = sample.low, sample.high
    if not np.isfinite(low):
        return "no finite value"
    one, half, most = _percentiles(sample)
    kind = "complex magnitude " if sample.is_complex else ""
    return f"{kind}{low:.6g} to {high:.6g} {sample.unit} (1 %, 50 %, 99 %: {one:.6g}, {half:.6g}, {most:.6g})"


def _sample_facts(sample: ScanSample) -> dict[str, Any]:
    z, y, x = sample.shape
    one, half, most = _percentiles(sample)
    grid = _grid(sample)
    return {
        "modality": sample.modality,
        "unit": sample.unit,
        "matrix": [x, y, z],
        "spacing_mm": list(sample.spacing),
        "affine_ras_mm": sample.affine.tolist(),
        "plane": grid.plane,
        "axes": list(grid.axes),
        "oblique_degrees": oblique_degrees(sample),
        "centre_ras_mm": list(_centre(sample)),
        "intensity": {
            "complex": sample.is_complex,
            "low": sample.low,
            "high": sample.high,
            "percentile_1": one,
            "percentile_50": half,
            "percentile_99": most,
        },
        "facts": asdict(sample.facts),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
