"""Description of a file or folder as text, without anything that identifies the patient."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from medinr.errors import FileError, InputError
from medinr.io.dicom.read import list_series
from medinr.io.manifest import read_manifest
from medinr.io.scan import read_scan
from medinr.volume import Volume

#: Metadata of medinr's own files that are not printed: paths, hashes and matrices.
_OMITTED = ("provenance", "affine", "complex")


def describe_volume(volume: Volume) -> str:
    """Describe a volume's geometry, intensities and oddities in lines of text."""
    z, y, x = volume.shape
    dx, dy, dz = volume.spacing
    right, anterior, superior = volume.affine[:3] @ [(x - 1) / 2, (y - 1) / 2, (z - 1) / 2, 1]
    lines = [
        f"modality    {volume.modality}, from {volume.provenance.format}",
        f"matrix      {x} x {y} pixels, {z} slice{'s' if z > 1 else ''}",
        f"spacing     {dx:.3f} x {dy:.3f} mm in the slice, {dz:.3f} mm from slice to slice",
        f"plane       {volume.plane}, {_tilt(volume)}; axes run to {', '.join(volume.axes)}",
        f"coverage    {x * dx:.0f} x {y * dy:.0f} x {z * dz:.0f} mm around "
        f"R {right:.1f}, A {anterior:.1f}, S {superior:.1f} mm",
        f"intensity   {_intensity(volume)}",
    ]
    if volume.provenance.sha256:
        lines.append(f"sha256      {volume.provenance.sha256}")
    lines.extend(f"caution     {words}" for words in _cautions(volume))
    lines.extend(f"note        {note}" for note in volume.provenance.notes)
    return "\n".join(lines)


def _cautions(volume: Volume) -> Iterator[str]:
    bad = [number for number, plane in enumerate(volume.array) if not np.isfinite(plane).all()]
    empty = [number for number, plane in enumerate(volume.array) if not plane.any()]
    for numbers, words in ((bad, "hold NaN or infinity"), (empty, "are zero throughout")):
        if numbers:
            first = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
            yield f"{len(numbers)} of {volume.shape[0]} slices {words} (number {first}) and cannot be fitted"


def _tilt(volume: Volume) -> str:
    axis = volume.affine[:3, 2] / np.linalg.norm(volume.affine[:3, 2])
    degrees = float(np.degrees(np.arccos(min(1.0, np.abs(axis).max()))))
    return "straight" if degrees < 0.5 else f"oblique by {degrees:.0f} degrees"


def _intensity(volume: Volume) -> str:
    values = np.abs(volume.array) if np.iscomplexobj(volume.array) else volume.array
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "no finite value"
    low, high = finite.min(), finite.max()
    middle = np.percentile(finite, [1, 50, 99])
    kind = "complex magnitude " if np.iscomplexobj(volume.array) else ""
    return (
        f"{kind}{low:.6g} to {high:.6g} {volume.unit} "
        f"(1 %, 50 %, 99 %: {middle[0]:.6g}, {middle[1]:.6g}, {middle[2]:.6g})"
    )


def describe_dicom(path: Path, number: int | None) -> str:
    """Describe a folder or file of DICOM: one series, or the list of them."""
    listing = list_series(path)
    if number is not None:
        return describe_volume(read_scan(path, series=number))
    if len(listing.series) == 1:
        try:
            return describe_volume(read_scan(path))
        except InputError as error:
            return f"series      {listing.series[0].words}\nunusable    {error}"
    lines = [f"{len(listing.series)} series; choose one with --series N"]
    lines.extend(f"  {series.number}: {series.words}" for series in listing.series)
    lines.extend(f"note        {note}" for note in listing.notes)
    return "\n".join(lines)


def describe_manifest(path: Path) -> str:
    """Describe a manifest: scans, persons and licences of every split."""
    manifest = read_manifest(path)
    lines = [f"manifest of {len(manifest)} scans"]
    for split in dict.fromkeys(row.split for row in manifest):
        rows = manifest.select(split=split)
        kinds = sorted({f"{row.modality} {row.contrast}".strip() for row in rows})
        licences = sorted({row.licence for row in rows})
        here = sum(rows.resolve(row).exists() for row in rows)
        lines.append(
            f"{split:<11} {len(rows)} scans of {len({row.subject for row in rows})} subjects: "
            f"{', '.join(kinds)}; {', '.join(licences)}; {here} of {len(rows)} are on this machine"
        )
    return "\n".join(lines)


def describe_safetensors(path: Path) -> str:
    """Describe a measurement or a model by its facts and arrays."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (no dict)
    except (OSError, safetensors.SafetensorError) as error:
        raise FileError(f"{path}: not a readable safetensors file. Copy or make it again.") from error
    lines = ["safetensors file"]
    for name, text in metadata.items():
        try:
            facts = json.loads(text)
        except ValueError:
            facts = text
        if isinstance(facts, dict):
            lines.extend(f"{key:<11} {value}" for key, value in facts.items() if key not in _OMITTED)
        else:
            lines.append(f"{name:<11} {facts}")
    lines.extend(f"array       {name} {' x '.join(map(str, shape)) or 'scalar'}" for name, shape in shapes.items())
    return "\n".join(lines)
