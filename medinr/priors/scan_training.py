"""Training of the denoiser for scans as they were acquired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from medinr.errors import ConfigError, ShapeError
from medinr.optimise import OptimiserSettings
from medinr.priors.dead_leaves import dead_leaves
from medinr.priors.denoiser import LocalDenoiser
from medinr.priors.drawing import draw_number, with_random_orientation
from medinr.priors.general_patches import NO_IMAGES, GeneralImages
from medinr.priors.scan_denoiser import SLICES, ScanDenoiser, ScanDenoiserSettings
from medinr.priors.scan_noise_family import draw_noise
from medinr.priors.training import AIR, AIR_KEPT, with_random_contrast
from medinr.priors.training_loop import SHARES, TrainingRun, train

#: Patches whose neighbouring slices are the slice itself: single images.
ALONE = 0.17

#: Brightness of a patch, relative to that of its scan: between the inverse of this and this.
BRIGHTNESS = 1.35


@dataclass(frozen=True)
class ScanDenoiserTraining:
    """How the denoiser for scans as they were acquired is trained.

    Attributes
    ----------
    steps : int
        0 trains none.
    batch, patch : int
        Patches per step and their pixels per side.
    optimiser : OptimiserSettings
        Muon for the kernels between feature maps, Adam for the outer two.
    lowest, highest : float
        Noise levels, drawn log-uniformly between them, for images scaled to about 0 to 1.
    coarser : float
        Half of the patches come from the scans shrunk by this factor in plane.
    contrast : float
        MR: half of the patches are raised to a power between ``exp(-contrast)`` and ``exp(contrast)``.
    synthetic : float
        Share of patches that are synthetic (`medinr.priors.dead_leaves`).
    seed : int
    checkpoint_every : int
        Steps between checkpoints.
    architecture : ScanDenoiserSettings
    """

    steps: int = 0
    batch: int = 16
    patch: int = 48
    optimiser: OptimiserSettings = field(default_factory=lambda: OptimiserSettings(muon_rate=0.006))
    lowest: float = 0.004
    highest: float = 0.3
    coarser: float = 0.65
    contrast: float = 0.5
    synthetic: float = 0.12
    seed: int = 0
    checkpoint_every: int = 100
    architecture: ScanDenoiserSettings = field(default_factory=ScanDenoiserSettings)

    def __post_init__(self) -> None:
        if self.steps < 0 or min(self.batch, self.patch, self.checkpoint_every) < 1:
            raise ConfigError("A scan denoiser wants steps of 0 or more; batch, patch, checkpoint_every of 1 or more.")
        if not 0 < self.lowest < self.highest or not 0 < self.coarser <= 1 or not 0 <= self.synthetic <= 1:
            raise ConfigError(
                "A scan denoiser wants 0 < lowest < highest, coarser from above 0 to 1 and synthetic from 0 to 1."
            )


@dataclass(frozen=True, eq=False)
class ScanPatches:
    """Data of a training step.

    Attributes
    ----------
    clean : Tensor, shape (n, y, x)
    slices : Tensor, shape (n, SLICES, y, x)
    maps : Tensor, shape (n, NOISE_MAPS, y, x)
    """

    clean: Tensor
    slices: Tensor
    maps: Tensor

    @property
    def level(self) -> Tensor:
        """Root mean square of the noise of each patch."""
        return self.maps[:, 0].square().mean(dim=(1, 2)).sqrt()

    def denoised(self, denoiser: ScanDenoiser) -> Tensor:
        """What a denoiser makes of them."""
        layout = torch.channels_last
        found: Tensor = denoiser(
            self.slices.contiguous(memory_format=layout), self.maps.contiguous(memory_format=layout)
        )
        return found

    def shares(self) -> list[ScanPatches]:
        """Split them into `SHARES`, fewer where there are fewer patches."""
        split = [part.tensor_split(SHARES) for part in (self.clean, self.slices, self.maps)]
        return [ScanPatches(*share) for share in zip(*split, strict=True) if len(share[0])]


def train_scan_denoiser(
    start: LocalDenoiser,
    volumes: Sequence[Tensor],
    modality: str,
    settings: ScanDenoiserTraining,
    run: TrainingRun | None = None,
    general: GeneralImages = NO_IMAGES,
) -> ScanDenoiser:
    """Train a denoiser on patches of three neighbouring slices with the noise of acquired scans.

    Minimises ``mean |D - x|^2 / s`` over patches ``x`` with noise of level ``s``, as
    `medinr.priors.training.train_prior` does.

    Parameters
    ----------
    start : LocalDenoiser
        Trained; it is not changed.
    volumes : sequence of Tensor, each of shape (z, y, x)
        About 0 to 1.
    modality : {"MR", "CT"}
        Whose noise is drawn (`medinr.priors.scan_noise_family`).
    settings : ScanDenoiserTraining
    run : TrainingRun, optional
    general : GeneralImages, optional
        What some of the patches are of instead, without neighbouring slices.

    Returns
    -------
    ScanDenoiser

    Raises
    ------
    ShapeError
        When no slice is as large as a patch.
    ConfigError
        When the denoiser to start from has another architecture.
    """
    pools = [volume for volume in (*volumes, *_smaller(volumes, settings.coarser)) if _fits(volume, settings.patch)]
    if not pools:
        raise ShapeError(
            f"No training slice is as large as a patch of {settings.patch} pixels; choose a smaller patch."
        )
    generator = torch.Generator().manual_seed(settings.seed)
    denoiser = ScanDenoiser.starting_from(start, settings.architecture, generator)

    def draw(generator: torch.Generator) -> ScanPatches:
        drawn = [_draw_clean(pools, general, modality, settings, generator) for _ in range(settings.batch)]
        clean = torch.stack(drawn)
        if modality == "MR":
            flat = with_random_contrast(clean.flatten(1, 2), settings.contrast, generator)
            clean = flat.unflatten(1, (SLICES, settings.patch))
        factors = BRIGHTNESS ** (2 * torch.rand(len(clean), 1, 1, 1, generator=generator) - 1)
        # Images without neighbours are given as their own neighbours, with one and the same noise.
        single = (clean == clean[:, :1]).flatten(1).all(dim=1)
        alone = single | (torch.rand(len(clean), generator=generator) < ALONE)
        middle = clean[:, SLICES // 2, None]
        clean = factors * torch.where(alone[:, None, None, None], middle, clean)
        noisy = draw_noise(clean, alone, modality, settings.lowest, settings.highest, generator)
        return ScanPatches(clean[:, SLICES // 2], noisy.slices, noisy.maps)

    return train(denoiser, settings.steps, draw, settings, run)


def _draw_clean(
    pools: Sequence[Tensor],
    general: GeneralImages,
    modality: str,
    settings: ScanDenoiserTraining,
    generator: torch.Generator,
) -> Tensor:
    """Draw neighbouring slices, shape (SLICES, patch, patch)."""
    size = settings.patch
    if general.chosen(generator):
        return general.draw(size, generator).expand(SLICES, size, size)
    if float(torch.rand(1, generator=generator)) < settings.synthetic:
        return dead_leaves(size, SLICES, generator)
    while True:
        volume = pools[draw_number(len(pools), generator)]
        z, y, x = (
            draw_number(length, generator) for length in (len(volume), *(n - size + 1 for n in volume.shape[1:]))
        )
        near = [min(max(z + step, 0), len(volume) - 1) for step in (-1, 0, 1)]
        near = near if draw_number(2, generator) else near[::-1]
        patch = volume[near, y : y + size, x : x + size].float()
        dark = modality == "MR" and float(patch[SLICES // 2].mean()) < AIR
        if not dark or float(torch.rand(1, generator=generator)) < AIR_KEPT:
            return with_random_orientation(patch, generator)


def _fits(volume: Tensor, patch: int) -> bool:
    return min(volume.shape[1:]) >= patch


def _smaller(volumes: Sequence[Tensor], factor: float) -> list[Tensor]:
    return [
        functional.interpolate(volume[None].float(), scale_factor=factor, mode="bilinear", antialias=True)[0].half()
        for volume in volumes
    ]
