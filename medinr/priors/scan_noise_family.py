"""The noise of acquired scans, drawn for training: level, map, correlation, and what the magnitude makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medinr.priors.scan_denoiser import SLICES, WIDTHS
from medinr.units import SIGMA_PER_FWHM, noise_floor

#: Half the size of a kernel that noise is correlated by, in pixels.
REACH = 4

#: Largest ratio of the noise within a patch to its mean there, and its inverse.
STEEPEST = 3.0

#: Standard deviation of the logarithm of the noise at the nine points between which it varies smoothly.
UNEVENNESS = 0.35

#: Shares of patches: with noise that varies, with noise that is correlated.
VARYING = 0.4
CORRELATED = {"MR": 0.4, "CT": 0.7}

#: Widest Gaussian that noise is correlated by, full width at half maximum in pixels.
WIDEST = 2.2

#: Shares of MR patches that have Gaussian noise (of complex images), and Rician; the rest has that of several coils.
GAUSSIAN, RICIAN = 0.25, 0.5

#: Most coils, and the largest noise of one coil relative to the image where there are several.
COILS, LARGEST_OF_COILS = 24, 0.12

#: Normal numbers whose squares are summed for the coils without signal, at most; more are scaled from so many.
SQUARES = 14

#: Share of magnitudes whose background was set to zero, and the mean of 9 x 9 pixels below which that is done.
BLANKED, BACKGROUND = 0.2, 0.05


@dataclass(frozen=True, eq=False)
class NoisySlices:
    """Slices with noise, and what a denoiser is told of it.

    Attributes
    ----------
    slices : Tensor, shape (n, SLICES, y, x)
    maps : Tensor, shape (n, NOISE_MAPS, y, x)
        See `medinr.priors.scan_denoiser.NOISE_MAPS`.
    """

    slices: Tensor
    maps: Tensor


def draw_noise(
    clean: Tensor, alike: Tensor, modality: str, lowest: float, highest: float, generator: torch.Generator
) -> NoisySlices:
    """Add noise to slices, drawn for each patch.

    Parameters
    ----------
    clean : Tensor, shape (n, SLICES, y, x)
        Of order one.
    alike : Tensor of bool, shape (n,)
        Patches whose slices are one and the same, and so is their noise.
    modality : {"MR", "CT"}
        CT has Gaussian noise, more often correlated, as filtered back-projection makes it.
    lowest, highest : float
        Noise levels, drawn log-uniformly between them.
    generator : torch.Generator

    Returns
    -------
    NoisySlices
    """
    count, _, y, x = clean.shape

    def chosen(share: float) -> Tensor:
        return torch.rand(count, generator=generator) < share

    coils = _draw_coils(count, modality, generator)
    level = lowest * torch.exp(math.log(highest / lowest) * torch.rand(count, generator=generator))
    level = torch.where(coils > 1, level.clamp_max(LARGEST_OF_COILS), level)
    shape = torch.where(_views(chosen(VARYING)), _uneven(count, (y, x), generator), 1.0)
    sigma = _views(level) * shape
    kernels = _ct_kernels(count, generator) if modality == "CT" else _gaussian_kernels(count, generator)
    alone = torch.zeros_like(kernels)
    alone[:, REACH, REACH] = 1.0
    kernels = torch.where(chosen(CORRELATED[modality])[:, None, None], kernels, alone)

    def normal() -> Tensor:
        noise = _correlated((count, SLICES, y, x), kernels, generator)
        return torch.where(_views(alike), noise[:, :1], noise)

    noisy = clean + sigma * normal()
    if bool((coils > 0).any()):
        squares = noisy.square() + (sigma * normal()).square() + sigma.square() * _other_coils(coils, normal)
        blank = (functional.avg_pool2d(clean, 9, 1, 4) < BACKGROUND) & _views(chosen(BLANKED))
        noisy = torch.where(_views(coils > 0), torch.where(blank, 0.0, squares.sqrt()), noisy)
    floors = torch.tensor([noise_floor(int(number)) for number in coils])
    left = [width * _left_by_mean(kernels, width) for width in WIDTHS]
    maps = torch.cat([sigma * _views(factor) for factor in (torch.ones(count), floors, *left)], dim=1)
    return NoisySlices(noisy, maps)


def _views(values: Tensor) -> Tensor:
    """One value per patch, to go with images."""
    return values[:, None, None, None]


def _draw_coils(count: int, modality: str, generator: torch.Generator) -> Tensor:
    """Number of coils for each patch; 0 for Gaussian noise."""
    if modality != "MR":
        return torch.zeros(count)
    kind, many = torch.rand(count, generator=generator), torch.rand(count, generator=generator)
    several = (2.0 * (COILS / 2.0) ** many).round()
    return torch.where(kind < GAUSSIAN, 0.0, torch.where(kind < GAUSSIAN + RICIAN, 1.0, several))


def _uneven(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Smooth positive maps around 1, shape (count, 1, y, x)."""
    nodes = UNEVENNESS * torch.randn(count, 1, 3, 3, generator=generator)
    smooth = functional.interpolate(nodes, size=size, mode="bicubic", align_corners=True)
    return smooth.exp().clamp(1.0 / STEEPEST, STEEPEST)


