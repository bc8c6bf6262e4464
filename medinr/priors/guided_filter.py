"""Local linear regression of an image on auxiliary scans (guided filter; He, Sun & Tang, IEEE TPAMI 2013)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from medinr.priors.windows import window_mean

#: Half the window in pixels, and the standard deviation below which structure of an auxiliary scan counts as noise.
RADIUS, RIDGE = 6, 0.01

#: Distance in mm above and below its plane at which an auxiliary scan is sampled for its slope through the plane. The
#: same in reconstruction as in training.
THROUGH_PLANE_MM = 1.0

#: Half the narrow window of `AuxiliaryChannels`, in pixels: it follows finer detail and keeps more noise.
NARROW_RADIUS = 3

#: Rows of an image whose covariance matrices are inverted at once.
ROWS = 4

#: Images that `AuxiliaryChannels` gives.
AUXILIARY_CHANNELS = 2

#: Rows and columns of a grid.
Region = tuple[slice, slice]

WHOLE_IMAGE: Region = (slice(None), slice(None))


@dataclass(frozen=True, eq=False)
class LocalRegression:
    """Linear regression of images on auxiliary scans, one per window, averaged over the windows (guided filter).

    Attributes
    ----------
    auxiliary : Tensor, shape (c, y, x)
        Regressors: real images.
    radius : int
        Half the window in pixels; windows are cut off at the edge.
    ridge : float
        Where the auxiliary scans vary by less than this within a window, the fit is little more than the mean.
    """

    auxiliary: Tensor
    radius: int
    ridge: float

    @cached_property
    def _mean(self) -> Tensor:
        return window_mean(self.auxiliary, self.radius)

    @cached_property
    def _inverse(self) -> Tensor:
        """Inverse covariance of the auxiliary scans in every window, shape (c, c, y, x)."""
        # In double precision: in a window without structure, float32 rounding would dominate the result, with either
        # sign.
        exact = self.auxiliary.double()
        count, *size = exact.shape
        mean = window_mean(exact, self.radius)
        covariance = exact.new_empty(count, count, *size)
        for one in range(count):
            products = window_mean(exact[one] * exact[one:], self.radius) - mean[one] * mean[one:]
            covariance[one, one:] = covariance[one:, one] = products
        ridge = self.ridge**2 * torch.eye(count, dtype=exact.dtype)
        inverse = self.auxiliary.new_empty(count, count, *size)
        # A few rows at a time: allocating the memory for all windows at once takes longer than inverting them.
        for rows, found in zip(covariance.split(ROWS, 2), inverse.split(ROWS, 2), strict=True):
            found.copy_(torch.linalg.inv(rows.permute(2, 3, 0, 1) + ridge).permute(2, 3, 0, 1))
        return inverse

    def prepared(self) -> LocalRegression:
        """Compute now what the first `fit` would compute otherwise; returns itself."""
        _ = self._mean, self._inverse
        return self

    def fit(self, image: Tensor, region: Region = WHOLE_IMAGE) -> Tensor:
        """Fit an image, or the part of it that lies in a region.

        Parameters
        ----------
        image : Tensor, shape (y, x)
            Real; the pixels of the region only.
        region : tuple of slices
            Where the pixels lie on the grid of the auxiliary scans.

        Returns
        -------
        Tensor, shape (y, x)
            Fitted values. Within ``2 radius`` of a cut through the image they differ from those of the whole image,
            because windows end at the cut.
        """
        auxiliary, auxiliary_mean, inverse = (
            part[..., *region] for part in (self.auxiliary, self._mean, self._inverse)
        )
        mean, products = window_mean(torch.cat([image.unsqueeze(0), auxiliary * image]), self.radius).split(
            [1, len(auxiliary)]
        )
        covariance = products - auxiliary_mean * mean
        slope = torch.zeros_like(covariance)
        # One regressor after another, which is possible because the matrices are symmetric: all products at once would
        # not fit the caches.
        for row, with_image in zip(inverse, covariance, strict=True):
            slope.addcmul_(row, with_image)
        offset = mean - (slope * auxiliary_mean).sum(0, keepdim=True)
        coefficients = window_mean(torch.cat([slope, offset]), self.radius)
        fitted: Tensor = (coefficients[:-1] * auxiliary).sum(0) + coefficients[-1]
        return fitted


def regression_with_slopes(
    auxiliary: Tensor, through_plane: Tensor | None, radius: int = RADIUS, ridge: float = RIDGE
) -> LocalRegression:
    """Set up the regression on auxiliary scans and their slopes.

    A slope stands for a displacement, ``c(x + d) ~ c(x) + d . grad c``: anatomy that lies a fraction of a pixel away is
    still fitted.

    Parameters
    ----------
    auxiliary : Tensor, shape (c, y, x)
        Real.
    through_plane : Tensor, shape (c, y, x), or None
        Slope of each scan through the plane, where it is known; the slopes in the plane are computed here.
    radius, ridge
        See `LocalRegression`.
    """
    slopes = [] if through_plane is None else [through_plane]
    return LocalRegression(torch.cat([with_slopes(auxiliary), *slopes]), radius, ridge)


def with_slopes(images: Tensor) -> Tensor:
    """Images ``(c, y, x)``, then their slopes along y, then along x: ``(3 c, y, x)``, central differences."""
    framed = functional.pad(images.unsqueeze(0), (1, 1, 1, 1), mode="replicate")[0]
    along_y = (framed[:, 2:, 1:-1] - framed[:, :-2, 1:-1]) / 2
    along_x = (framed[:, 1:-1, 2:] - framed[:, 1:-1, :-2]) / 2
    return torch.cat([images, along_y, along_x])


@dataclass(frozen=True, eq=False)
class AuxiliaryChannels:
    """Further inputs of an auxiliary-input denoiser: fits of the noisy image with two sizes of window.

    Attributes
    ----------
    wide : LocalRegression
        The other is the same with windows of `NARROW_RADIUS`.
    """

    wide: LocalRegression

    @cached_property
    def _narrow(self) -> LocalRegression:
        return replace(self.wide, radius=NARROW_RADIUS)

    def prepared(self) -> AuxiliaryChannels:
        """Compute now what the first `of` would compute otherwise; returns itself."""
        _ = self.wide.prepared(), self._narrow.prepared()
        return self

    def of(self, image: Tensor, region: Region = WHOLE_IMAGE) -> Tensor:
        """Fit an image, or the part of it that lies in a region, with both windows (`LocalRegression.fit`).

        Parameters
        ----------
        image : Tensor, shape (y, x)
            Real.
        region : tuple of slices

        Returns
        -------
        Tensor, shape (2, y, x)
        """
        return torch.stack([regression.fit(image, region) for regression in (self.wide, self._narrow)])
