"""Images explained window by window as straight lines of companions (guided filter: He, Sun & Tang, TPAMI 2013)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from medinr.prior.windows import mean_nearby

#: Half a window in pixels, and the variation under which a companion's structure counts as noise.
RADIUS, RIDGE = 6, 0.01

#: How far above and below its plane a companion is looked at, to know its slope there, in mm: in use as in training.
THROUGH_MM = 1.0

#: Half the narrow window of hints: it follows finer detail and keeps more noise.
NARROW = 3

#: Rows of an image whose windows' matrices are inverted at once.
ROWS = 4

#: Images that `Hints` gives.
HINTS = 2

#: Rows and columns of a grid.
Place = tuple[slice, slice]

EVERYWHERE: Place = (slice(None), slice(None))


@dataclass(frozen=True, eq=False)
class StraightLines:
    """Windows in which images are explained as one straight line of companions each (guided filter).

    Attributes
    ----------
    companions : Tensor, shape (c, y, x)
        Real.
    radius : int
        Half a window in pixels; windows are cut off at the edge.
    ridge : float
        Companions that vary by less in a window explain its mean only.
    """

    companions: Tensor
    radius: int
    ridge: float

    @cached_property
    def _mean(self) -> Tensor:
        return mean_nearby(self.companions, self.radius)

    @cached_property
    def _inverse(self) -> Tensor:
        """Inverse covariance of the companions in every window, shape (c, c, y, x)."""
        # In double precision: of a window without structure rounding would leave anything, of either sign.
        exact = self.companions.double()
        count, *size = exact.shape
        mean = mean_nearby(exact, self.radius)
        covariance = exact.new_empty(count, count, *size)
        for one in range(count):
            products = mean_nearby(exact[one] * exact[one:], self.radius) - mean[one] * mean[one:]
            covariance[one, one:] = covariance[one:, one] = products
        ridge = self.ridge**2 * torch.eye(count, dtype=exact.dtype)
        inverse = self.companions.new_empty(count, count, *size)
        # A few rows at a time: for all windows at once fresh memory takes longer to get than the inverses to find.
        for rows, found in zip(covariance.split(ROWS, 2), inverse.split(ROWS, 2), strict=True):
            found.copy_(torch.linalg.inv(rows.permute(2, 3, 0, 1) + ridge).permute(2, 3, 0, 1))
        return inverse

    def prepared(self) -> StraightLines:
        """Find now what explaining the first image would; returns itself."""
        _ = self._mean, self._inverse
        return self

    def explain(self, image: Tensor, place: Place = EVERYWHERE) -> Tensor:
        """Explain an image, or what of it lies in a place, real, shape (y, x); returns the same shape.

        What is nearer than ``2 radius`` to where the place ends and the image does not is not quite what the whole
        would have given.
        """
        companions, its_mean, inverse = (part[..., *place] for part in (self.companions, self._mean, self._inverse))
        mean, products = mean_nearby(torch.cat([image.unsqueeze(0), companions * image]), self.radius).split(
            [1, len(companions)]
        )
        covariance = products - its_mean * mean
        slope = torch.zeros_like(covariance)
        # One companion after another, the matrices being symmetric: all products at once would not fit the caches.
        for row, with_image in zip(inverse, covariance, strict=True):
            slope.addcmul_(row, with_image)
        offset = mean - (slope * its_mean).sum(0, keepdim=True)
        lines = mean_nearby(torch.cat([slope, offset]), self.radius)
        explained: Tensor = (lines[:-1] * companions).sum(0) + lines[-1]
        return explained


def lines_with_slopes(
    companions: Tensor, through: Tensor | None, radius: int = RADIUS, ridge: float = RIDGE
) -> StraightLines:
    """Straight lines of companions ``(c, y, x)``, of their slopes in the plane and, where known, through it."""
    slopes = [] if through is None else [through]
    return StraightLines(torch.cat([with_slopes(companions), *slopes]), radius, ridge)


def with_slopes(images: Tensor) -> Tensor:
    """Images ``(c, y, x)``, then their slopes along y, then along x: ``(3 c, y, x)``, central differences."""
    framed = functional.pad(images.unsqueeze(0), (1, 1, 1, 1), mode="replicate")[0]
    along_y = (framed[:, 2:, 1:-1] - framed[:, :-2, 1:-1]) / 2
    along_x = (framed[:, 1:-1, 2:] - framed[:, 1:-1, :-2]) / 2
    return torch.cat([images, along_y, along_x])


@dataclass(frozen=True, eq=False)
class Hints:
    """What a denoiser that listens is told of a noisy image: what straight lines make of it in two windows.

    Attributes
    ----------
    wide : StraightLines
        The other is the same with a window of `NARROW`.
    """

    wide: StraightLines

    @cached_property
    def _narrow(self) -> StraightLines:
        return replace(self.wide, radius=NARROW)

    def prepared(self) -> Hints:
        """Find now what explaining the first image would; returns itself."""
        _ = self.wide.prepared(), self._narrow.prepared()
        return self

    def of(self, image: Tensor, place: Place = EVERYWHERE) -> Tensor:
        """Explain an image, or what of it lies in a place, in both windows (`StraightLines.explain`).

        Parameters
        ----------
        image : Tensor, shape (y, x)
            Real.
        place : tuple of slices

        Returns
        -------
        Tensor, shape (2, y, x)
        """
        return torch.stack([lines.explain(image, place) for lines in (self.wide, self._narrow)])
