"""Models on disk: weights as safetensors, beside them a JSON card that says what they are. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from medinr.errors import CheckpointError
from medinr.models.card import ModelCard
from medinr.models.model import RANDOM, Model
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.priors.guided_filter import AUXILIARY_CHANNELS
from medinr.priors.scan_denoiser import ScanDenoiser, ScanDenoiserSettings
from medinr.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from medinr.network.trunk import Trunk

FORMAT = "medinr-model-1"


def _card_path(path: Path) -> Path:
    return path.with_suffix(".json")


def save_model(path: Path, model: Model) -> None:
    """Write ``path`` (.safetensors) and its card (.json), each atomically; the weights' hash goes into the card.

    Raises
    ------
    CheckpointError
        When the model has no card.
    """
    if model.card is None:
        raise CheckpointError("A model of random weights has no card and is not written; its seed makes it again.")
    tensors = {f"trunk.{name}": value for name, value in model.trunk.state_dict().items()}
    if model.prior is not None:
        prior = model.prior
        parts = {
            "denoiser": prior.denoiser,
            "magnitude_denoiser": prior.magnitude_denoiser,
            "auxiliary_denoiser": prior.auxiliary_denoiser,
            "scan_denoiser": prior.scan_denoiser,
        }
        for part, denoiser in parts.items():
            if denoiser is not None:
                tensors |= {f"{part}.{name}": value for name, value in denoiser.state_dict().items()}
    write_tensors(path, tensors, {"format": FORMAT})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    partial = _card_path(path).with_suffix(".partial")
    card = {"format": FORMAT, "weights_sha256": digest, **asdict(model.card)}
    partial.write_text(card_text(card))
    partial.replace(_card_path(path))


def card_text(card: Mapping[str, Any]) -> str:
    """A card as JSON that can be read: rows of numbers stay on one line."""
    text = json.dumps(card, indent=2)
    return re.sub(r"\[\n[-+.,\de\s]*\]", lambda row: " ".join(row[0].split()), text) + "\n"


def shipped_models() -> dict[str, Path]:
    """Names and paths of the models that come with medinr."""
    folder = Path(str(resources.files("medinr.models")))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_model(name: str | Path) -> Path:
    """Turn the name of a shipped model, or a path, into a path (raises `CheckpointError` when there is none)."""
    shipped = shipped_models()
    if str(name) in shipped:
        return shipped[str(name)]
    path = Path(name)
    if not path.is_file():
        raise CheckpointError(
            f"No model {str(name)!r}: it is neither a .safetensors file nor one of the shipped models "
            f"({', '.join(shipped) or 'none'}). Make one with: medinr pretrain CONFIG"
        )
    return path


def read_card(path: Path) -> ModelCard:
    """Read the card beside a model.

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
            raise CheckpointError(f"{card_path.name} is not of format {FORMAT}. Train the model again.")
        values.pop("weights_sha256")
        values["prior"] = None if values["prior"] is None else DenoiserSettings(**values["prior"])
        if values.get("scan_denoiser") is not None:
            values["scan_denoiser"] = ScanDenoiserSettings(**values["scan_denoiser"])
        for key, value in values.items():
            values[key] = tuple(value) if isinstance(value, list) else value
        return ModelCard(**values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{card_path.name} is not a model's card ({error}). Train the model again.") from error


def load_model(name: str | Path) -> Model:
    """Load a model.

    Parameters
    ----------
    name : str or Path
        A shipped model's name, a .safetensors file, or ``"random"`` for a trunk of random weights.

    Returns
    -------
    Model

    Raises
    ------
    CheckpointError
        When a file is missing, damaged, or not the one its card describes.
    """
    if name == RANDOM:
        return Model.random()
    path = find_model(name)
    card = read_card(path)
    wanted = json.loads(_card_path(path).read_text())["weights_sha256"]
    if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
        raise CheckpointError(f"{path.name} is not the file its card describes (another SHA-256). Copy both again.")
    tensors, _ = read_tensors(path)
    prior = None
    if card.prior is not None:
        # Models of CT hold no denoiser for magnitudes and none with auxiliary input.
        magnitudes, auxiliary = (_part(tensors, part) for part in ("magnitude_denoiser.", "auxiliary_denoiser."))
        with_channels = replace(card.prior, auxiliary_channels=AUXILIARY_CHANNELS)
        prior = DenoiserPrior(
            _denoiser(path, card.prior, _part(tensors, "denoiser.")),
            magnitude_denoiser=_denoiser(path, card.prior, magnitudes) if magnitudes else None,
            auxiliary_denoiser=_denoiser(path, with_channels, auxiliary) if auxiliary else None,
            scan_denoiser=_scan_denoiser(path, card, _part(tensors, "scan_denoiser.")),
        )
    return Model(prior, card, card.length_scale, lambda: _trunk(path, card, _part(tensors, "trunk.")))


def load_model_for(name: str | Path, modality: str) -> Model:
    """Load a model to reconstruct scans of a modality.

    Raises
    ------
    CheckpointError
        When the model is missing, or was trained on another modality.
    """
    found = load_model(name)
    if found.card is not None and found.card.modality != modality:
        raise CheckpointError(
            f"Model {found.card.name!r} was trained on {found.card.modality} scans; this scan is {modality}. "
            "Choose another with --model (medinr models lists them)."
        )
    return found


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _trunk(path: Path, card: ModelCard, weights: dict[str, Tensor]) -> Trunk:
    from medinr.network.trunk import Trunk

    trunk = Trunk(card.trunk_settings)
    _fill(trunk, weights, path)
    return trunk


def _denoiser(path: Path, settings: DenoiserSettings, weights: dict[str, Tensor]) -> LocalDenoiser:
    denoiser = LocalDenoiser(settings)
    _fill(denoiser, weights, path)
    return denoiser


def _scan_denoiser(path: Path, card: ModelCard, weights: dict[str, Tensor]) -> ScanDenoiser | None:
    if card.scan_denoiser is None:
        return None
    denoiser = ScanDenoiser(card.scan_denoiser)
    _fill(denoiser, weights, path)
    return denoiser


def _fill(module: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise _misfit(path) from error


def _misfit(path: Path) -> CheckpointError:
    return CheckpointError(f"{path.name} does not fit the architecture on its card. Copy both again.")
