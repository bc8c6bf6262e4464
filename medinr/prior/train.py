"""Training the local prior on the scans a trunk is pretrained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from medinr.errors import ConfigError, ShapeError
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
    rate : float
        Peak step size of Adam; it decays along a cosine.
    lowest, highest : float
        Noise levels, drawn log-uniformly between them, for images scaled to about 0 to 1.
    coarser : float
        Half of the patches come from the scans shrunk by this factor, so that finer and coarser grids are known.
    seed : int
    checkpoint_every : int
        Steps between checkpoints.
    architecture : DenoiserSettings
    """

    steps: int = 4000
    magnitude_steps: int = 0
    batch: int = 16
    patch: int = 48
    rate: float = 1e-3
    lowest: float = 0.003
    highest: float = 0.3
    coarser: float = 0.65
    seed: int = 0
    checkpoint_every: int = 200
    architecture: DenoiserSettings = field(default_factory=DenoiserSettings)

    def __post_init__(self) -> None:
        if min(self.steps, self.magnitude_steps) < 0 or min(self.batch, self.patch, self.checkpoint_every) < 1:
            raise ConfigError("The prior's steps cannot be negative; batch, patch and checkpoint_every are 1 or more.")
        if not 0 < self.lowest < self.highest or not 0 < self.coarser <= 1:
            raise ConfigError("The prior wants 0 < lowest < highest and coarser from above 0 to 1.")

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
    adam = torch.optim.Adam(denoiser.parameters(), lr=settings.rate)
    first = 0
    if checkpoint is not None and checkpoint.is_file():
        first = _resume(resume_tensors(checkpoint, fingerprint), denoiser, adam)
    spread = math.log(settings.highest / settings.lowest)
    for step in range(first, steps):
        # Seeded per step, so that a continued training draws what an uninterrupted one would.
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        clean = _patches(pools, settings, generator)
        level = settings.lowest * torch.exp(spread * torch.rand(len(clean), generator=generator))
        noisy = spoil(clean, level.reshape(-1, 1, 1), generator)
        errors = (denoiser(noisy, level) - clean).square().mean(dim=(1, 2))
        loss = (errors / level).mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 0.5)
        adam.param_groups[0]["lr"] = settings.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        adam.step()
        if following.progress is not None:
            following.progress(step + 1, float(10 * torch.log10(level.square() / errors.detach()).mean()))
        if checkpoint is not None and ((step + 1) % settings.checkpoint_every == 0 or step + 1 == steps):
            write_tensors(checkpoint, _state(step + 1, denoiser, adam), {"fingerprint": fingerprint})
    return denoiser.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload, no-any-return]


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


def _state(step: int, denoiser: LocalDenoiser, adam: torch.optim.Adam) -> dict[str, Tensor]:
    tensors = {f"prior.{name}": value for name, value in denoiser.state_dict().items()}
    for index, state in adam.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return tensors | {"step": torch.tensor(step)}


def _resume(tensors: dict[str, Tensor], denoiser: LocalDenoiser, adam: torch.optim.Adam) -> int:
    denoiser.load_state_dict({k.removeprefix("prior."): v for k, v in tensors.items() if k.startswith("prior.")})
    full = adam.state_dict()
    full["state"] = {}
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, index, key = name.split(".")
            full["state"].setdefault(int(index), {})[key] = value
    adam.load_state_dict(full)
    return int(tensors["step"])
