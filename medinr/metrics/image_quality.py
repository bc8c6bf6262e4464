"""Image quality against a reference: PSNR, SSIM, NRMSE, HFEN, GMSD, for the slice and inside the body.

Images are slices ``(y, x)``. The defaults of other toolkits differ, so the data range is an argument of
every metric that needs one. Other toolkits' conventions: `medinr.metrics.conventions`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.metrics import structural_similarity

from medinr.errors import IntensityError, ShapeError, UnitError
from medinr.units import HU_VACUUM

#: Image and reference of CT are clipped to this range, from vacuum to dense bone (HU).
CT_WINDOW = (HU_VACUUM, 1000.0)

#: Standard deviation in pixels of the SSIM window and of the Laplacian of Gaussian.
SIGMA = 1.5

#: Side of the SSIM window in pixels, which skimage derives from `SIGMA`.
SSIM_WINDOW = 11

#: Stabiliser of GMSD for a range of 1: 170 for the range 255 of its authors.
GMSD_CONSTANT = 170.0 / 255.0**2

#: PSNR without the noise of the reference, where that is known (`medinr.metrics.reference_noise`).
CORRECTED = "psnr_corrected"

#: Metrics of the protocol, with their unit, and whether higher is better.
METRICS = {"psnr": ("dB", True), "ssim": ("", True), "nrmse": ("", False), "hfen": ("", False), "gmsd": ("", False)}
METRICS[CORRECTED] = ("dB", True)

Image = NDArray[Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Score:
    """One number of one image: which metric, of the whole ``"slice"`` or inside the ``"body"``."""

    region: str
    metric: str
    value: float


def scores_of(image: Image, reference: Image, data_range: float, modality: str) -> list[Score]:
    """Score one slice with every metric of the protocol that compares two images, whole and inside the body.

    Parameters
    ----------
    image, reference : ndarray, shape (y, x)
        MR: complex or magnitude; CT: HU. `prepare` is applied to both.
    data_range : float
        From `data_range` of the whole reference volume.
    modality : {"MR", "CT"}

    Returns
    -------
    list of Score
        Ten: `METRICS` but `CORRECTED` in both regions. NRMSE, HFEN and GMSD of CT are taken of HU + 1000, proportional
        to attenuation.
    """
    zero = HU_VACUUM if modality == "CT" else 0.0
    x, r = prepare(image, modality) - zero, prepare(reference, modality) - zero
    found = []
    for region, mask in (("slice", None), ("body", body_mask(r))):
        found += [
            Score(region, "psnr", psnr(x, r, data_range, mask)),
            Score(region, "ssim", ssim(x + zero, r + zero, data_range, mask)),
            Score(region, "nrmse", nrmse(x, r, mask)),
            Score(region, "hfen", hfen(x, r, mask)),
            Score(region, "gmsd", gmsd(x, r, data_range, mask)),
        ]
    return found


@dataclass(frozen=True)
class SliceMetrics:
    """All metrics of one slice; ``_body`` ones are taken inside `body_mask` of the reference."""

    psnr: float
    ssim: float
    nrmse: float
    hfen: float
    psnr_body: float
    ssim_body: float


def slice_metrics(image: Image, reference: Image, data_range: float, modality: str) -> SliceMetrics:
    """Score one slice against its reference with every metric of the protocol.

    Parameters
    ----------
    image, reference : ndarray, shape (y, x)
        MR: complex or magnitude; CT: HU. `prepare` is applied to both.
    data_range : float
        From `data_range` of the whole reference volume.
    modality : {"MR", "CT"}

    Notes
    -----
    The NRMSE of CT is taken of HU + 1000, which is proportional to attenuation: relative to HU themselves it
    would depend on how much water the slice holds.
    """
    x, r = prepare(image, modality), prepare(reference, modality)
    body = body_mask(r)
    zero = HU_VACUUM if modality == "CT" else 0.0
    return SliceMetrics(
        psnr=psnr(x, r, data_range),
        ssim=ssim(x, r, data_range),
        nrmse=nrmse(x - zero, r - zero),
        hfen=hfen(x, r),
        psnr_body=psnr(x, r, data_range, body),
        ssim_body=ssim(x, r, data_range, body),
    )


def psnr(image: Image, reference: Image, data_range: float, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB: ``10 log10(range^2 / MSE)``.

    Parameters
    ----------
    image, reference : ndarray, shape (y, x)
        Real.
    data_range : float
        See `data_range`.
    mask : ndarray of bool, shape (y, x), optional
        Pixels that count.

    Returns
    -------
    float
        Infinity where the two are equal.

    Examples
    --------
    >>> round(psnr(np.full((4, 4), 0.9), np.ones((4, 4)), data_range=1.0), 6)
    20.0
    """
    x, r = _checked(image, reference, mask)
    _check_range(data_range)
    squared = np.square(x - r)
    error = float(np.mean(squared if mask is None else squared[mask]))
    return math.inf if error == 0.0 else 10.0 * math.log10(data_range**2 / error)


