"""A trained local denoiser as a prior for images of any grid, real or complex."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol, Self

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.prior.denoiser import LocalDenoiser
from medinr.prior.windows import averaging

#: Width in pixels of the window, applied twice, over which the phase of a complex image is taken as smooth.
PHASE_WINDOW = 9

#: Turns and flips of a square grid.
TURNS = 8


class ImagePrior(Protocol):
    """What is believed of images, asked in every turn of prior and measurement."""

    def denoise(self, image: Tensor, level: float, turn: int = 0) -> Tensor:
        """Denoise an image ``(y, x)``, see `LocalPrior.denoise`."""

    def in_precision(self, precision: torch.dtype) -> Self:
        """Return the same with its convolutions in another precision."""

    def for_magnitudes(self) -> Self | None:
        """Return the same for magnitudes with Rician noise, whose bias it takes out; None where nobody trained it."""


@dataclass(frozen=True, eq=False)
class LocalPrior:
    """What the training scans have in common locally.

    Attributes
    ----------
    denoiser : LocalDenoiser
    precision : torch.dtype
        Of the convolutions. bfloat16 is quicker where the processor multiplies matrices of it, at a few
        hundredths of a decibel in a reconstruction.
    on_magnitudes : LocalDenoiser, optional
        The same for Rician noise.
    listener : LocalDenoiser, optional
        The same, given hints: what companions make of the noisy image (`medinr.prior.companion`).
    """

    denoiser: LocalDenoiser
    precision: torch.dtype = torch.float32
    on_magnitudes: LocalDenoiser | None = None
    listener: LocalDenoiser | None = None

    def in_precision(self, precision: torch.dtype) -> LocalPrior:
        """Return the same with its convolutions in another precision."""
        return replace(self, precision=precision)

    def for_magnitudes(self) -> LocalPrior | None:
        """Return the same for magnitudes with Rician noise, see `ImagePrior`."""
        return None if self.on_magnitudes is None else LocalPrior(self.on_magnitudes, self.precision)

    @torch.no_grad()
    def denoise(self, image: Tensor, level: float, turn: int = 0) -> Tensor:
        """Denoise an image as if it carried Gaussian noise of a given standard deviation.

        A complex image is turned by its smooth phase first, so that anatomy lies in the real part, as in the
        magnitude images the denoiser was trained on, and what the phase does not explain in the imaginary one.

        Parameters
        ----------
        image : Tensor, shape (y, x)
        level : float
            Standard deviation, in the unit of the image (per real and imaginary part).
        turn : int
            Which of the `TURNS` turns and flips of the grid to denoise in: over the iterations of a solver the
            prior then has no preferred direction.

        Returns
        -------
        Tensor, shape (y, x)
        """
        return _upright(image, lambda parts: self.denoise_all(parts, level, turn))

    @torch.no_grad()
    def denoise_all(self, images: Tensor, level: float, turn: int = 0) -> Tensor:
        """Denoise real images ``(n, y, x)``, each as `denoise` does one."""
        return self._ask(self.denoiser, images, level, turn)

    @torch.no_grad()
    def hear(self, image: Tensor, level: float, turn: int, hint: Callable[[Tensor], Tensor]) -> Tensor:
        """Denoise an image as `denoise` does, its real part, where anatomy lies, by the listener.

        Parameters
        ----------
        image : Tensor, shape (y, x)
        level : float
        turn : int
        hint : callable
            Gives hints, shape (hints, y, x), on the real part, shape (y, x).

        Returns
        -------
        Tensor, shape (y, x)

        Raises
        ------
        ConfigError
            When there is no listener.
        """
        listener = self.listener
        if listener is None:
            raise ConfigError("This prior has no listener. Choose a trunk that was trained with one.")

        def denoise(parts: Tensor) -> Tensor:
            heard = self._ask(listener, parts[:1], level, turn, hint(parts[0]).unsqueeze(0))
            return heard if len(parts) == 1 else torch.cat([heard, self.denoise_all(parts[1:], level, turn)])

        return _upright(image, denoise)

    def _ask(
        self, denoiser: LocalDenoiser, images: Tensor, level: float, turn: int, hints: Tensor | None = None
    ) -> Tensor:
        """Denoise real images ``(n, y, x)``, with hints ``(n, hints, y, x)``, in one of the turns of the grid."""
        quarters, flipped = turn % 4, turn // 4 % 2 == 1

        def turned(maps: Tensor) -> Tensor:
            maps = torch.rot90(maps, quarters, (-2, -1))
            return (maps.flip(-1) if flipped else maps).contiguous()

        levels = torch.full((len(images),), level, dtype=images.dtype)
        clean = denoiser.infer(turned(images), levels, self.precision, None if hints is None else turned(hints))
        clean = clean.flip(2) if flipped else clean
        return torch.rot90(clean, -quarters, (1, 2))


def _upright(image: Tensor, denoise: Callable[[Tensor], Tensor]) -> Tensor:
    """Denoise real and imaginary part ``(2, y, x)`` of an image turned by its smooth phase; a real image as it is."""
    if not image.is_complex():
        return denoise(image.unsqueeze(0))[0]
    phase = smooth_phasor(image)
    upright = image * phase.conj()
    parts = denoise(torch.stack([upright.real, upright.imag]))
    return torch.complex(parts[0], parts[1]) * phase


def smooth_phasor(image: Tensor) -> Tensor:
    """Give ``exp(i phase)`` of the low-pass filtered complex image, shape (y, x)."""
    along_y, along_x = (_twice(size).to(image.real) for size in image.shape)
    real, imaginary = (along_y @ part @ along_x.T for part in (image.real, image.imag))
    return torch.polar(torch.ones_like(real), torch.atan2(imaginary, real))


@lru_cache(maxsize=32)
def _twice(size: int) -> Tensor:
    once = averaging(size, PHASE_WINDOW // 2)
    return once @ once
