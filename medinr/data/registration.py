"""Rigid registration of one scan to another by mutual information, through SimpleITK."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter, maximum_filter, spline_filter

from medinr.errors import GeometryError
from medinr.units import SIGMA_PER_FWHM
from medinr.volume import Affine, Volume

#: Between RAS, inside, and LPS, ITK's; it is its own inverse.
FLIP = np.diag([-1.0, -1.0, 1.0])

#: Levels of the pyramid: smoothing (full width at half maximum) and sampling in-plane, in mm. Slices are thick already.
LEVELS_MM = (6.0, 3.0, 1.5)

#: Distance of the initial heights, in mm: the centre of mass of a few slices does not give their height.
HEIGHTS_MM = 4.0

#: Largest initial shift along the slice normal from the scanner's position, in mm; larger ones come from tissue.
REACH_MM = 40.0

#: Initial positions that are optimised on the coarsest level.
FOLLOWED = 3

#: Points per level at which mutual information is evaluated, at most.
POINTS = 20_000

#: Tissue is brighter than this share of the 99th percentile, or within the margin of such pixels.
TISSUE = 0.1
MARGIN_MM = 5.0

#: Voxels by which a scan is padded on all sides before spline filtering; the border has no influence beyond them.
BEYOND = 12

#: Share of the fixed scan's tissue that the moving one must cover.
LEAST_OVERLAP = 0.5


@dataclass(frozen=True, eq=False)
class RigidMotion:
    """Rigid motion from the fixed scan to the moving one.

    Attributes
    ----------
    matrix : ndarray, shape (4, 4)
        From RAS mm of the fixed scan to RAS mm of the moving one.
    millimetres : float
        Shift of the centre of the fixed scan's tissue.
    degrees : float
        Angle of rotation.
    overlap : float
        Share of the fixed scan's tissue that lies inside the moving scan.
    information : float
        Mutual information (nats) at the finest level.
    """

    matrix: Affine
    millimetres: float
    degrees: float
    overlap: float
    information: float

    def summary(self) -> dict[str, float]:
        """Rounded numbers for records."""
        return {
            "millimetres": round(self.millimetres, 2),
            "degrees": round(self.degrees, 2),
            "overlap": round(self.overlap, 3),
            "mutual_information": round(self.information, 4),
        }


#: Numbers of threads before each running registration; the last one to end restores that of the first.
_FOUND: list[int] = []
_FOUND_LOCK = threading.Lock()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in one order, so that registrations are reproducible; ITK's metrics use a global number of threads."""
    from SimpleITK import ProcessObject

    with _FOUND_LOCK:
        _FOUND.append(ProcessObject.GetGlobalDefaultNumberOfThreads())
        ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        with _FOUND_LOCK:
            ProcessObject.SetGlobalDefaultNumberOfThreads(_FOUND.pop())


@_one_thread()
def register_rigid(moving: Volume, fixed: Volume, *, same_visit: bool = False) -> RigidMotion:
    """Find the rigid motion that aligns a scan with another one.

    It maximises mutual information (Mattes et al., IEEE TMI 2003), so that contrasts may differ, from coarse to fine.
    It starts from shifts of the scanner's position along the slice normal, and from shifts that move the centre of the
    fixed scan's tissue to that of slices of the moving scan.

    Parameters
    ----------
    moving, fixed : Volume
        Magnitudes; of the fixed one a single slice suffices. Neither is changed.
    same_visit : bool
        Both are from one visit, so the scanner's position is the only initial one, which takes less time.

    Returns
    -------
    RigidMotion

    Raises
    ------
    GeometryError
        When the two do not overlap.
    """
    tissue = _tissue(fixed)
    points = _positions(fixed, tissue)
    centre = points.mean(axis=0)
    shifts = [np.zeros(3)] if same_visit else _starts(moving, fixed, centre)
    motions: list[Any] = [_euler(centre, shift) for shift in shifts]
    for size in LEVELS_MM:
        pair = _Pair(moving, fixed, tissue, size)
        motions = sorted(motions, key=pair.cost)[:FOLLOWED]
        motions = sorted((pair.optimise(motion) for motion in motions), key=pair.cost)[:1]
    (found,) = motions
    matrix = _matrix(found)
    overlap = float(_inside(moving, points @ matrix[:3, :3].T + matrix[:3, 3]).mean())
    if overlap < LEAST_OVERLAP:
        raise GeometryError(
            f"The auxiliary scan covers {100 * overlap:.0f} % of the tissue to be reconstructed; at least "
            f"{100 * LEAST_OVERLAP:.0f} % is needed. Is it of the same part of the body?"
        )
    cosine = (np.trace(matrix[:3, :3]) - 1) / 2
    return RigidMotion(
        matrix,
        float(np.linalg.norm(matrix[:3, :3] @ centre + matrix[:3, 3] - centre)),
        math.degrees(math.acos(min(1.0, max(-1.0, cosine)))),
        overlap,
        -pair.cost(found),
    )


