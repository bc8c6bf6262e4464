"""Whether a path is a raw file, by its ending and its first bytes; no reader is loaded for that."""

from __future__ import annotations

from pathlib import Path

_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_raw(path: Path | str) -> bool:
    """Whether a path may be a raw file, by its ending and its first bytes. Never raises."""
    path = Path(path)
    if not path.is_file():
        return path.with_name(path.name + ".cfl").is_file() and path.with_name(path.name + ".hdr").is_file()
    suffix = path.suffix.lower()
    if suffix == ".hdr":
        return is_bart_header(path)
    return suffix in (".cfl", ".npy", ".mat") or is_hdf5(path)


def is_bart_header(path: Path) -> bool:
    """Whether a file is a BART header; an Analyze header has the same name and other bytes."""
    try:
        with path.open("rb") as file:
            return file.read(12) == b"# Dimensions"
    except OSError:
        return False


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5, by its signature (truncated files included)."""
    try:
        with path.open("rb") as file:
            # The signature is at 0 or behind a user block of 512 bytes or a power of two more.
            for offset in (0, 512, 1024, 2048):
                file.seek(offset)
                if file.read(8) == _HDF5:
                    return True
    except OSError:
        pass
    return False
