"""Pretraining: one trunk, one linear head per scan, all on the same grid (STRAINER; Vyas et al., NeurIPS 2024).

``min over theta, W of  sum_i mean_r |W_i phi_theta(r) + b_i - x_i(r)|^2``. The scans share their coordinates,
so the trunk runs once per step for all heads and N scans cost about as much as one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from medinr.errors import ConfigError, ShapeError
from medinr.inr.network import CHUNK, Trunk, TrunkSettings, random_head
from medinr.inr.optimise import Optimiser, OptimiserSettings
from medinr.tensors import resume_tensors, write_tensors


@dataclass(frozen=True)
class PretrainSettings:
    """How a trunk is trained.

    Attributes
    ----------
    steps : int
        Full-batch steps.
    seed : int
        For the initial weights; the only randomness there is.
    checkpoint_every : int
        Steps between checkpoints.
    architecture : TrunkSettings
    optimiser : OptimiserSettings
    """

    steps: int = 400
    seed: int = 0
    checkpoint_every: int = 20
    architecture: TrunkSettings = field(default_factory=TrunkSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.checkpoint_every < 1:
            raise ConfigError(
                f"steps and checkpoint_every must be 1 or more; got {self.steps}, {self.checkpoint_every}."
            )


@dataclass(frozen=True)
class Pretrained:
    """A trained trunk and how well each training slice is fitted.

    Attributes
    ----------
    trunk : Trunk
    psnr : tuple of float
        Per training slice, in dB, peak = the slice's own maximum.
    """

    trunk: Trunk
    psnr: tuple[float, ...]


def _psnr(squared_error: Tensor, peak: Tensor) -> tuple[float, ...]:
    return tuple((10 * torch.log10(peak**2 / squared_error.clamp_min(1e-20))).tolist())


def _state(step: int, trunk: Trunk, head: Tensor, optimiser: Optimiser) -> dict[str, Tensor]:
    tensors = {f"trunk.{name}": value for name, value in trunk.state_dict().items()}
    return tensors | {"head": head, "step": torch.tensor(step)} | optimiser.state_tensors()


def _resume(tensors: dict[str, Tensor], trunk: Trunk, head: nn.Parameter, optimiser: Optimiser) -> int:
    trunk.load_state_dict({k.removeprefix("trunk."): v for k, v in tensors.items() if k.startswith("trunk.")})
    with torch.no_grad():
        head.copy_(tensors["head"])
    optimiser.load_state_tensors(tensors)
    return int(tensors["step"])


def pretrain(
    images: Tensor,
    points: Tensor,
    settings: PretrainSettings,
    *,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    progress: Callable[[int, tuple[float, ...]], None] | None = None,
) -> Pretrained:
    """Train a trunk on slices that share a grid.

    Parameters
    ----------
    images : Tensor, shape (n, y, x)
        Scaled intensities, about 0 to 1.
    points : Tensor, shape (y * x, 2)
        Network coordinates of the grid.
    settings : PretrainSettings
    checkpoint : Path, optional
        Written every few steps; when it exists the training continues from it, to the same end as an
        uninterrupted one.
    fingerprint : str
        Identifies settings and scans; a checkpoint with another one is refused.
    progress : callable, optional
        Called after every step with the number of steps done and the PSNR per slice.

    Returns
    -------
    Pretrained

    Raises
    ------
    ShapeError
        When images and points do not fit.
    CheckpointError
        When the checkpoint belongs to another training.
    """
    if images.ndim != 3 or images[0].numel() != len(points):
        raise ShapeError(f"{len(points)} points were given for images of shape {tuple(images.shape)} (n, y, x).")
    generator = torch.Generator().manual_seed(settings.seed)
    trunk = Trunk(settings.architecture, generator)
    targets = images.reshape(len(images), -1).T.contiguous()
    peak = targets.amax(dim=0)
    head = nn.Parameter(random_head(trunk.width, len(images), settings.architecture.omega, generator))
    others = [trunk.weights[0], *trunk.biases, head]
    optimiser = Optimiser(settings.optimiser, trunk.hidden_matrices(), others)
    first = 0
    if checkpoint is not None and checkpoint.is_file():
        first = _resume(resume_tensors(checkpoint, fingerprint), trunk, head, optimiser)

    squared_error = torch.zeros(len(images))
    for step in range(first, settings.steps):
        optimiser.zero_grad()
        squared_error = torch.zeros(len(images))
        for chunk, wanted in zip(points.split(CHUNK), targets.split(CHUNK), strict=True):
            # Backward per chunk: activations never leave the cache, and gradients add up.
            features = trunk(chunk)
            errors = (functional.linear(features, head[:-1].T, head[-1]) - wanted).square().sum(dim=0)
            (errors.sum() / targets.numel()).backward()
            squared_error += errors.detach()
        optimiser.step(settings.optimiser.factor(step, settings.steps))
        if progress is not None:
            progress(step + 1, _psnr(squared_error / len(points), peak))
        if checkpoint is not None and ((step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps):
            write_tensors(checkpoint, _state(step + 1, trunk, head, optimiser), {"fingerprint": fingerprint})

    with torch.no_grad():
        squared_error = (trunk.render(points, head) - targets).square().mean(dim=0)
    return Pretrained(trunk, _psnr(squared_error, peak))