class Resampler:
    """A scan prepared for resampling to grids of the scan it was registered to, at any height.

    By cubic splines; where the grid is coarser in-plane, the scan is smoothed first against aliasing (as in
    `medinr.data.grid.TrainingGridd`).

    Parameters
    ----------
    moving : Volume
        Magnitude.
    fixed : Volume
        Its pixel size decides on smoothing.
    """

    def __init__(self, moving: Volume, fixed: Volume) -> None:
        values = np.abs(moving.array).astype(np.float32)
        coarse = min(fixed.spacing[:2])
        wide = [SIGMA_PER_FWHM * math.sqrt(max((coarse / mm) ** 2 - 1, 0)) for mm in moving.spacing[:2]]
        if any(wide):
            values = gaussian_filter(values, (0, wide[1], wide[0]))
        self._affine, self._range = moving.affine, (values.min(), values.max())
        self._splines = spline_filter(np.pad(values, BEYOND, "edge"), order=3, mode="nearest")

    def onto(self, fixed: Volume, matrix: Affine) -> NDArray[np.float32]:
        """Resample the scan to a grid.

        Parameters
        ----------
        fixed : Volume
            Its grid is used, not its values.
        matrix : ndarray, shape (4, 4)
            From RAS mm of the fixed scan to RAS mm of the moving one, see `RigidMotion`.

        Returns
        -------
        ndarray, shape (z, y, x)
            Beyond the moving scan, the value of its nearest voxel, which says nothing about the tissue there.
        """
        index = np.linalg.solve(self._affine, matrix @ fixed.affine)
        backwards, origin = index[2::-1, 2::-1], index[2::-1, 3] + BEYOND  # arrays count (z, y, x)
        found = affine_transform(
            self._splines, backwards, origin, fixed.shape, order=3, mode="nearest", prefilter=False
        )
        return np.asarray(found.clip(*self._range), dtype=np.float32)


class _Pair:
    """Two scans at one level of the pyramid."""

    def __init__(self, moving: Volume, fixed: Volume, tissue: NDArray[np.bool_], size: float) -> None:
        mask = _thin(fixed.with_array(tissue.astype(np.float32)), size)
        self._size, self._volume = size, moving
        self._points = _positions(mask, mask.array > 0)
        self._fixed, self._moving = (_itk(_thin(_smooth(volume, size), size)) for volume in (fixed, moving))
        self._mask = _itk(mask, np.uint8)
        self._share = min(1.0, POINTS / max(1, len(self._points)))

    def cost(self, motion: Any) -> float:
        """Negative mutual information; infinite where the overlap is too small."""
        matrix = _matrix(motion)
        if _inside(self._volume, self._points @ matrix[:3, :3].T + matrix[:3, 3]).mean() < LEAST_OVERLAP:
            return math.inf
        method = self._method()
        method.SetInitialTransform(motion, inPlace=False)
        return float(method.MetricEvaluate(self._fixed, self._moving))

    def optimise(self, motion: Any) -> Any:
        """Optimise by gradient descent; return the start where that does not improve it."""
        import SimpleITK

        method = self._method()
        method.SetOptimizerAsRegularStepGradientDescent(self._size / 2, self._size / 500, 100, 0.6)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(motion, inPlace=False)
        try:
            found = SimpleITK.Euler3DTransform(method.Execute(self._fixed, self._moving).GetNthTransform(0))
        except RuntimeError:  # the optimiser left the moving scan
            return motion
        return min(found, motion, key=self.cost)

    def _method(self) -> Any:
        import SimpleITK

        method = SimpleITK.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(32)
        # Gradients by differences at the sampled points, instead of a smoothed gradient of the whole volume every time.
        method.MetricUseMovingImageGradientFilterOff()
        method.MetricUseFixedImageGradientFilterOff()
        method.SetMetricFixedMask(self._mask)
        if self._share < 1:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(self._share, 1)
        method.SetInterpolator(SimpleITK.sitkLinear)
        return method


