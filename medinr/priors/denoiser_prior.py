"""A trained denoiser as a prior for images of any grid, real or complex."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol, Self

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.priors.denoiser import LocalDenoiser
from medinr.priors.scan_denoiser import ScanDenoiser
from medinr.priors.windows import averaging_matrix

#: Width in pixels of the window, applied twice, over which the phase of a complex image is taken as smooth.
PHASE_WINDOW = 9

#: Rotations by quarter turns and flips of the image grid.
ORIENTATIONS = 8


class ImagePrior(Protocol):
    """A prior that denoises images; plug-and-play evaluates it in every iteration."""

    def denoise(self, image: Tensor, level: float, orientation: int = 0) -> Tensor:
        """Denoise an image ``(y, x)``, see `DenoiserPrior.denoise`."""

    def in_precision(self, precision: torch.dtype) -> Self:
        """Return the same with its convolutions in another precision."""

    def for_magnitudes(self) -> Self | None:
        """Return the same for magnitudes with Rician noise, whose bias it removes; None where none was trained."""


@dataclass(frozen=True, eq=False)
class DenoiserPrior:
    """A prior of small neighbourhoods, as a denoiser trained on the training scans.

    Attributes
    ----------
    denoiser : LocalDenoiser
    precision : torch.dtype
        Of the convolutions. bfloat16 is faster where the processor multiplies matrices of it, at a few
        hundredths of a decibel in a reconstruction.
    magnitude_denoiser : LocalDenoiser, optional
        The same, trained on Rician noise.
    auxiliary_denoiser : LocalDenoiser, optional
        The auxiliary-input denoiser: the same, with fits of the noisy image by auxiliary scans as auxiliary channels
        (`medinr.priors.auxiliary_scan`).
    scan_denoiser : ScanDenoiser, optional
        For scans as they were acquired (`medinr.solve.denoise_scan`).
    """

    denoiser: LocalDenoiser
    precision: torch.dtype = torch.float32
    magnitude_denoiser: LocalDenoiser | None = None
    auxiliary_denoiser: LocalDenoiser | None = None
    scan_denoiser: ScanDenoiser | None = None

    def in_precision(self, precision: torch.dtype) -> DenoiserPrior:
        """Return the same with its convolutions in another precision."""
        return replace(self, precision=precision)

    def for_magnitudes(self) -> DenoiserPrior | None:
        """Return the same for magnitudes with Rician noise, see `ImagePrior`."""
        return None if self.magnitude_denoiser is None else DenoiserPrior(self.magnitude_denoiser, self.precision)

    @torch.no_grad()
    def denoise(self, image: Tensor, level: float, orientation: int = 0) -> Tensor:
        """Denoise an image as if it carried Gaussian noise of a given standard deviation.

        The smooth phase of a complex image is removed first. Anatomy then lies in the real part, as in the magnitude
        images that the denoiser was trained on, and what the smooth phase does not account for in the imaginary part.

        Parameters
        ----------
        image : Tensor, shape (y, x)
        level : float
            Standard deviation, in the unit of the image (per real and imaginary part).
        orientation : int
            Which of the `ORIENTATIONS` rotations and flips of the grid to denoise in. A solver that varies it over its
            iterations gives no direction preference.

        Returns
        -------
        Tensor, shape (y, x)
        """
        return _without_smooth_phase(image, lambda parts: self.denoise_all(parts, level, orientation))

    @torch.no_grad()
    def denoise_all(self, images: Tensor, level: float, orientation: int = 0) -> Tensor:
        """Denoise real images ``(n, y, x)``, each as `denoise` does one."""
        return self._denoise_oriented(self.denoiser, images, level, orientation)

    @torch.no_grad()
    def denoise_with_auxiliary(
        self, image: Tensor, level: float, orientation: int, channels_of: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Denoise an image as `denoise` does, its real part by the auxiliary-input denoiser.

        Parameters
        ----------
        image : Tensor, shape (y, x)
        level : float
        orientation : int
        channels_of : callable
            Gives the auxiliary channels, shape (auxiliary_channels, y, x), of the real part, shape (y, x).

        Returns
        -------
        Tensor, shape (y, x)

        Raises
        ------
        ConfigError
            When there is no auxiliary-input denoiser.
        """
        auxiliary_denoiser = self.auxiliary_denoiser
        if auxiliary_denoiser is None:
            raise ConfigError("This prior has no auxiliary-input denoiser. Choose a model that was trained with one.")

        def denoise(parts: Tensor) -> Tensor:
            channels = channels_of(parts[0]).unsqueeze(0)
            real = self._denoise_oriented(auxiliary_denoiser, parts[:1], level, orientation, channels)
            if len(parts) == 1:
                return real
            return torch.cat([real, self.denoise_all(parts[1:], level, orientation)])

        return _without_smooth_phase(image, denoise)

    def _denoise_oriented(
        self,
        denoiser: LocalDenoiser,
        images: Tensor,
        level: float,
        orientation: int,
        auxiliary_channels: Tensor | None = None,
    ) -> Tensor:
        """Denoise real images ``(n, y, x)``, with auxiliary channels ``(n, c, y, x)``, in one orientation."""
        levels = torch.full((len(images),), level, dtype=images.dtype)
        clean = denoiser.infer(
            oriented(images, orientation),
            levels,
            self.precision,
            None if auxiliary_channels is None else oriented(auxiliary_channels, orientation),
        )
        return oriented_back(clean, orientation)


def oriented(maps: Tensor, orientation: int) -> Tensor:
    """Rotate and flip the grid of maps ``(..., y, x)``: one of the `ORIENTATIONS`."""
    maps = torch.rot90(maps, orientation % 4, (-2, -1))
    return (maps.flip(-1) if orientation // 4 % 2 else maps).contiguous()


def oriented_back(maps: Tensor, orientation: int) -> Tensor:
    """Undo `oriented`."""
    maps = maps.flip(-1) if orientation // 4 % 2 else maps
    return torch.rot90(maps, -(orientation % 4), (-2, -1))


def _without_smooth_phase(image: Tensor, denoise: Callable[[Tensor], Tensor]) -> Tensor:
    """Denoise real and imaginary part ``(2, y, x)`` of an image with its smooth phase removed, and restore the phase.

    A real image is denoised as it is, shape (1, y, x).
    """
    if not image.is_complex():
        return denoise(image.unsqueeze(0))[0]
    phase = smooth_phasor(image)
    demodulated = image * phase.conj()
    parts = denoise(torch.stack([demodulated.real, demodulated.imag]))
    return torch.complex(parts[0], parts[1]) * phase


def smooth_phasor(image: Tensor) -> Tensor:
    """Give ``exp(i phase)`` of the low-pass filtered complex image, shape (y, x)."""
    along_y, along_x = (_averaging_twice(size).to(image.real) for size in image.shape)
    real, imaginary = (along_y @ part @ along_x.T for part in (image.real, image.imag))
    return torch.polar(torch.ones_like(real), torch.atan2(imaginary, real))


@lru_cache(maxsize=32)
def _averaging_twice(size: int) -> Tensor:
    once = averaging_matrix(size, PHASE_WINDOW // 2)
    return once @ once
