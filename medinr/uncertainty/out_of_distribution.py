"""Out-of-distribution score: whether an image is like the scans that its denoiser was trained on.

A denoiser separates noise from structure that is like its training scans, and mistakes other structure for noise. Its
squared error, integrated over all noise levels, gives the negative log-likelihood of the image under the prior (Guo,
Shamai & Verdú 2005, eq. 1; Kong, Brekelmans & Ver Steeg, ICLR 2023, eq. 8). So noise is added to the image, and the
error of the denoised image, in units of that noise, is the score. The scores of the training scans give its usual
range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medinr.errors import IntensityError
from medinr.priors.denoiser_prior import DenoiserPrior

#: Standard deviations of the noise that is added, for images scaled to about 0 to 1.
LEVELS = (0.03, 0.1)

#: Pixels count as air and are left out where the mean over a window of `AIR_WINDOW` pixels a side is below `AIR`.
AIR, AIR_WINDOW = 0.05, 9


@dataclass(frozen=True)
class OutOfDistribution:
    """The score of an image, and the range of scores of the scans that the denoiser was trained on.

    Attributes
    ----------
    score : float
        See `out_of_distribution_score`.
    low, high : float
        Range of the training slices, see `score_range`.
    """

    score: float
    low: float
    high: float

    @property
    def warning(self) -> str:
        """Warning for a reader; empty when the score lies in the range of the training slices."""
        usual = f"{self.score:.3f}, of the training scans {self.low:.3f} to {self.high:.3f}"
        if self.score > self.high:
            return (
                f"This image looks unlike the scans the model was trained on (out-of-distribution score {usual}). "
                "Structure that the measurement did not determine may be invented or missing, and the uncertainty may "
                "be too small."
            )
        if self.score < self.low:
            return (
                "This image has less structure than the scans the model was trained on (out-of-distribution score "
                f"{usual}). It is of another kind, or was smoothed; the uncertainty may be too small."
            )
        return ""


@torch.no_grad()
def out_of_distribution_score(image: Tensor, prior: DenoiserPrior, seed: int = 0) -> float:
    """Compute the error of denoising the image with added noise, relative to that noise.

    Geometric mean over `LEVELS` of ``rms(D(x + s n, s) - x) / s`` over pixels that are not air: about 0 for images like
    the training scans, 1 for images like noise.

    Parameters
    ----------
    image : Tensor, shape (y, x)
        Real (of MR the magnitude), scaled to about 0 to 1 as for training.
    prior : DenoiserPrior
    seed : int
        For the noise.

    Returns
    -------
    float

    Raises
    ------
    IntensityError
        When the whole image is air.
    """
    around = functional.avg_pool2d(image[None, None], AIR_WINDOW, 1, AIR_WINDOW // 2, count_include_pad=False)[0, 0]
    body = around > AIR
    if not bool(body.any()):
        raise IntensityError(f"All of the image is darker than {AIR} of its scale; there is nothing to compare.")
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for level in LEVELS:
        noise = torch.randn(image.shape, generator=generator, dtype=image.dtype).to(image.device)
        error = prior.denoise(image + level * noise, level) - image
        total += math.log(float(error[body].square().mean().sqrt()) / level)
    return math.exp(total / len(LEVELS))


def score_range(images: Sequence[Tensor], prior: DenoiserPrior, margin: float = 0.1) -> tuple[float, float]:
    """Range of the scores of training slices: lowest to highest, and a margin on either side.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (y, x)
        Training slices, scaled; those of air only are left out.
    prior : DenoiserPrior
    margin : float
        As a fraction.

    Returns
    -------
    low, high : float

    Raises
    ------
    IntensityError
        When all slices are air.
    """
    values = []
    for number, image in enumerate(images):
        try:
            values.append(out_of_distribution_score(image, prior, number))
        except IntensityError:
            continue
    if not values:
        raise IntensityError(f"None of {len(images)} slices is brighter than {AIR} of its scale anywhere.")
    return min(values) * (1 - margin), max(values) * (1 + margin)
