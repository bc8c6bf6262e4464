"""Trunks and priors on disk: weights as safetensors, beside them a JSON card that says what they are.

Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from torch import Tensor

from medinr.errors import CheckpointError
from medinr.inr.network import Trunk, TrunkSettings
from medinr.prior.denoiser import DenoiserSettings, LocalDenoiser
from medinr.prior.local import LocalPrior
from medinr.prior.straight_lines import HINTS
from medinr.tensors import read_tensors, write_tensors

FORMAT = "medinr-trunk-2"


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
    prior : DenoiserSettings or None
        Architecture of the local prior trained on the same scans, if there is one; a copy for magnitudes has the
        same, one that listens has hints beside.
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
    prior: DenoiserSettings | None
    subjects: tuple[str, ...]
    scan_hashes: tuple[str, ...]
    scans: tuple[str, ...]
    licences: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    medinr_version: str = ""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What one pretraining learned: where to start (trunk), what to believe (local prior), and their card."""

    trunk: Trunk
    prior: LocalPrior | None
    card: TrunkCard


def _card_path(path: Path) -> Path:
    return path.with_suffix(".json")


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``path`` (.safetensors) and its card (.json), each atomically; the weights' hash goes into the card."""
    tensors = {f"trunk.{name}": value for name, value in checkpoint.trunk.state_dict().items()}
    if checkpoint.prior is not None:
        prior = checkpoint.prior
        parts = {"prior": prior.denoiser, "magnitudes": prior.on_magnitudes, "listener": prior.listener}
        for part, denoiser in parts.items():
            if denoiser is not None:
                tensors |= {f"{part}.{name}": value for name, value in denoiser.state_dict().items()}
    write_tensors(path, tensors, {"format": FORMAT})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    partial = _card_path(path).with_suffix(".partial")
    card = {"format": FORMAT, "weights_sha256": digest, **asdict(checkpoint.card)}
    partial.write_text(json.dumps(card, indent=2) + "\n")
    partial.replace(_card_path(path))


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
        values["prior"] = None if values["prior"] is None else DenoiserSettings(**values["prior"])
        for key, value in values.items():
            values[key] = tuple(value) if isinstance(value, list) else value
        return TrunkCard(**values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{card_path.name} is not a trunk card ({error}). Train the trunk again.") from error


def load_checkpoint(name: str | Path) -> Checkpoint:
    """Load a trunk, its local prior and its card.

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
    tensors, _ = read_tensors(path)
    trunk = Trunk(card.architecture)
    prior = None
    try:
        trunk.load_state_dict(_part(tensors, "trunk."))
        if card.prior is not None:
            # Trunks of CT, and older ones, hold no denoiser for magnitudes and none that listens.
            magnitudes, listener = (_part(tensors, part) for part in ("magnitudes.", "listener."))
            prior = LocalPrior(
                _denoiser(card.prior, _part(tensors, "prior.")),
                on_magnitudes=_denoiser(card.prior, magnitudes) if magnitudes else None,
                listener=_denoiser(replace(card.prior, hints=HINTS), listener) if listener else None,
            )
    except RuntimeError as error:
        raise CheckpointError(f"{path.name} does not fit the architecture on its card. Copy both again.") from error
    return Checkpoint(trunk, prior, card)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _denoiser(settings: DenoiserSettings, weights: dict[str, Tensor]) -> LocalDenoiser:
    denoiser = LocalDenoiser(settings)
    denoiser.load_state_dict(weights)
    return denoiser
