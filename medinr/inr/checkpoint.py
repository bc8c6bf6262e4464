"""Trunks on disk: weights as safetensors, beside them a JSON card that says what they are. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file

from medinr.errors import CheckpointError
from medinr.inr.network import Trunk, TrunkSettings

FORMAT = "medinr-trunk-1"


@dataclass(frozen=True)
class TrunkCard:
    """What a trunk is and what it has seen.

    Attributes
    ----------
    name : str
    modality : {"MR", "CT"}
    unit : str
        What the trunk's heads were trained to give, in words.
    length_scale : float
        Millimetres per unit of network coordinate.
    grid_shape, grid_spacing : tuple
        Training grid (y, x) in pixels and its spacing in mm.
    architecture : TrunkSettings
    subjects, scan_hashes, scans, licences : tuple of str
        Who and what it was trained on; an evaluation refuses them.
    settings : dict
        Training settings.
    results : dict
        Figures reached in training.
    medinr_version : str
    """

    name: str
    modality: str
    unit: str
    length_scale: float
    grid_shape: tuple[int, int]
    grid_spacing: tuple[float, float]
    architecture: TrunkSettings
    subjects: tuple[str, ...]
    scan_hashes: tuple[str, ...]
    scans: tuple[str, ...]
    licences: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    medinr_version: str = ""


def _card_path(path: Path) -> Path:
    return path.with_suffix(".json")


def save_trunk(path: Path, trunk: Trunk, card: TrunkCard) -> None:
    """Write ``path`` (.safetensors) and its card (.json), each atomically; the weights' hash goes into the card."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"trunk.{name}": value.detach().contiguous() for name, value in trunk.state_dict().items()}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"format": FORMAT})
    digest = hashlib.sha256(partial.read_bytes()).hexdigest()
    partial.replace(path)
    partial_card = _card_path(path).with_suffix(".partial")
    partial_card.write_text(json.dumps({"format": FORMAT, "weights_sha256": digest, **asdict(card)}, indent=2) + "\n")
    partial_card.replace(_card_path(path))


def shipped_trunks() -> dict[str, Path]:
    """Names and paths of the trunks that come with medinr."""
    folder = Path(str(resources.files("medinr.trunks")))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_trunk(name: str | Path) -> Path:
    """Turn the name of a shipped trunk, or a path, into a path (raises `CheckpointError` when there is none)."""
    shipped = shipped_trunks()
    if str(name) in shipped:
        return shipped[str(name)]
    path = Path(name)
    if not path.is_file():
        raise CheckpointError(
            f"No trunk {str(name)!r}: it is neither a .safetensors file nor one of the shipped trunks "
            f"({', '.join(shipped) or 'none'}). Make one with: medinr pretrain CONFIG"
        )
    return path


def read_card(path: Path) -> TrunkCard:
    """Read the card beside a trunk.

    Raises
    ------
    CheckpointError
        When the card is missing or malformed.
    """
    card_path = _card_path(path)
    if not card_path.is_file():
        raise CheckpointError(f"{path.name} has no card {card_path.name} beside it. Keep the two files together.")
    try:
        values = json.loads(card_path.read_text())
        if values.pop("format") != FORMAT:
            raise CheckpointError(f"{card_path.name} is not of format {FORMAT}. Train the trunk again.")
        values.pop("weights_sha256")
        values["architecture"] = TrunkSettings(**values["architecture"])
        for key, value in values.items():
            values[key] = tuple(value) if isinstance(value, list) else value
        return TrunkCard(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{card_path.name} is not a trunk card ({error}). Train the trunk again.") from error


def load_trunk(name: str | Path) -> tuple[Trunk, TrunkCard]:
    """Load a trunk and its card.

    Parameters
    ----------
    name : str or Path
        A shipped trunk's name, or a .safetensors file.

    Raises
    ------
    CheckpointError
        When a file is missing, damaged, or not the one its card describes.
    """
    path = find_trunk(name)
    card = read_card(path)
    wanted = json.loads(_card_path(path).read_text())["weights_sha256"]
    if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
        raise CheckpointError(f"{path.name} is not the file its card describes (another SHA-256). Copy both again.")
    trunk = Trunk(card.architecture)
    tensors = read_tensors(path)
    try:
        trunk.load_state_dict({name.removeprefix("trunk."): value for name, value in tensors.items()})
    except RuntimeError as error:
        raise CheckpointError(f"{path.name} does not fit the architecture on its card. Copy both again.") from error
    return trunk, card


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file (raises `CheckpointError` when it is damaged)."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path.name} cannot be read as safetensors ({error}). Copy it again.") from error
