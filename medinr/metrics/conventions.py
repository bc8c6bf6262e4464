"""Metrics by the conventions of other toolkits, which give different numbers for the same images.

========== ====================== ==================================== ======================================
name       range                  SSIM                                 over slices
========== ====================== ==================================== ======================================
medinr     asked for              11x11 Gaussian, population variance  the mean over slices
fastmri    maximum of the volume  7x7 uniform, sample variance         one error per volume; SSIM: the mean
monai      asked for              11x11 Gaussian, population variance  the mean over slices
========== ====================== ==================================== ======================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from medinr.errors import ConfigError, ShapeError
from medinr.metrics import image_quality as metrics

CONVENTIONS = ("medinr", "fastmri", "monai")

Array = NDArray[Any]


def volume_metrics(
    images: Array,
    references: Array,
    convention: str = "medinr",
    *,
    data_range: float | None = None,
    complex_error: bool = False,
) -> dict[str, float]:
    """PSNR, SSIM and a relative error of a stack of slices, by a convention.

    Parameters
    ----------
    images, references : ndarray, shape (y, x) or (z, y, x)
        Complex images are compared by their magnitudes unless ``complex_error``.
    convention : {"medinr", "fastmri", "monai"}
    data_range : float, optional
        Required but for ``fastmri``, which takes the maximum of the reference volume by default.
    complex_error : bool
        PSNR and relative error of ``|x - r|``, so that errors of the phase count. SSIM is always that of the
        magnitudes.

    Returns
    -------
    dict
        ``psnr`` in dB, ``ssim``, ``nrmse``; for ``fastmri`` ``nmse`` in its place, which is squared.

    Raises
    ------
    ConfigError
        When the convention is unknown, or lacks a range.
    ShapeError
        When the stacks differ in shape.

    Notes
    -----
    fastMRI: Zbontar et al. 2018 (arXiv 1811.08839), section 5.2, and the ``evaluate.py`` of its repository.
    """
    if convention not in CONVENTIONS:
        raise ConfigError(f"Convention {convention!r} is not one of {', '.join(CONVENTIONS)}.")
    if images.shape != references.shape or images.ndim not in (2, 3):
        raise ShapeError(f"Two stacks (z, y, x) are compared; got shapes {images.shape} and {references.shape}.")
    x, r = (_magnitude(part.reshape(-1, *part.shape[-2:])) for part in (images, references))
    difference = x - r
    if complex_error:
        difference = np.abs(images.astype(np.complex128) - references).reshape(x.shape)
    if convention == "fastmri":
        peak = float(r.max()) if data_range is None else data_range
        similar = [structural_similarity(b, a, win_size=7, data_range=peak) for a, b in zip(x, r, strict=True)]
        return {
            "psnr": _decibels(np.square(difference).mean(), peak),
            "ssim": float(np.mean(similar)),
            "nmse": float(np.square(difference).sum() / np.square(r).sum()),
        }
    if data_range is None:
        raise ConfigError(
            f"Convention {convention!r} needs a data_range, such as metrics.data_range(volume, modality)."
        )
    ssim = _monai_ssim if convention == "monai" else metrics.ssim
    squared = np.square(difference).mean(axis=(1, 2))
    return {
        "psnr": float(np.mean([_decibels(error, data_range) for error in squared])),
        "ssim": float(np.mean([ssim(a, b, data_range) for a, b in zip(x, r, strict=True)])),
        "nrmse": float(np.mean(np.sqrt(squared / np.square(r).mean(axis=(1, 2))))),
    }


def _monai_ssim(image: Array, reference: Array, data_range: float) -> float:
    # Imported here because importing MONAI takes seconds, and only its own convention needs it.
    import torch
    from monai.metrics import SSIMMetric

    x, r = (torch.from_numpy(np.ascontiguousarray(part))[None, None] for part in (image, reference))
    return float(SSIMMetric(spatial_dims=2, data_range=data_range)(x, r).mean())


def _decibels(squared_error: Any, data_range: float) -> float:
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(data_range**2 / np.float64(squared_error)))


def _magnitude(image: Array) -> NDArray[np.float64]:
    return (np.abs(image) if np.iscomplexobj(image) else image).astype(np.float64)
