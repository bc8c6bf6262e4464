"""Pretraining: one trunk, one linear head per slice, all on the same grid (STRAINER; Vyas et al., NeurIPS 2024).

``min over theta, W of  sum_i mean_r |W_i phi_theta(r) + b_i - x_i(r)|^2``. The slices share their coordinates, so the
trunk is evaluated once per step for all heads, and N slices cost about as much as one. A step uses some of the points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from medinr.errors import ConfigError, ShapeError
from medinr.network.sweep import Layers, Sweep
from medinr.network.trunk import Trunk, TrunkSettings, random_head
from medinr.optimise import Optimiser, OptimiserSettings
from medinr.precision import PRECISIONS, Precision
from medinr.tensors import resume_tensors, write_tensors


@dataclass(frozen=True)
class PretrainSettings:
    """How a trunk is trained.

    Attributes
    ----------
    steps : int
    batch : int
        Points per step, drawn anew in every pass without replacement; the same ones for all heads.
    seed : int
        For the initial weights and the points of each step.
    checkpoint_every : int
        Steps between checkpoints.
    architecture : TrunkSettings
    optimiser : OptimiserSettings
    precision : {"auto", "float32"}
        ``"auto"``: bfloat16 products where the device is fast at them and the error still large.

    Raises
    ------
    ConfigError
        On a value outside its range.
    """

    steps: int = 500
    batch: int = 8192
    seed: int = 0
    checkpoint_every: int = 20
    architecture: TrunkSettings = field(default_factory=TrunkSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    precision: str = "auto"

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.checkpoint_every) < 1:
            raise ConfigError(
                "steps, batch and checkpoint_every must be 1 or more; "
                f"got {self.steps}, {self.batch}, {self.checkpoint_every}."
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(f"Precision {self.precision!r} is not one of {', '.join(PRECISIONS)}.")


@dataclass(frozen=True)
class Pretrained:
    """A trained trunk and how well it fits each training slice.

    Attributes
    ----------
    trunk : Trunk
    psnr : tuple of float
        Per training slice, in dB; the peak is the maximum of the slice.
    """

    trunk: Trunk
    psnr: tuple[float, ...]


def _psnr(squared_error: Tensor, peak: Tensor) -> tuple[float, ...]:
    return tuple((10 * torch.log10(peak**2 / squared_error.clamp_min(1e-20))).tolist())


class _Training:
    """State of a training: all parameters, and what a step needs."""

    def __init__(self, images: Tensor, points: Tensor, settings: PretrainSettings) -> None:
        generator = torch.Generator().manual_seed(settings.seed)
        self.settings, self.points = settings, points
        self.trunk = Trunk(settings.architecture, generator)
        self.targets = images.reshape(len(images), -1).T.contiguous()
        self.head = nn.Parameter(random_head(self.trunk.width, len(images), settings.architecture.omega, generator))
        others = [self.trunk.weights[0], *self.trunk.biases, *self.trunk.encoding_parameters(), self.head]
        self.optimiser = Optimiser(settings.optimiser, self.trunk.hidden_matrices(), others)
        self.layers = Layers.of(self.trunk, self.head)
        self.sweep = Sweep(self.layers)
        energy = float(self.targets.square().sum(dim=1).mean())
        self.precision = Precision(settings.precision, images.device, energy)
        self.running = energy

    def draw(self, step: int) -> Tensor:
        """Points of a step: shuffled anew in every pass, and determined by the number of the step alone."""
        batch = min(self.settings.batch, len(self.points))
        passes, position = divmod(step, len(self.points) // batch)
        generator = torch.Generator().manual_seed(self.settings.seed + 1_000_003 * (passes + 1))
        return torch.randperm(len(self.points), generator=generator)[position * batch : (position + 1) * batch]

    def step(self, step: int) -> Tensor:
        """Take a step; returns the mean squared error per head before it."""
        picked = self.draw(step).to(self.points.device)
        inputs = self.trunk.encode(self.points[picked])
        with self.precision.products(self.running):
            gradient = self.sweep.run(inputs.detach(), self.targets[picked], input_gradient=inputs.requires_grad)
        # From half the summed error to the mean over heads.
        scale = 2 / self.targets.shape[1]
        self.optimiser.zero_grad()
        self.layers.assign(gradient, self.head, scale)
        if gradient.inputs is not None:
            inputs.backward(gradient.inputs * scale)
        self.optimiser.step(self.settings.optimiser.factor(step, self.settings.steps))
        self.layers.read(self.head)
        self.running = 0.9 * self.running + 0.1 * float(gradient.squared_error.sum())
        return gradient.squared_error

    def state(self, step: int) -> dict[str, Tensor]:
        """Everything needed to continue after ``step`` steps."""
        tensors = {f"trunk.{name}": value for name, value in self.trunk.state_dict().items()}
        rest = {
            "head": self.head,
            "step": torch.tensor(step),
            "running": torch.tensor(self.running, dtype=torch.float64),
            "reduced": torch.tensor(self.precision.reduced),
        }
        return tensors | rest | self.optimiser.state_tensors()

    def resume(self, tensors: dict[str, Tensor]) -> int:
        """Continue from `state`; returns the number of steps done."""
        self.trunk.load_state_dict({k.removeprefix("trunk."): v for k, v in tensors.items() if k.startswith("trunk.")})
        with torch.no_grad():
            self.head.copy_(tensors["head"])
        self.layers.read(self.head)
        self.running, self.precision.reduced = float(tensors["running"]), bool(tensors["reduced"])
        self.optimiser.load_state_tensors(tensors)
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
        Called after every step with the number of steps done and the PSNR per slice over the step's points.

    Returns
    -------
    Pretrained

    Raises
    ------
    ShapeError
        When the numbers of pixels and points differ.
    CheckpointError
        When the checkpoint belongs to another training.
    """
    if images.ndim != 3 or images[0].numel() != len(points):
        raise ShapeError(f"{len(points)} points were given for images of shape {tuple(images.shape)} (n, y, x).")
    training = _Training(images, points, settings)
    peak = training.targets.amax(dim=0)
    first = 0
    if checkpoint is not None and checkpoint.is_file():
        first = training.resume(resume_tensors(checkpoint, fingerprint))

    for step in range(first, settings.steps):
        squared_error = training.step(step)
        if progress is not None:
            progress(step + 1, _psnr(squared_error, peak))
        if checkpoint is not None and ((step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps):
            write_tensors(checkpoint, training.state(step + 1), {"fingerprint": fingerprint})

    with torch.no_grad():
        squared_error = (training.trunk.render(points, training.head) - training.targets).square().mean(dim=0)
    return Pretrained(training.trunk, _psnr(squared_error, peak))