def ssim(image: Image, reference: Image, data_range: float, mask: Mask | None = None) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window, sigma 1.5, 11x11, population covariance.

    Parameters
    ----------
    image, reference : ndarray, shape (y, x)
        Real, at least 11x11.
    data_range : float
        See `data_range`.
    mask : ndarray of bool, shape (y, x), optional
        The SSIM map is averaged inside it. Without one the map is averaged where the window fits the image.

    Returns
    -------
    float
        1 where the two are equal.
    """
    x, r = _checked(image, reference, mask)
    _check_range(data_range)
    if min(x.shape) < SSIM_WINDOW:
        raise ShapeError(f"SSIM needs at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels; got {x.shape}.")
    mean, similarity = structural_similarity(
        x,
        r,
        data_range=data_range,
        gaussian_weights=True,
        sigma=SIGMA,
        use_sample_covariance=False,
        full=True,
    )
    return float(mean if mask is None else similarity[mask].mean())


def nrmse(image: Image, reference: Image, mask: Mask | None = None) -> float:
    """Root-mean-square error relative to the reference: ``||x - r|| / ||r||``."""
    x, r = _checked(image, reference, mask)
    if mask is not None:
        x, r = x[mask], r[mask]
    return _relative_error(x, r)


def hfen(image: Image, reference: Image, mask: Mask | None = None) -> float:
    """High-frequency error norm: `nrmse` of the two after a Laplacian of Gaussian, sigma 1.5 pixels, 15x15.

    Source: Ravishankar & Bresler, IEEE TMI 2011, section IV.
    """
    x, r = _checked(image, reference, mask)
    radius = 7
    edges = [ndimage.gaussian_laplace(part, SIGMA, mode="nearest", truncate=radius / SIGMA) for part in (x, r)]
    return _relative_error(*(edges if mask is None else [part[mask] for part in edges]))


def gmsd(image: Image, reference: Image, data_range: float, mask: Mask | None = None) -> float:
    """Gradient magnitude similarity deviation: the spread of edge similarity; 0 where the two are equal.

    Both are averaged over 2x2 blocks; the similarity of their Prewitt gradients g is
    ``(2 g_x g_r + c) / (g_x^2 + g_r^2 + c)``, and the score its standard deviation over pixels. It follows the
    judgement of viewers of natural images more closely than SSIM does, and needs no trained network.

    Parameters
    ----------
    image, reference : ndarray, shape (y, x)
        Real, at least 4x4; beyond the border both are taken as 0.
    data_range : float
        See `data_range`; ``c = 170 (range / 255)^2``.
    mask : ndarray of bool, shape (y, x), optional
        Blocks that count are those whose first pixel lies inside.

    Notes
    -----
    Source: Xue, Zhang, Mou & Bovik, IEEE TIP 2014, equations 1 to 6, and the authors' program for the borders.
    """
    x, r = _checked(image, reference, mask)
    _check_range(data_range)
    if min(x.shape) < 4:
        raise ShapeError(f"GMSD needs at least 4 x 4 pixels; got {x.shape}.")
    edges = [_prewitt(_blocks(part / data_range)) for part in (x, r)]
    product, energy = edges[0] * edges[1], edges[0] ** 2 + edges[1] ** 2
    similarity = (2 * product + GMSD_CONSTANT) / (energy + GMSD_CONSTANT)
    counted = similarity.ravel() if mask is None else similarity[mask[::2, ::2]]
    if counted.size < 2:
        raise ShapeError("The mask has too few pixels for GMSD, a standard deviation over blocks of four.")
    return float(counted.std(ddof=1))


def _blocks(image: NDArray[np.float64]) -> NDArray[np.float64]:
    y, x = image.shape
    even = np.pad(image, ((0, y % 2), (0, x % 2)))
    means: NDArray[np.float64] = even.reshape(-(-y // 2), 2, -(-x // 2), 2).mean(axis=(1, 3))
    return means


def _prewitt(image: NDArray[np.float64]) -> NDArray[np.float64]:
    across = np.array([[1.0, 0.0, -1.0]] * 3) / 3
    parts = [ndimage.convolve(image, kernel, mode="constant") for kernel in (across, across.T)]
    return np.hypot(*parts)


def body_mask(reference: Image) -> Mask:
    """Pixels of the body: above Otsu's threshold of the reference, largest component, holes filled.

    Parameters
    ----------
    reference : ndarray, shape (y, x)
        Magnitude or HU.

    Raises
    ------
    IntensityError
        When every pixel has the same value.
    """
    magnitude = np.abs(reference) if np.iscomplexobj(reference) else reference
    if magnitude.min() == magnitude.max():
        raise IntensityError(
            f"Every pixel of the reference is {magnitude.flat[0]}, so no body can be separated from air. "
            "Choose a slice that shows some."
        )
    components = label(magnitude > threshold_otsu(magnitude), connectivity=1)
    largest = int(np.argmax(np.bincount(components.ravel())[1:])) + 1
    filled: Mask = ndimage.binary_fill_holes(components == largest)
    return filled


def data_range(reference: Image, modality: str) -> float:
    """Range that PSNR and SSIM refer to.

    Parameters
    ----------
    reference : ndarray, shape (z, y, x)
        The whole reference volume, so that all its slices share one range.
    modality : {"MR", "CT"}

    Returns
    -------
    float
        MR: largest magnitude of the volume; CT: 2000 HU.
    """
    if _known(modality) == "CT":
        return CT_WINDOW[1] - CT_WINDOW[0]
    largest = float(np.abs(reference).max())
    _check_range(largest)
    return largest


def prepare(image: Image, modality: str) -> NDArray[np.float64]:
    """Prepare an image for the metrics: MR magnitude; CT clipped to [-1000, 1000] HU."""
    if _known(modality) == "CT":
        if np.iscomplexobj(image):
            raise UnitError("A CT image is real Hounsfield units; got complex values.")
        return np.clip(np.asarray(image, np.float64), *CT_WINDOW)
    return np.abs(image).astype(np.float64)


def _known(modality: str) -> str:
    if modality not in ("MR", "CT"):
        raise UnitError(f"Metrics are defined for MR and CT; got modality {modality!r}.")
    return modality


def _check_range(value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise IntensityError(f"The data range must be positive and finite; got {value}.")


def _checked(image: Image, reference: Image, mask: Mask | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if image.shape != reference.shape or image.ndim != 2:
        raise ShapeError(f"Two slices (y, x) are compared; got shapes {image.shape} and {reference.shape}.")
    if mask is not None and (mask.shape != reference.shape or mask.dtype != np.bool_ or not mask.any()):
        raise ShapeError(
            f"The mask must be boolean, of shape {reference.shape} and not empty; "
            f"got {mask.dtype}, {mask.shape}, {np.count_nonzero(mask)} pixels."
        )
    if np.iscomplexobj(image) or np.iscomplexobj(reference):
        raise UnitError("Metrics compare real images; take the magnitude first, with prepare(image, 'MR').")
    for name, part in (("image", image), ("reference", reference)):
        if not np.isfinite(part).all():
            raise IntensityError(f"The {name} has NaN or infinite pixels, so no metric can be computed.")
    return image.astype(np.float64), reference.astype(np.float64)


def _relative_error(x: NDArray[np.float64], r: NDArray[np.float64]) -> float:
    size = _norm(r)
    if size == 0.0:
        raise IntensityError("The reference is zero (or flat) everywhere, so no error can be relative to it.")
    return _norm(x - r) / size


def _norm(x: NDArray[np.float64]) -> float:
    # NumPy's own norm is computed by BLAS, whose last digits depend on the number of threads.
    return math.sqrt(float(np.sum(np.square(x))))
