"""Whether an image looks like the scans its prior was trained on.

A denoiser removes noise from what it knows, and takes detail for noise in what it does not know: its squared error
over all noise levels adds up to the negative log-likelihood of the image under the prior (Guo, Shamai & Verdú 2005,
eq. 1; Kong, Brekelmans & Ver Steeg, ICLR 2023, eq. 8). So noise is added to the image, and what is wrong with the
denoised image, in units of that noise, says how *surprising* the image is. The training scans say how surprising an
image usually is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medinr.errors import IntensityError
from medinr.prior.local import LocalPrior

#: Levels of the noise that is added, for images scaled to about 0 to 1.
LEVELS = (0.03, 0.1)

#: Pixels whose surroundings, so many pixels wide, are darker than this are air; everybody finds air easy.
AIR, AROUND = 0.05, 9


@dataclass(frozen=True)
class Familiarity:
    """How surprising an image is to a prior, beside the training scans.

    Attributes
    ----------
    surprise : float
        See `surprise`.
    low, high : float
        Those of the training slices lie between them.
    """

    surprise: float
    low: float
    high: float

    @property
    def warning(self) -> str:
        """What a reader should know, in words; empty when the image is as familiar as a training slice."""
        usual = f"{self.surprise:.3f}, of the training scans {self.low:.3f} to {self.high:.3f}"
        if self.surprise > self.high:
            return (
                f"This image looks unlike the scans the prior was trained on (surprise {usual}). Structure that the "
                "measurement did not decide may be invented or missing, and the uncertainty may be too small."
            )
        if self.surprise < self.low:
            return (
                f"This image has less structure than the scans the prior was trained on (surprise {usual}). It is of "
                "another kind, or was smoothed; the uncertainty may be too small."
            )
        return ""


@torch.no_grad()
def surprise(image: Tensor, prior: LocalPrior, seed: int = 0) -> float:
    """Error of denoising the image itself, over the noise: about 0 for what is foreseen, 1 for what is not.

    Geometric mean over `LEVELS` of ``rms(D(x + s n, s) - x) / s`` over pixels that are not air.

    Parameters
    ----------
    image : Tensor, shape (y, x)
        Real (of MR the magnitude), scaled to about 0 to 1 as for training.
    prior : LocalPrior
    seed : int
        Of the noise.

    Raises
    ------
    IntensityError
        When there is nothing but air.
    """
    around = functional.avg_pool2d(image[None, None], AROUND, 1, AROUND // 2, count_include_pad=False)[0, 0]
    body = around > AIR
    if not bool(body.any()):
        raise IntensityError(f"All of the image is darker than {AIR} of its scale; there is nothing to be compared.")
    generator = torch.Generator().manual_seed(seed)
    total = 0.0
    for level in LEVELS:
        noise = torch.randn(image.shape, generator=generator, dtype=image.dtype).to(image.device)
        wrong = prior.denoise(image + level * noise, level) - image
        total += math.log(float(wrong[body].square().mean().sqrt()) / level)
    return math.exp(total / len(LEVELS))


def surprise_range(images: Sequence[Tensor], prior: LocalPrior, margin: float = 0.1) -> tuple[float, float]:
    """Between which values the surprise of familiar slices lies: lowest to highest, and a margin on either side.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (y, x)
        Training slices, scaled; those of nothing but air are left out.
    prior : LocalPrior
    margin : float
        As a fraction.

    Raises
    ------
    IntensityError
        When no slice shows anything but air.
    """
    values = []
    for number, image in enumerate(images):
        try:
            values.append(surprise(image, prior, number))
        except IntensityError:
            continue
    if not values:
        raise IntensityError(f"None of {len(images)} slices is brighter than {AIR} of its scale anywhere.")
    return min(values) * (1 - margin), max(values) * (1 + margin)
