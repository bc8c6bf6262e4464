"""Training the local prior on the scans a trunk is pretrained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from medinr.errors import ConfigError, ShapeError
from medinr.optimise import Optimiser, OptimiserSettings
from medinr.prior.denoiser import DenoiserSettings, LocalDenoiser
from medinr.tensors import resume_tensors, write_tensors

#: Patches darker than this on average are mostly air; four of five of them are drawn again.
AIR, AIR_KEPT = 0.05, 0.2


@dataclass(frozen=True)
class PriorSettings:
    """How a local prior is trained.

    Attributes
    ----------
    steps : int
        0 trains none.
    magnitude_steps : int
        Further ones of a copy, on magnitudes of complex noise (Rician); 0 trains no copy.
    batch, patch : int
        Patches per step and their pixels per side.
    optimiser : OptimiserSettings
        Muon moves the kernels between feature maps, each as a matrix of maps by neighbourhoods; Adam the outer two.
    lowest, highest : float
        Noise levels, drawn log-uniformly between them, for images scaled to about 0 to 1.
    coarser : float
        Half of the patches come from the scans shrunk by this factor, so that finer and coarser grids are known.
    contrast : float
        Half of the patches are raised to a power between ``exp(-contrast)`` and ``exp(contrast)``, so that other
        contrasts than those of the scans are known; 0 leaves them as they are.
    seed : int
    checkpoint_every : int
        Steps between checkpoints.
    architecture : DenoiserSettings
    """

    steps: int = 4000
    magnitude_steps: int = 0
    batch: int = 16
    patch: int = 48
    optimiser: OptimiserSettings = field(default_factory=lambda: OptimiserSettings(muon_rate=0.01))
    lowest: float = 0.003
    highest: float = 0.3
    coarser: float = 0.65
    contrast: float = 0.0
    seed: int = 0
    checkpoint_every: int = 200
    architecture: DenoiserSettings = field(default_factory=DenoiserSettings)

    def __post_init__(self) -> None:
        if min(self.steps, self.magnitude_steps) < 0 or min(self.batch, self.patch, self.checkpoint_every) < 1:
            raise ConfigError("The prior's steps cannot be negative; batch, patch and checkpoint_every are 1 or more.")
        if not 0 < self.lowest < self.highest or not 0 < self.coarser <= 1 or self.contrast < 0:
            raise ConfigError(
                "The prior wants 0 < lowest < highest, coarser from above 0 to 1 and contrast of 0 or more."
            )

    @property
    def all_steps(self) -> int:
        """Steps of all that is trained."""
        return self.steps + self.magnitude_steps if self.steps else 0


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


def _patches(pools: Sequence[Sequence[Tensor]], settings: PriorSettings, generator: torch.Generator) -> Tensor:
    """Draw patches ``(batch, patch, patch)``, turned and flipped at random."""

    def draw(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator))

    size = settings.patch
    chosen: list[Tensor] = []
    while len(chosen) < settings.batch:
        pool = pools[draw(len(pools))]
        image = pool[draw(len(pool))]
        y, x = (draw(max(1, length - size + 1)) for length in image.shape)
        patch = image[y : y + size, x : x + size]
        if float(patch.mean()) < AIR and float(torch.rand(1, generator=generator)) > AIR_KEPT:
            continue
        turned = torch.rot90(patch, draw(4))
        chosen.append(turned.flip(0) if draw(2) else turned)
    return torch.stack(chosen)


def train_prior(images: Sequence[Tensor], settings: PriorSettings, following: Following | None = None) -> LocalDenoiser:
    """Train a denoiser on patches of slices in their own grids.

    Minimises ``mean |D(x + s n, s) - x|^2 / s`` over patches ``x``, noise ``n`` and levels ``s``: between the
    plain squared error, which only hears strong noise, and the relative one, which only hears weak noise.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (y, x)
        Scaled intensities, about 0 to 1.
    settings : PriorSettings
    following : Following, optional

    Returns
    -------
    LocalDenoiser

    Raises
    ------
    ShapeError
        When no slice is as large as a patch.
    """
    denoiser = LocalDenoiser(settings.architecture, torch.Generator().manual_seed(settings.seed))
    return _train(denoiser, settings.steps, _gaussian, images, settings, following or Following())


def train_on_magnitudes(
    denoiser: LocalDenoiser, images: Sequence[Tensor], settings: PriorSettings, following: Following | None = None
) -> LocalDenoiser:
    """Train a copy of a denoiser on Rician noise, ``D(|x + s n|, s) ~ x`` with complex ``n``.

    It learns where the noise lifts a magnitude: in air by 1.25 ``s``, next to nothing in the body. Parameters other
    than the denoiser, which stays as it is, and errors as of `train_prior`.
    """
    return _train(deepcopy(denoiser), settings.magnitude_steps, _rician, images, settings, following or Following())


def recontrasted(patches: Tensor, contrast: float, generator: torch.Generator) -> Tensor:
    """Raise half of the patches ``(n, y, x)`` to a power, each to its own."""
    if contrast == 0:
        return patches
    logarithm = contrast * (2 * torch.rand(len(patches), 1, 1, generator=generator) - 1)
    chosen = torch.rand(len(patches), 1, 1, generator=generator) < 0.5
    return torch.where(chosen, patches.clamp_min(0.0) ** logarithm.exp(), patches)


def _gaussian(clean: Tensor, level: Tensor, generator: torch.Generator) -> Tensor:
    return clean + level * torch.randn(clean.shape, generator=generator)


def _rician(clean: Tensor, level: Tensor, generator: torch.Generator) -> Tensor:
    return torch.hypot(_gaussian(clean, level, generator), level * torch.randn(clean.shape, generator=generator))


def _train(
    denoiser: LocalDenoiser,
    steps: int,
    spoil: Callable[[Tensor, Tensor, torch.Generator], Tensor],
    images: Sequence[Tensor],
    settings: PriorSettings,
    following: Following,
) -> LocalDenoiser:
    checkpoint, fingerprint = following.checkpoint, following.fingerprint
    pools = _pools(images, settings)
    denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    first_and_last, kernels = denoiser.outer_kernels(), denoiser.inner_kernels()
    # They share their memory with the kernels: what moves one moves the other.
    matrices = [nn.Parameter(_as_matrix(kernel.detach())) for kernel in kernels]
    optimiser = Optimiser(settings.optimiser, matrices, first_and_last)
    done = 0
    if checkpoint is not None and checkpoint.is_file():
        done = _resume(resume_tensors(checkpoint, fingerprint), denoiser, optimiser)
    spread = math.log(settings.highest / settings.lowest)
    for step in range(done, steps):
        # Seeded per step, so that a continued training draws what an uninterrupted one would.
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        clean = recontrasted(_patches(pools, settings, generator), settings.contrast, generator)
        level = settings.lowest * torch.exp(spread * torch.rand(len(clean), generator=generator))
        noisy = spoil(clean, level.reshape(-1, 1, 1), generator)
        errors = (denoiser(noisy, level) - clean).square().mean(dim=(1, 2))
        loss = (errors / level).mean()
        denoiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 0.5)
        for matrix, kernel in zip(matrices, kernels, strict=True):
            assert kernel.grad is not None
            matrix.grad = _as_matrix(kernel.grad)
        optimiser.step(settings.optimiser.factor(step, steps))
        if following.progress is not None:
            following.progress(step + 1, float(10 * torch.log10(level.square() / errors.detach()).mean()))
        if checkpoint is not None and ((step + 1) % settings.checkpoint_every == 0 or step + 1 == steps):
            write_tensors(checkpoint, _state(step + 1, denoiser, optimiser), {"fingerprint": fingerprint})
    return denoiser.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


def _as_matrix(kernel: Tensor) -> Tensor:
    """See a kernel ``(maps, maps before, 3, 3)`` as a matrix; a view where its layout is channels last."""
    return kernel.permute(0, 2, 3, 1).flatten(1)


def _pools(images: Sequence[Tensor], settings: PriorSettings) -> list[list[Tensor]]:
    """The slices, and the same shrunk; those that hold a patch."""
    small = [
        functional.interpolate(image[None, None], scale_factor=settings.coarser, mode="bilinear", antialias=True)[0, 0]
        for image in images
    ]
    pools = [[i for i in pool if min(i.shape) >= settings.patch] for pool in (images, small)]
    pools = [pool for pool in pools if pool]
    if not pools:
        raise ShapeError(
            f"No training slice is as large as a patch of {settings.patch} pixels; choose a smaller patch."
        )
    return pools


def _state(step: int, denoiser: LocalDenoiser, optimiser: Optimiser) -> dict[str, Tensor]:
    tensors = {f"prior.{name}": value for name, value in denoiser.state_dict().items()}
    return tensors | optimiser.state_tensors() | {"step": torch.tensor(step)}


def _resume(tensors: dict[str, Tensor], denoiser: LocalDenoiser, optimiser: Optimiser) -> int:
    denoiser.load_state_dict({k.removeprefix("prior."): v for k, v in tensors.items() if k.startswith("prior.")})
    optimiser.load_state_tensors(tensors)
    return int(tensors["step"])
