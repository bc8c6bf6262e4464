"""Whether a scan is like those that a model was trained on."""

from __future__ import annotations

import numpy as np
import torch

from medinr.errors import IntensityError
from medinr.models.model import Model
from medinr.noise.scan_noise import ScanNoise
from medinr.uncertainty.likeness import Likeness, as_trained
from medinr.volume import Volume

#: Slices that are compared, between these shares of the stack; the median of their scores counts.
SLICES, MIDDLE = 3, (0.3, 0.7)


@torch.no_grad()
def scan_likeness(volume: Volume, noise: ScanNoise, model: Model) -> Likeness | None:
    """Compare a scan with those that the model was trained on; None where nobody knows.

    The noise of the scan is removed before, as it would count as unknown structure.

    Parameters
    ----------
    volume : Volume
    noise : ScanNoise
    model : Model
    """
    family, prior = model.family, model.prior
    if family is None or prior is None or min(volume.shape[1:]) < 2:
        return None
    magnitudes = prior.for_magnitudes() if noise.kind != "gaussian" and volume.unit != "HU" else None
    count = len(volume.array)
    first, last = (share * (count - 1) for share in MIDDLE)
    found = []
    for place in np.unique(np.linspace(first, last, SLICES).round().astype(int)):
        image, scale = as_trained(volume.array[place], volume.unit)
        level = float(noise.sigma) / scale
        if level > 0:
            image = (magnitudes or prior).denoise(torch.from_numpy(image), level).numpy()
        try:
            found.append(family.likeness(image))
        except IntensityError:  # air alone
            continue
    return sorted(found, key=lambda one: one.score)[len(found) // 2] if found else None


def unlike_training(volume: Volume, noise: ScanNoise, model: Model) -> str:
    """Say how a scan differs from those that the model was trained on; empty where it does not, or nobody knows."""
    found = scan_likeness(volume, noise, model)
    return "" if found is None or found.passed else f"the scan is {found.words}: structure may be removed or invented"