def _gaussian_kernels(count: int, generator: torch.Generator) -> Tensor:
    """Point spread functions of other widths along y and x: interpolation, filters."""
    sigma = (WIDEST * SIGMA_PER_FWHM * torch.rand(count, 2, generator=generator)).clamp_min(1e-3)
    at = torch.arange(-REACH, REACH + 1.0)
    along_y, along_x = (torch.exp(-0.5 * (at / sigma[:, axis, None]).square()) for axis in (0, 1))
    return _unit_energy(along_y[:, :, None] * along_x[:, None, :])


def _ct_kernels(count: int, generator: torch.Generator) -> Tensor:
    """Kernels of filtered back-projection: power rises with frequency up to where the reconstruction kernel ends.

    Riederer, Pelc & Chesler, Phys Med Biol 1978: the noise power spectrum is ``|f|`` times the squared window.
    """
    size = 32
    frequency = torch.fft.fftfreq(size)
    radius = torch.hypot(frequency[:, None], frequency[None, :])
    cut = 0.18 + 0.5 * torch.rand(count, 1, 1, generator=generator)
    least = 0.02 + 0.05 * torch.rand(count, 1, 1, generator=generator)
    transfer = (radius + least).sqrt() * torch.exp(-(radius / cut).square())
    kernels = torch.fft.fftshift(torch.fft.ifft2(transfer).real, dim=(1, 2))
    middle = slice(size // 2 - REACH, size // 2 + REACH + 1)
    return _unit_energy(kernels[:, middle, middle])


def _unit_energy(kernels: Tensor) -> Tensor:
    energy: Tensor = torch.linalg.vector_norm(kernels, dim=(1, 2), keepdim=True)
    return kernels / energy


def _correlated(shape: tuple[int, int, int, int], kernels: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise of unit variance, correlated by each patch's kernel."""
    count, slices, y, x = shape
    white = torch.randn(slices, count, y + 2 * REACH, x + 2 * REACH, generator=generator)
    return functional.conv2d(white, kernels[:, None], groups=count).movedim(0, 1)


def _other_coils(coils: Tensor, normal: Callable[[], Tensor]) -> Tensor:
    """Sum of the squares, over sigma squared, of the coils beside the one that is taken to have all the signal."""
    wanted = 2.0 * (coils - 1.0).clamp_min(0.0)
    drawn = wanted.clamp_max(SQUARES)
    total = torch.zeros(())
    for number in range(int(drawn.max())):
        total = total + _views((number < drawn).float()) * normal().square()
    return total * _views(wanted / drawn.clamp_min(1.0))


def _left_by_mean(kernels: Tensor, width: int) -> Tensor:
    """Standard deviation that the mean over ``width`` x ``width`` pixels leaves of noise of unit variance."""
    window = torch.full((1, 1, width, width), 1.0 / width**2)
    padded = functional.pad(kernels[:, None], (width - 1,) * 4)
    found: Tensor = torch.linalg.vector_norm(functional.conv2d(padded, window), dim=(1, 2, 3))
    return found
