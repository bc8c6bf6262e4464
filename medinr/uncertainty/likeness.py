"""Whether an image is like the scans that a model was trained on: the out-of-distribution score.

The statistics of the training slices (`medinr.uncertainty.image_statistics`) have a mean and a covariance; the score of
an image is its Mahalanobis distance from them (Mahalanobis 1936), per statistic. What is usual is found by leaving
training subjects out, one after another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medinr.errors import IntensityError
from medinr.uncertainty.image_statistics import GROUPS, NAMES, Image, image_statistics
from medinr.units import attenuation_from_hu

Values = NDArray[np.float64]

#: Added to the standard deviations of the statistics: smaller differences do not matter.
SMALL = 0.05

#: How far correlations are shrunk towards none: slices are many and subjects few (Ledoit & Wolf 2004).
SHRINKAGE = 0.1

#: Share of the slices of subjects that were left out which are to pass, and fewest subjects.
PASSING, FEWEST_SUBJECTS = 0.95, 3


@dataclass(frozen=True)
class Likeness:
    """The score of an image.

    Attributes
    ----------
    score : float
        About 1 for images like the training scans.
    limit : float
        Of what is usual.
    unusual : str
        What is most unusual about the image, in words.
    """

    score: float
    limit: float
    unusual: str

    @property
    def passed(self) -> bool:
        """Whether the image is like the training scans."""
        return self.score <= self.limit

    @property
    def words(self) -> str:
        """The verdict for a reader."""
        usual = f"out-of-distribution score {self.score:.2f}, usual up to {self.limit:.2f}"
        if self.passed:
            return f"like the scans that the model was trained on ({usual})"
        return f"unlike the scans that the model was trained on ({usual}), mostly in the {self.unusual}"


@dataclass(frozen=True, eq=False)
class Family:
    """Statistics of the scans that a model was trained on.

    Attributes
    ----------
    mean, spread : ndarray, shape (statistics,)
    precision : ndarray, shape (statistics, statistics)
        Inverse of the shrunken correlations.
    limit : float
        Score that most slices of subjects that were left out stay below.
    """

    mean: Values
    spread: Values
    precision: Values
    limit: float

    def likeness(self, image: Image) -> Likeness:
        """Judge an image, scaled by `as_trained` (raises `IntensityError` when it is air alone)."""
        off = (image_statistics(image) - self.mean) / self.spread
        worst = NAMES[int(np.abs(off).argmax())]
        unusual = next(words for words, names in GROUPS.items() if worst in names)
        return Likeness(float(self._scores(off[None])[0]), self.limit, unusual)

    def facts(self) -> dict[str, Any]:
        """As plain numbers, for a model's card."""

        def rounded(values: Values) -> Any:
            return [rounded(row) if row.ndim else float(f"{row:.4g}") for row in values]

        return {
            "statistics": list(NAMES),
            "mean": rounded(self.mean),
            "spread": rounded(self.spread),
            "precision": rounded(self.precision),
            "limit": float(f"{self.limit:.4g}"),
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any] | None) -> Self | None:
        """Read them; None where a card has none, or those of another version."""
        if facts is None or facts["statistics"] != list(NAMES):
            return None
        mean, spread, precision = (np.array(facts[name], np.float64) for name in ("mean", "spread", "precision"))
        return cls(mean, spread, precision, float(facts["limit"]))

    def _scores(self, off: Values) -> Values:
        found: Values = np.sqrt(np.einsum("ij,jk,ik->i", off, self.precision, off) / off.shape[1])
        return found


def learn_family(images: Sequence[Image], subjects: Sequence[str]) -> Family | None:
    """Learn what is usual among training slices; None where they are of too few subjects to tell.

    Parameters
    ----------
    images : sequence of ndarray, each of shape (y, x)
        Scaled by `as_trained`; those of air alone are left out.
    subjects : sequence of str
        Of each image.
    """
    return family_of(*left_out_scores(images, subjects))


def family_of(scores: Mapping[str, Values], values: Values) -> Family | None:
    """What is usual, of what `left_out_scores` found; None where there are no scores."""
    if not scores:
        return None
    return _family(values, float(np.quantile(np.concatenate(list(scores.values())), PASSING)))


def left_out_scores(images: Sequence[Image], subjects: Sequence[str]) -> tuple[dict[str, Values], Values]:
    """Score the slices of each subject by those of all others.

    Parameters
    ----------
    images, subjects
        See `learn_family`.

    Returns
    -------
    dict of str to ndarray
        By subject; empty where there are fewer than `FEWEST_SUBJECTS`.
    ndarray, shape (images, statistics)
        Of all.
    """
    rows, whose = [], []
    for image, subject in zip(images, subjects, strict=True):
        try:
            rows.append(image_statistics(image))
        except IntensityError:
            continue
        whose.append(subject)
    values, names = np.array(rows), np.array(whose)
    scores = {}
    if len(set(whose)) >= FEWEST_SUBJECTS:
        for subject in sorted(set(whose)):
            others = _family(values[names != subject], 0.0)
            scores[subject] = others._scores((values[names == subject] - others.mean) / others.spread)
    return scores, values


def _family(values: Values, limit: float) -> Family:
    mean, spread = values.mean(axis=0), values.std(axis=0) + SMALL
    correlations = np.cov((values - mean) / spread, rowvar=False)
    shrunken = (1 - SHRINKAGE) * correlations + SHRINKAGE * np.eye(len(mean))
    return Family(mean, spread, np.asarray(np.linalg.inv(shrunken), np.float64), limit)


def as_trained(image: NDArray[Any], unit: str) -> tuple[Image, float]:
    """Scale an image as training slices are, and give its units per unit of that.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        Real or complex.
    unit : str
        Hounsfield units ("HU") become attenuation over that of water; of anything else the magnitude is divided by its
        99th percentile.
    """
    if unit == "HU":
        water = attenuation_from_hu(0.0)
        return np.maximum(np.asarray(attenuation_from_hu(image) / water, np.float32), np.float32(0)), 1000.0
    size = np.abs(image).astype(np.float32)
    level = float(np.percentile(size, 99)) or 1.0
    return size / np.float32(level), level
