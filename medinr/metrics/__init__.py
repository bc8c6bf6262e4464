"""Image quality against a reference, and the conventions of other toolkits."""

from medinr.metrics.image_quality import (
    body_mask,
    data_range,
    gmsd,
    hfen,
    nrmse,
    psnr,
    slice_metrics,
    ssim,
)

__all__ = ["body_mask", "data_range", "gmsd", "hfen", "nrmse", "psnr", "slice_metrics", "ssim"]
