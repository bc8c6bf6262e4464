"""Named tensors and a few facts in one safetensors file, written atomically and read without unpickling."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

import safetensors
from safetensors.torch import save_file
from torch import Tensor

from medinr.errors import CheckpointError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write tensors and text facts atomically, replacing what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch()
    mode = stat.S_IMODE(partial.stat().st_mode)  # of a new file here, as the umask has it
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, partial, metadata=dict(facts))
    partial.chmod(mode)  # the library writes files that only their owner may read
    partial.replace(path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and facts of a file.

    Raises
    ------
    CheckpointError
        When the file is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path.name} cannot be read as safetensors ({error}). Copy it again.") from error


def own_tensors(path: Path, fingerprint: str) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Read a file that was written with a fact ``fingerprint``; None when it is not there, damaged, or of another."""
    if not path.is_file():
        return None
    try:
        tensors, facts = read_tensors(path)
    except CheckpointError:
        return None
    return (tensors, facts) if facts.get("fingerprint") == fingerprint else None


def resume_tensors(path: Path, fingerprint: str) -> dict[str, Tensor]:
    """Read the state of an interrupted training.

    Raises
    ------
    CheckpointError
        When it is damaged or its fingerprint is another.
    """
    tensors, facts = read_tensors(path)
    if facts.get("fingerprint", "") != fingerprint:
        raise CheckpointError(
            f"{path} was written with other settings or other scans. "
            "Use the same ones to continue it, or start again with --overwrite."
        )
    return tensors
