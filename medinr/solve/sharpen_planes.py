"""The denoiser of slices in planes of several directions, one direction per iteration."""

from __future__ import annotations

from torch import Tensor

from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.solve.planes import PlaneByPlane

#: Ratio of the two spacings of a plane up to which its pixels are like those that the denoiser was trained on.
SQUARE = 1.5


def directions(spacing: tuple[float, float, float], finer: tuple[bool, ...]) -> tuple[int, ...]:
    """Choose the axes across whose planes a volume is denoised.

    Planes that hold an axis of new voxels and whose pixels are about square; where there are none, those whose pixels
    are nearest to it.

    Parameters
    ----------
    spacing : tuple of float
        Of the volume along (x, y, z) in mm.
    finer : tuple of bool
        Along (z, y, x): where it has more voxels than were measured.

    Returns
    -------
    tuple of int
        Of (z, y, x): 0 for slices, 1 and 2 for the planes across them.
    """
    along = spacing[::-1]
    ratios = {}
    for axis in (1, 2, 0):
        first, second = (other for other in range(3) if other != axis)
        if finer[first] or finer[second]:
            ratios[axis] = max(along[first] / along[second], along[second] / along[first])
    best = min(ratios.values())
    return tuple(axis for axis, ratio in ratios.items() if ratio <= max(SQUARE, best * (1 + 1e-6)))


class AlternatingPlanes:
    """Denoises a volume ``(z, y, x)`` in planes across another axis in each iteration.

    Parameters
    ----------
    prior : DenoiserPrior
    axes : tuple of int
        See `directions`.
    """

    def __init__(self, prior: DenoiserPrior, axes: tuple[int, ...]) -> None:
        self.directions = axes
        self._planes = PlaneByPlane(prior)

    def __call__(self, volume: Tensor, level: float, iteration: int) -> Tensor:
        """Denoise; rotations and flips of the grid change from iteration to iteration too."""
        orientation, axis = divmod(iteration, len(self.directions))
        return self._planes.along(volume, level, self.directions[axis], orientation)