def _starts(moving: Volume, fixed: Volume, centre: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Initial shifts in mm."""
    normal = fixed.affine[:3, 2] / np.linalg.norm(fixed.affine[:3, 2])
    shifts = [height * normal for height in np.arange(-REACH_MM, REACH_MM + 1, HEIGHTS_MM)]
    tissue = _tissue(moving)
    for height in range(0, len(tissue), max(1, round(HEIGHTS_MM / moving.spacing[2]))):
        if tissue[height].any():
            middle = [*np.argwhere(tissue[height]).mean(axis=0)[::-1], height]
            shifts.append(moving.affine[:3, :3] @ middle + moving.affine[:3, 3] - centre)
    return shifts


def _euler(centre: NDArray[np.float64], shift: NDArray[np.float64]) -> Any:
    import SimpleITK

    motion = SimpleITK.Euler3DTransform()
    motion.SetCenter((FLIP @ centre).tolist())
    motion.SetTranslation((FLIP @ shift).tolist())
    return motion


def _matrix(motion: Any) -> Affine:
    """An ITK motion, in LPS about its centre, as a matrix from RAS mm to RAS mm."""
    rotation = np.array(motion.GetMatrix()).reshape(3, 3)
    middle, shift = np.array(motion.GetCenter()), np.array(motion.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3] = FLIP @ rotation @ FLIP
    matrix[:3, 3] = FLIP @ (middle + shift - rotation @ middle)
    return matrix


def _itk(volume: Volume, kind: type = np.float32) -> Any:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(volume.array.astype(kind))
    image.SetSpacing(volume.spacing)
    image.SetOrigin((FLIP @ volume.affine[:3, 3]).tolist())
    image.SetDirection((FLIP @ volume.affine[:3, :3] / volume.spacing).flatten().tolist())
    return image


def _smooth(volume: Volume, fwhm: float) -> Volume:
    """Magnitude, smoothed in-plane."""
    x, y = (SIGMA_PER_FWHM * fwhm / mm for mm in volume.spacing[:2])
    return volume.with_array(gaussian_filter(np.abs(volume.array).astype(np.float32), (0, y, x)))


def _thin(volume: Volume, size: float) -> Volume:
    """Keep pixels at most ``size`` mm apart in-plane, or all of them where they are coarser."""
    x, y = (max(1, int(size // mm)) for mm in volume.spacing[:2])
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (x // 2) + affine[:3, 1] * (y // 2)
    affine[:3, 0] *= x
    affine[:3, 1] *= y
    return replace(volume, array=volume.array[:, y // 2 :: y, x // 2 :: x], affine=affine)


def _tissue(volume: Volume) -> NDArray[np.bool_]:
    """Mask of tissue with a margin, so that the outline of the body is included."""
    smooth = _smooth(volume, LEVELS_MM[-1]).array
    bright = smooth > TISSUE * np.percentile(smooth, 99)
    if not bright.any():
        raise GeometryError("There is nothing to register to: the image is 0 everywhere.")
    x, y = (max(1, round(MARGIN_MM / mm)) for mm in volume.spacing[:2])
    return np.asarray(maximum_filter(bright, (1, 2 * y + 1, 2 * x + 1), mode="constant"))


def _positions(volume: Volume, there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """RAS mm of the voxels where a mask is true, shape (n, 3)."""
    return np.asarray(np.argwhere(there)[:, ::-1] @ volume.affine[:3, :3].T + volume.affine[:3, 3])


def _inside(volume: Volume, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
    inverse = np.linalg.inv(volume.affine)
    index = positions @ inverse[:3, :3].T + inverse[:3, 3]
    size = np.array(volume.shape[::-1])
    return np.asarray(((index >= -0.5) & (index <= size - 0.5)).all(axis=-1))
