"""The training loop of all denoisers: loss, optimiser, checkpoints.

The patches of a step are split into the same number of shares on every machine. The gradient of each share is computed
by one thread, so the trained weights do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from medinr.optimise import Optimiser, OptimiserSettings
from medinr.priors.denoiser import LocalDenoiser
from medinr.tensors import resume_tensors, write_tensors
from medinr.workers import Workers

#: Shares of a step's patches, as equal in size as possible.
SHARES = 4

Denoiser = TypeVar("Denoiser", bound=nn.Module)


@dataclass(frozen=True)
class TrainingRun:
    """Checkpoint and progress of a training.

    Attributes
    ----------
    checkpoint : Path, optional
        Written every few steps; when it exists the training continues from it, to the same end as an uninterrupted
        one.
    fingerprint : str
        Identifies settings and scans; a checkpoint with another one is refused.
    progress : callable, optional
        Called with the steps done and the gain in dB over the noisy patches, on the patches of the step.
    """

    checkpoint: Path | None = None
    fingerprint: str = ""
    progress: Callable[[int, float], None] | None = None


class Batch(Protocol):
    """Data of a training step, whatever the denoiser."""

    @property
    def clean(self) -> Tensor:
        """Images that a denoiser should give, shape (n, y, x)."""

    @property
    def level(self) -> Tensor:
        """Level of the noise of each, shape (n,)."""

    def denoised(self, denoiser: Any) -> Tensor:
        """What a denoiser makes of them, shape (n, y, x)."""

    def shares(self) -> Sequence[Self]:
        """Split them into `SHARES`, fewer where there are fewer patches."""


class Settings(Protocol):
    """What the loop wants to know of a training."""

    @property
    def optimiser(self) -> OptimiserSettings:
        """Its optimiser."""

    @property
    def seed(self) -> int:
        """Of the patches."""

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints."""


@dataclass(frozen=True, eq=False)
class Patches:
    """Data of a training step.

    Attributes
    ----------
    clean, noisy : Tensor, shape (n, y, x)
    level : Tensor, shape (n,)
        Standard deviation of the noise.
    auxiliary_channels : Tensor, shape (n, auxiliary_channels, y, x), optional
    """

    clean: Tensor
    noisy: Tensor
    level: Tensor
    auxiliary_channels: Tensor | None = None

    def denoised(self, denoiser: LocalDenoiser) -> Tensor:
        """What a denoiser makes of them."""
        found: Tensor = denoiser(self.noisy, self.level, self.auxiliary_channels)
        return found

    def shares(self) -> list[Patches]:
        """Split them into `SHARES`, fewer where there are fewer patches."""
        parts = (self.clean, self.noisy, self.level, self.auxiliary_channels)
        split = [[None] * SHARES if part is None else part.tensor_split(SHARES) for part in parts]
        return [Patches(*share) for share in zip(*split, strict=True) if len(share[0])]


def train(
    denoiser: Denoiser,
    steps: int,
    draw: Callable[[torch.Generator], Batch],
    settings: Settings,
    run: TrainingRun | None = None,
) -> Denoiser:
    """Train a denoiser, in place.

    Parameters
    ----------
    denoiser : Module
        With inner and outer kernels, as `LocalDenoiser`.
    steps : int
    draw : callable
        Draws the patches of a step from a generator, which is seeded anew for every step.
    settings : Settings
    run : TrainingRun, optional

    Returns
    -------
    Module
        The same object.

    Raises
    ------
    CheckpointError
        When the checkpoint belongs to another training.
    """
    run = run or TrainingRun()
    checkpoint, fingerprint = run.checkpoint, run.fingerprint
    denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    first_and_last: list[nn.Parameter] = denoiser.outer_kernels()  # type: ignore[operator]  # of a Module
    kernels: list[nn.Parameter] = denoiser.inner_kernels()  # type: ignore[operator]
    # They share their memory with the kernels: a step on one changes the other.
    matrices = [nn.Parameter(_as_matrix(kernel.detach())) for kernel in kernels]
    optimiser = Optimiser(settings.optimiser, matrices, first_and_last)
    workers, done = Workers(), 0
    if checkpoint is not None and checkpoint.is_file():
        done = _resume(resume_tensors(checkpoint, fingerprint), denoiser, optimiser)
    for step in range(done, steps):
        # Seeded per step, so that a continued training draws the patches of an uninterrupted one.
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        patches = draw(generator)
        found = workers.map(partial(_errors_and_gradients, denoiser), patches.shares())
        errors = torch.cat([share for share, _ in found])
        for parameter, *shares in zip(denoiser.parameters(), *(gradients for _, gradients in found), strict=True):
            parameter.grad = torch.stack(shares).sum(0) / len(errors)
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 0.5)
        for matrix, kernel in zip(matrices, kernels, strict=True):
            assert kernel.grad is not None
            matrix.grad = _as_matrix(kernel.grad)
        optimiser.step(settings.optimiser.factor(step, steps))
        if run.progress is not None:
            run.progress(step + 1, float(10 * torch.log10(patches.level.square() / errors).mean()))
        if checkpoint is not None and ((step + 1) % settings.checkpoint_every == 0 or step + 1 == steps):
            write_tensors(checkpoint, _state(step + 1, denoiser, optimiser), {"fingerprint": fingerprint})
    return denoiser.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def _errors_and_gradients(denoiser: nn.Module, patches: Batch) -> tuple[Tensor, Sequence[Tensor]]:
    """Mean squared error of each patch, and gradients of the sum of these errors, each over its noise level."""
    with torch.enable_grad():
        errors = (patches.denoised(denoiser) - patches.clean).square().mean(dim=(1, 2))
        gradients = torch.autograd.grad((errors / patches.level).sum(), list(denoiser.parameters()))
    return errors.detach(), gradients


def _as_matrix(kernel: Tensor) -> Tensor:
    """Return a kernel ``(maps, maps before, 3, 3)`` as a matrix: a view where its layout is channels last."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


def _state(step: int, denoiser: nn.Module, optimiser: Optimiser) -> dict[str, Tensor]:
    tensors = {f"prior.{name}": value for name, value in denoiser.state_dict().items()}
    return tensors | optimiser.state_tensors() | {"step": torch.tensor(step)}


def _resume(tensors: dict[str, Tensor], denoiser: nn.Module, optimiser: Optimiser) -> int:
    denoiser.load_state_dict({k.removeprefix("prior."): v for k, v in tensors.items() if k.startswith("prior.")})
    optimiser.load_state_tensors(tensors)
    return int(tensors["step"])
