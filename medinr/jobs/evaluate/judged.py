"""What the images of a case are compared with, and how they are scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medinr.jobs.evaluate.results import Case
from medinr.metrics.image_quality import Score, prepare, psnr, scores_of
from medinr.metrics.lesions import lesion_scores
from medinr.metrics.reference_noise import corrected_scores, scores_without_reference_noise
from medinr.metrics.repeats import with_bias
from medinr.noise.scan_noise import ScanNoise


@dataclass(frozen=True, eq=False)
class Judged:
    """A case and its reference.

    Attributes
    ----------
    case : Case
    reference : ndarray, shape (y, x)
    sigma : ndarray, shape (y, x), or None
        Of the noise whose bias a reference of repeats keeps; None for other references.
    without_lesions, lesions : ndarray, shape (y, x), or None
        Of a slice with inserted lesions: what it was before, and their labels (`medinr.metrics.lesions`).
    """

    case: Case
    reference: NDArray[np.float32]
    sigma: NDArray[np.float32] | None = None
    without_lesions: NDArray[np.float32] | None = None
    lesions: NDArray[np.float32] | None = None

    @property
    def of_repeats(self) -> bool:
        """Whether the reference is a mean of repeats."""
        return "coils" in self.case.reference_noise

    def compared(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """An image without the bias of magnitudes as it is compared: with the bias that the reference keeps."""
        coils = int(self.case.reference_noise.get("coils", 0))
        if self.sigma is None or coils == 0:
            return image
        kind = "rician" if coils == 1 else "chi"
        noise = ScanNoise(kind, float(self.sigma.max()), coils, self.sigma[None])
        return np.asarray(with_bias(image[None], noise)[0], np.float32)

    def scores(self, image: NDArray[np.float32]) -> list[Score]:
        """Every metric of an image that is as it is compared.

        The noise of a mean of other repeats is independent of what methods were given, so PSNR itself is without it.
        That of a scan from which the measurement was simulated is in the measurement too: PSNR counts it, and the
        corrected PSNR stands beside it.
        """
        case, noise = self.case, self.case.reference_noise
        if self.of_repeats:
            return scores_without_reference_noise(image, self.reference, case.peak, noise)
        scores = scores_of(image, self.reference, case.peak, case.metric_modality)
        if self.lesions is not None and self.without_lesions is not None:
            labels = np.rint(self.lesions).astype(np.int16)
            scores += lesion_scores(image, self.reference, self.without_lesions, labels)
        return scores + corrected_scores(scores, case.peak, noise) if noise else scores

    def psnr(self, image: NDArray[np.float32]) -> float:
        """PSNR of the slice in dB, as of `scores`."""
        if self.of_repeats:
            return self.scores(image)[0].value
        modality = self.case.metric_modality
        return psnr(prepare(image, modality), prepare(self.reference, modality), self.case.peak)
