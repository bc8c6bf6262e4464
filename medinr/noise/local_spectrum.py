"""Power spectrum of the noise, from the smoothest patches of a scan.

A cosine coefficient of a smooth patch holds noise alone. Which patches are smooth must not be decided by the
coefficient itself, or its variance would come out too small: for every coefficient the patches are ranked by the
energy of all *other* coefficients. Independent noise leaves no bias then, and correlated noise hardly any, as the
cosine transform almost decorrelates it. (Ponomarenko et al. 2007 rank by the low and measure in the high frequencies;
Pyatykh et al. 2013 and Liu et al. 2013 rank by the patch itself and correct.)

Where even the smoothest patches hold structure, the variance of a coefficient grows as less smooth ones are added.
Such coefficients, always few and of low frequency, are filled in from their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medinr.noise.patches import SIDE

#: Share of the patches that counts as smooth, and the larger share that tells whether they hold structure.
SMOOTH_SHARE = 0.06
_WIDER_SHARE = 0.3

#: Fewest smooth patches, where there are as many.
_FEWEST_SMOOTH = 400

#: Growth of the variance from the smaller to the larger share, over that of the highest frequencies, above which a
#: coefficient holds structure. (Noise that varies by place grows too, alike at all frequencies.)
_GROWTH = 1.2
_MOST_GROWTH = 1e3

#: Structure left in the smooth patches over what the larger share holds more: measured as 0.4 to 1.2 at middle
#: frequencies on brain scans with 3 to 10 % of added noise; and the least that may remain of a variance.
_LEFT = 0.6
_LEAST_LEFT = 0.3

#: Squared frequency, in half cycles per patch, below which every patch holds structure: shading and slow gradients.
_LOWEST = 6

#: Squared frequency from which hardly any structure is left.
_HIGH = 32

#: Squared frequency, in half cycles per patch, up to which neighbours fill in the missing ones.
_NEAR = 20

#: Resistance to slopes of the logarithm over the squared frequency.
_RIDGE = 20.0

_SQUARED = np.add.outer(np.arange(SIDE) ** 2, np.arange(SIDE) ** 2)


@dataclass(frozen=True, eq=False)
class LocalSpectrum:
    """Variance of the cosine coefficients of noise in patches.

    Attributes
    ----------
    variance : ndarray, shape (8, 8), float64
        Of each coefficient; the mean over all is sigma^2.
    measured : ndarray of bool, shape (8, 8)
        Which hold noise alone; the others were filled in.
    patches : int
        How many each rests on.
    """

    variance: NDArray[np.float64]
    measured: NDArray[np.bool_]
    patches: int

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise."""
        return float(np.sqrt(self.variance.mean()))

    @property
    def flat(self) -> LocalSpectrum:
        """The spectrum of independent noise of the same strength at the frequencies that were measured."""
        mean = self.variance[self.measured].mean() if self.measured.any() else self.variance.mean()
        return LocalSpectrum(np.full_like(self.variance, mean), self.measured, self.patches)


def local_spectrum(coefficients: NDArray[np.float32], weights: NDArray[np.float32]) -> LocalSpectrum:
    """Measure the spectrum in patches.

    Parameters
    ----------
    coefficients : ndarray, shape (n, 8, 8)
    weights : ndarray, shape (n,)
        Each patch's squares are multiplied by these: they make noise that varies by place or by signal alike.
    """
    squares = np.square(coefficients) * weights[:, None, None]
    squares[:, 0, 0] = 0.0
    total = squares.sum(axis=(1, 2))
    count = len(squares)
    few = min(count, max(_FEWEST_SMOOTH, int(SMOOTH_SHARE * count)))
    more = min(count, max(few, int(_WIDER_SHARE * count)))
    small = np.zeros((SIDE, SIDE))
    large = np.zeros((SIDE, SIDE))
    for u, v in np.ndindex(SIDE, SIDE):
        if u + v == 0:
            continue
        others = total - squares[:, u, v]
        smoothest = np.argpartition(others, [few - 1, more - 1])[:more]
        chosen = squares[smoothest, u, v]
        small[u, v] = chosen[:few].mean(dtype=np.float64)
        large[u, v] = chosen.mean(dtype=np.float64)
    # Where nothing is left in the smoothest patches, noise was rounded away.
    growth = np.divide(large, small, out=np.full_like(small, _MOST_GROWTH), where=small > 0)
    usual = float(np.quantile(growth[_SQUARED >= _HIGH], 0.25))
    # Structure is smooth in frequency, the scatter of the estimates is not.
    evened = np.exp(ndimage.uniform_filter(np.log(np.clip(growth, 1e-3, _MOST_GROWTH)), 3, mode="nearest"))
    measured = (evened <= _GROWTH * usual) & (small > 0) & (_SQUARED >= _LOWEST)
    cleared = np.maximum(small - _LEFT * np.maximum(large - usual * small, 0.0), _LEAST_LEFT * small)
    return LocalSpectrum(_filled(cleared, measured), measured, few)


def _filled(variance: NDArray[np.float64], measured: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill in coefficients with structure: log-linear in the squared frequencies along y and x, from near ones.

    Never above what was measured, as structure only adds.
    """
    if not measured.any():
        bound = variance.copy()
        bound[0, 0] = min(bound[0, 1], bound[1, 0])
        return bound
    nearest = np.sort(_SQUARED[measured])[min(8, int(measured.sum()) - 1)]
    reach = max(_NEAR, int(nearest))
    near = measured & (reach >= _SQUARED)
    u, v = np.nonzero(near)
    logarithm = np.log(variance[near])
    design = np.stack([u**2, v**2], axis=1).astype(np.float64)
    centre = design.mean(axis=0)
    centred = design - centre
    slope = np.linalg.solve(centred.T @ centred + _RIDGE * np.eye(2), centred.T @ (logarithm - logarithm.mean()))
    rows, columns = np.indices(variance.shape)
    grid = np.stack([rows**2, columns**2], axis=-1) - centre
    guess = np.exp(logarithm.mean() + grid @ slope)
    bound = np.where(variance > 0, variance, np.inf)
    return np.where(measured, variance, np.minimum(guess, bound))
