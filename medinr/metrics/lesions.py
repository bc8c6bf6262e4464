"""Small lesions: inserted into a slice before it is measured, and looked for in what was made of the measurement.

A lesion counts as kept where the image has at least half of its contrast, and three times the noise around it. Where
none was inserted, a change of contrast as large counts as invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medinr.metrics.image_quality import Score

Image = NDArray[np.float32]
Labels = NDArray[np.int16]

#: Diameters in pixels, and contrasts relative to the level of the scan; each of them bright and dark.
DIAMETERS, CONTRASTS = (2, 4, 8), (0.03, 0.1, 0.3)

#: Places where nothing is inserted, of a lesion's size.
CONTROLS, CONTROL_DIAMETER = 12, 4

#: Pixels from place to place, around each that belong to it alone, and the width of the ring of its surroundings.
APART, RING = 16, 3

#: Share of the contrast that has to be kept, and over how much noise.
KEPT, OVER_NOISE = 0.5, 3.0

#: Lesions of the size and contrast that is counted apart.
COUNTED_APART = (4, 0.1)

#: Metrics, with their unit, and whether higher is better.
LESION_METRICS = {
    "lesions_kept": ("share", True),
    "lesions_kept_4px_10": ("share", True),
    "lesion_contrast": ("share", True),
    "lesions_invented": ("share", False),
}


@dataclass(frozen=True, eq=False)
class Lesions:
    """A slice with lesions.

    Attributes
    ----------
    image : ndarray, shape (y, x)
    labels : ndarray of int, shape (y, x)
        1, 2, ... on inserted lesions, in the order of `lesion_kinds`; -1, -2, ... on places without; 0 elsewhere.
    """

    image: Image
    labels: Labels


def lesion_kinds() -> list[tuple[int, float]]:
    """Diameter in pixels and signed contrast of the lesions, in the order of their labels."""
    return [(size, sign * contrast) for size, contrast, sign in product(DIAMETERS, CONTRASTS, (1, -1))]


def insert_lesions(image: Image, body: NDArray[np.bool_], level: float, seed: int) -> Lesions:
    """Insert round lesions with soft edges at random places inside the body, as many as there is room for.

    Parameters
    ----------
    image : ndarray, shape (y, x)
    body : ndarray of bool, shape (y, x)
    level : float
        Of the scan, that contrasts refer to.
    seed : int
    """
    rng = np.random.default_rng(seed)
    changed, labels = image.astype(np.float32), np.zeros(image.shape, np.int16)
    room = ndimage.binary_erosion(body, iterations=APART // 2)
    wanted = [(number, *kind) for number, kind in enumerate(lesion_kinds(), 1)]
    wanted += [(-number, CONTROL_DIAMETER, 0.0) for number in range(1, CONTROLS + 1)]
    y, x = np.indices(image.shape)
    # The order decides who finds room in a small body.
    for number, diameter, contrast in (wanted[at] for at in rng.permutation(len(wanted))):
        places = np.argwhere(room)
        if not len(places):
            break
        centre = places[rng.integers(len(places))]
        distance = np.hypot(y - centre[0], x - centre[1])
        inside = np.clip(diameter / 2 - distance + 0.5, 0.0, 1.0)
        changed += np.float32(contrast * level) * inside.astype(np.float32)
        labels[inside >= 0.5] = number
        room &= distance > APART
    return Lesions(changed, labels)


def lesion_scores(image: Image, reference: Image, without: Image, labels: Labels) -> list[Score]:
    """Judge an image by the lesions that it should show.

    Parameters
    ----------
    image, reference, without : ndarray, shape (y, x)
        What is judged, the slice with lesions, and without.
    labels : ndarray of int, shape (y, x)
        See `Lesions`.

    Returns
    -------
    list of Score
        `LESION_METRICS` of the slice; those without any lesion are left out.
    """
    found: dict[str, list[float]] = {metric: [] for metric in LESION_METRICS}
    kinds, others = lesion_kinds(), labels != 0
    for number in np.unique(labels[others]):
        lesion = labels == number
        ring = ndimage.binary_dilation(lesion, iterations=2 + RING) & ~ndimage.binary_dilation(lesion, iterations=2)
        ring &= ~others
        change = _contrast(image, lesion, ring) - _contrast(without, lesion, ring)
        noise = float((image - reference)[ring].std())
        seen = abs(change) >= OVER_NOISE * noise
        if number < 0:
            large = abs(change) >= KEPT * min(CONTRASTS) * float(np.percentile(without, 99))
            found["lesions_invented"].append(seen and large)
            continue
        share = change / (_contrast(reference, lesion, ring) - _contrast(without, lesion, ring))
        found["lesion_contrast"].append(share)
        found["lesions_kept"].append(share >= KEPT and seen)
        if (kinds[number - 1][0], abs(kinds[number - 1][1])) == COUNTED_APART:
            found["lesions_kept_4px_10"].append(share >= KEPT and seen)
    return [Score("slice", metric, float(np.mean(values))) for metric, values in found.items() if values]


def _contrast(image: Image, lesion: NDArray[np.bool_], ring: NDArray[np.bool_]) -> float:
    return float(image[lesion].mean(dtype=np.float64) - image[ring].mean(dtype=np.float64))
