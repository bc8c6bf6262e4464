"""Steps of training that all denoisers have in common: loss, optimiser, checkpoints.

The patches of a step are cut into as many shares on every machine, each with a gradient of its own, found by one
thread: what is learned does not depend on how many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from medinr.optimise import Optimiser
from medinr.prior.denoiser import LocalDenoiser
from medinr.prior.settings import PriorSettings
from medinr.tensors import resume_tensors, write_tensors
from medinr.workers import Workers

#: Shares of a step's patches, as even as they go.
SHARES = 4


@dataclass(frozen=True)
class Following:
    """How a training is kept and followed.

    Attributes
    ----------
    checkpoint : Path, optional
        Written every few steps; when it exists the training continues from it, to the same end.
    fingerprint : str
        Identifies settings and scans; a checkpoint with another one is refused.
    progress : callable, optional
        Called with the steps done and the gain in dB over doing nothing on the step's patches.
    """

    checkpoint: Path | None = None
    fingerprint: str = ""
    progress: Callable[[int, float], None] | None = None


@dataclass(frozen=True, eq=False)
class Patches:
    """What a step of training looks at.

    Attributes
    ----------
    clean, noisy : Tensor, shape (n, y, x)
    level : Tensor, shape (n,)
        Standard deviation of the noise.
    hints : Tensor, shape (n, hints, y, x), optional
    """

    clean: Tensor
    noisy: Tensor
    level: Tensor
    hints: Tensor | None = None

    def shares(self) -> list[Patches]:
        """Cut them into `SHARES`, fewer where there are fewer patches."""
        parts = (self.clean, self.noisy, self.level, self.hints)
        cut = [[None] * SHARES if part is None else part.tensor_split(SHARES) for part in parts]
        return [Patches(*share) for share in zip(*cut, strict=True) if len(share[0])]


def train(
    denoiser: LocalDenoiser,
    steps: int,
    draw: Callable[[torch.Generator], Patches],
    settings: PriorSettings,
    following: Following | None = None,
) -> LocalDenoiser:
    """Train a denoiser, in place, on what is drawn for every step from a generator of its own (see `train_prior`)."""
    following = following or Following()
    checkpoint, fingerprint = following.checkpoint, following.fingerprint
    denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    first_and_last, kernels = denoiser.outer_kernels(), denoiser.inner_kernels()
    # They share their memory with the kernels: what moves one moves the other.
    matrices = [nn.Parameter(_as_matrix(kernel.detach())) for kernel in kernels]
    optimiser = Optimiser(settings.optimiser, matrices, first_and_last)
    workers, done = Workers(), 0
    if checkpoint is not None and checkpoint.is_file():
        done = _resume(resume_tensors(checkpoint, fingerprint), denoiser, optimiser)
    for step in range(done, steps):
        # Seeded per step, so that a continued training draws what an uninterrupted one would.
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
        if following.progress is not None:
            following.progress(step + 1, float(10 * torch.log10(patches.level.square() / errors).mean()))
        if checkpoint is not None and ((step + 1) % settings.checkpoint_every == 0 or step + 1 == steps):
            write_tensors(checkpoint, _state(step + 1, denoiser, optimiser), {"fingerprint": fingerprint})
    return denoiser.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def _errors_and_gradients(denoiser: LocalDenoiser, patches: Patches) -> tuple[Tensor, Sequence[Tensor]]:
    """Mean squared error of each patch, and gradients of the sum of all these over their levels."""
    with torch.enable_grad():
        found = denoiser(patches.noisy, patches.level, patches.hints)
        errors = (found - patches.clean).square().mean(dim=(1, 2))
        gradients = torch.autograd.grad((errors / patches.level).sum(), list(denoiser.parameters()))
    return errors.detach(), gradients


def _as_matrix(kernel: Tensor) -> Tensor:
    """See a kernel ``(maps, maps before, 3, 3)`` as a matrix; a view where its layout is channels last."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


def _state(step: int, denoiser: LocalDenoiser, optimiser: Optimiser) -> dict[str, Tensor]:
    tensors = {f"prior.{name}": value for name, value in denoiser.state_dict().items()}
    return tensors | optimiser.state_tensors() | {"step": torch.tensor(step)}


def _resume(tensors: dict[str, Tensor], denoiser: LocalDenoiser, optimiser: Optimiser) -> int:
    denoiser.load_state_dict({k.removeprefix("prior."): v for k, v in tensors.items() if k.startswith("prior.")})
    optimiser.load_state_tensors(tensors)
    return int(tensors["step"])
