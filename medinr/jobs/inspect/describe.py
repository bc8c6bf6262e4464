"""Description of manifests, measurements and models as text, without anything that identifies a patient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors

from medinr.errors import FileError
from medinr.io.manifest import read_manifest
from medinr.jobs.audit.carried import KEY as FINDINGS

#: Metadata of medinr's own files that are not printed: paths, hashes and matrices.
_OMITTED = ("provenance", "affine", "complex")


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
            found = facts.get("parameters", {}).pop(FINDINGS, ()) if isinstance(facts.get("parameters"), dict) else ()
            lines.extend(f"{key:<11} {value}" for key, value in facts.items() if key not in _OMITTED)
            lines.extend(f"{one['severity']:<11} {one['words']}. {one['meaning']}" for one in found)
        else:
            lines.append(f"{name:<11} {facts}")
    lines.extend(f"array       {name} {' x '.join(map(str, shape)) or 'scalar'}" for name, shape in shapes.items())
    return "\n".join(lines)
