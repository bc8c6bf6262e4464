"""What an interrupted build goes on from: a line for every scan that was read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType

from medinr.errors import FileError


@dataclass(frozen=True)
class Reading:
    """What the voxels of a scan give to a manifest; nothing identifies the patient.

    Attributes
    ----------
    reason : str
        Why it cannot be used; empty when it can.
    sha256, modality, contrast : str
        As in a manifest's row.
    fingerprint : dict of str to str
        `Fingerprint.to_json`.
    """

    reason: str = ""
    sha256: str = ""
    modality: str = ""
    contrast: str = ""
    fingerprint: dict[str, str] | None = None


class Journal:
    """A file beside the manifest, which is removed when the manifest is finished.

    Parameters
    ----------
    path : Path

    Raises
    ------
    FileError
        When it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise FileError(f"{path}: cannot be written ({error.strerror}). Choose another --out.") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def get(self, key: str) -> Reading | None:
        """Return what was read of a scan before; None when it was not, or has changed since."""
        return self._known.get(key)

    def add(self, key: str, reading: Reading) -> None:
        """Remember a scan, also when the process is killed afterwards."""
        self._known[key] = reading
        self._file.write(json.dumps({"key": key, **asdict(reading)}) + "\n")
        self._file.flush()

    def remove(self) -> None:
        """Remove the file: the work is done."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def journal_path(manifest: Path) -> Path:
    """Return where the readings of an unfinished manifest are kept."""
    return manifest.with_name(f".{manifest.stem}.unfinished.jsonl")


def state_of(files: Sequence[Path]) -> str:
    """Describe the present state of files by size and time, so that changed ones are read again."""
    return "\n".join(f"{file}|{status.st_size}|{status.st_mtime_ns}" for file in files if (status := file.stat()))


def _read(path: Path) -> dict[str, Reading]:
    known: dict[str, Reading] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return known
    names = {field.name for field in fields(Reading)}
    for line in lines:
        try:
            content = json.loads(line)
            key = content.pop("key")
        except (ValueError, KeyError, AttributeError):
            continue  # the last line of a killed process
        if content.keys() == names:
            known[key] = Reading(**content)
    return known
