"""Whether a scan is like those that a model was trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from medinr.errors import IntensityError
from medinr.models.model import Model
from medinr.noise.scan_noise import ScanNoise
from medinr.uncertainty.out_of_distribution import out_of_distribution_score
from medinr.units import attenuation_from_hu
from medinr.volume import Volume

#: Slices that are compared, between these shares of the stack; the median of their scores counts.
SLICES, MIDDLE = 3, (0.3, 0.7)


@torch.no_grad()
def unlike_training(volume: Volume, noise: ScanNoise, model: Model) -> str:
    """Say how a scan differs from those that the model was trained on; empty where it does not, or nobody knows.

    The noise of the scan is removed before, as it would count as unknown structure.

    Parameters
    ----------
    volume : Volume
    noise : ScanNoise
    model : Model
    """
    known = model.card.results.get("out_of_distribution_score") if model.card is not None else None
    if model.prior is None or known is None or min(volume.shape[1:]) < 2:
        return ""
    prior = model.prior
    magnitudes = prior.for_magnitudes() if noise.kind != "gaussian" and volume.unit != "HU" else None
    count = len(volume.array)
    first, last = (share * (count - 1) for share in MIDDLE)
    places = np.unique(np.linspace(first, last, SLICES).round().astype(int))
    scores = []
    for place in places:
        image, scale = _as_trained(volume, int(place))
        level = float(noise.sigma) / scale
        clean = (magnitudes or prior).denoise(image, level) if level > 0 else image
        try:
            scores.append(out_of_distribution_score(clean, prior))
        except IntensityError:  # air alone
            continue
    if not scores:
        return ""
    low, high = known
    score = float(np.median(scores))
    if score > high:
        return (
            f"the scan looks unlike those that the model was trained on (out-of-distribution score {score:.3f}, of the "
            f"training scans {low:.3f} to {high:.3f}): structure may be removed or invented"
        )
    if score < low:
        return (
            f"the scan has less structure than those that the model was trained on (out-of-distribution score "
            f"{score:.3f}, of the training scans {low:.3f} to {high:.3f}): it is of another kind, or was smoothed"
        )
    return ""


def _as_trained(volume: Volume, number: int) -> tuple[Tensor, float]:
    """A slice scaled as training slices are, and scan units per unit of it."""
    plane = volume.array[number]
    if volume.unit == "HU":
        water = attenuation_from_hu(0.0)
        values = np.asarray(attenuation_from_hu(plane) / water, np.float32)
        return torch.from_numpy(values).clamp_min(0.0), 1000.0
    size = np.abs(plane).astype(np.float32)
    level = float(np.percentile(size, 99)) or 1.0
    return torch.from_numpy(size / np.float32(level)), level
