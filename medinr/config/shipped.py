"""Configurations and manifests by path, or by the name under which they ship."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from medinr.errors import ConfigError, ManifestError, MedinrError


def shipped(package: str, pattern: str) -> dict[str, Path]:
    """Names and paths of the files of one kind that come with medinr."""
    folder = Path(str(resources.files(package)))
    return {path.stem: path for path in sorted(folder.rglob(pattern))}


def find_config(name: str | Path, near: Path | None = None) -> Path:
    """Path of a configuration (raises `ConfigError` when there is none)."""
    return _find(name, near, shipped("medinr.configs", "*.yaml"), "configuration", ConfigError)


def find_manifest(name: str | Path, near: Path | None = None) -> Path:
    """Path of a manifest (raises `ManifestError` when there is none)."""
    return _find(name, near, shipped("medinr.data_manifests", "*.csv"), "manifest", ManifestError)


def excerpt(folder: str, name: str) -> Path:
    """Path of a scan that ships with medinr."""
    return Path(str(resources.files("medinr.data_manifests"))) / "excerpts" / folder / name


def _find(name: str | Path, near: Path | None, known: dict[str, Path], kind: str, error: type[MedinrError]) -> Path:
    for path in ([near / name] if near is not None else []) + [Path(name)]:
        if path.is_file():
            return path
    if str(name) in known:
        return known[str(name)]
    raise error(f"No {kind} {str(name)!r}: it is neither a file nor one of the shipped ones ({', '.join(known)}).")
