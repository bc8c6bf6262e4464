"""Pictures of a page: whole numbers on one scale per case, so that the reader can choose window and level.

The images of a case share one affine scale: code ``c`` of a picture with ``n`` levels stands for
``low + c (high - low) / (n - 1)``. The codes are predicted from their left, upper and upper left neighbours (the
median predictor of LOCO-I: Weinberger, Seroussi & Sapiro 2000, eq. 1). The prediction errors are interleaved to whole
numbers, split into a plane of low and one of high bytes, and deflated. A browser decodes that without a library. A PNG
would give back 8 bits only, and changed ones in browsers that perturb what is read from a canvas.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medinr.errors import ShapeError
from medinr.figures.comparison import CT_WINDOWS, ERROR_FRACTION

Image = NDArray[np.floating]
Codes = NDArray[np.integer]

#: Levels of a picture, tried in this order until the page fits its budget: 12 to 8 bits.
LEVELS = (4096, 2048, 1024, 512, 256)

#: Levels of a picture of uncertainty, whose window cannot be changed.
UNCERTAINTY_LEVELS = 256

#: A method that overshoots the reference by more than this share of the reference's range is clipped there.
HEADROOM = 0.5

#: Name under which the reference stands among the images of a case, and the prefix of uncertainty maps.
REFERENCE, UNCERTAINTY = "reference", "uncertainty."


@dataclass(frozen=True)
class Budget:
    """How much of the page the pictures may take.

    Attributes
    ----------
    megabytes : float
        Of encoded pictures, 10^6 bytes.
    """

    megabytes: float = 13.0


@dataclass(frozen=True)
class Scale:
    """What the codes of a picture mean.

    Attributes
    ----------
    low, high : float
        Values of the first and of the last code, in the unit of the image.
    levels : int
        Number of codes.
    """

    low: float
    high: float
    levels: int

    @property
    def step(self) -> float:
        """Distance of two neighbouring codes, in the unit of the image."""
        return (self.high - self.low) / (self.levels - 1)


@dataclass(frozen=True)
class Window:
    """Initial display of a picture: the values of black and white, and the half-width of the scale of differences."""

    low: float
    high: float

    @property
    def error(self) -> float:
        """Half-width of the difference scale: a fixed share of the window, however good a method is."""
        return ERROR_FRACTION * (self.high - self.low)


def case_scale(images: Mapping[str, Image], levels: int) -> Scale:
    """Choose the scale on which all images of a case are encoded.

    It spans the values of the images, but no more than half the reference's range beyond the reference.

    Raises
    ------
    ShapeError
        When there is no reference, or an image has another shape.
    """
    if REFERENCE not in images:
        raise ShapeError(f"A case needs an image {REFERENCE!r}; got {', '.join(images) or 'none'}. Evaluate it again.")
    reference = _finite(images[REFERENCE])
    for name, image in images.items():
        if image.shape != images[REFERENCE].shape or image.ndim != 2:
            raise ShapeError(f"Images of a case are (y, x), {images[REFERENCE].shape}; {name} has {image.shape}.")
    room = HEADROOM * (float(reference.max()) - float(reference.min()) or 1.0)
    found = [_finite(image) for image in images.values()]
    low = max(min(float(image.min()) for image in found), float(reference.min()) - room)
    high = min(max(float(image.max()) for image in found), float(reference.max()) + room)
    return Scale(low, high if high > low else low + 1.0, levels)


def first_window(reference: Image, modality: str) -> Window:
    """Choose the grey window a picture opens with: CT chest; MR from 0 to the 99.8th percentile."""
    if modality == "CT":
        return Window(*CT_WINDOWS["chest"])
    high = float(np.percentile(_finite(reference), 99.8))
    return Window(0.0, high if high > 0 else 1.0)


def quantise(image: Image, scale: Scale) -> NDArray[np.uint16]:
    """Round an image to the codes of a scale; what is not finite becomes the lowest."""
    with np.errstate(invalid="ignore"):
        codes = np.round((image.astype(np.float64) - scale.low) / scale.step)
    codes = np.nan_to_num(codes, nan=0.0, posinf=scale.levels - 1, neginf=0.0)
    return np.clip(codes, 0, scale.levels - 1).astype(np.uint16)


def encode(codes: NDArray[np.uint16]) -> str:
    """Predict, deflate and write as base64 (see the module).

    Parameters
    ----------
    codes : ndarray of uint16, shape (y, x)
        Below 32768.
    """
    error = codes.astype(np.int32) - _predicted(codes.astype(np.int32))
    whole = ((error << 1) ^ (error >> 31)).astype("<u2").ravel()
    planes = np.concatenate([(whole & 255).astype(np.uint8), (whole >> 8).astype(np.uint8)])
    return base64.b64encode(zlib.compress(planes.tobytes(), 7)).decode("ascii")


def decode(text: str, shape: tuple[int, int]) -> NDArray[np.uint16]:
    """Undo `encode`, as the page does (the same loop is in ``assets/decode.js``)."""
    rows, columns = shape
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(2, rows, columns).astype(int)
    whole = planes[0] | planes[1] << 8
    error = (whole >> 1) ^ -(whole & 1)
    codes = np.zeros((rows, columns), np.int64)
    for y in range(rows):
        for x in range(columns):
            left = codes[y, x - 1] if x else (codes[y - 1, x] if y else 0)
            above = codes[y - 1, x] if y else left
            corner = codes[y - 1, x - 1] if x and y else (above if y else left)
            low, high = min(left, above), max(left, above)
            guess = low if corner >= high else high if corner <= low else left + above - corner
            codes[y, x] = guess + error[y, x]
    return codes.astype(np.uint16)


def encode_case(images: Mapping[str, Image], levels: int) -> tuple[Scale, Scale | None, dict[str, str]]:
    """Encode all images of a case: the images on one scale, their uncertainties on another.

    Returns
    -------
    scale : Scale
        Of the reference and every method.
    uncertainty : Scale or None
        Of the uncertainty maps, from 0; None without any.
    texts : dict of str
        Base64 by name.
    """
    grey = {name: image for name, image in images.items() if not name.startswith(UNCERTAINTY)}
    uncertainties = {name: image for name, image in images.items() if name.startswith(UNCERTAINTY)}
    scale = case_scale(grey, levels)
    texts = {name: encode(quantise(image, scale)) for name, image in grey.items()}
    if not uncertainties:
        return scale, None, texts
    top = max(float(np.percentile(_finite(image), 99.5)) for image in uncertainties.values())
    uncertainty = Scale(0.0, top if top > 0 else 1.0, UNCERTAINTY_LEVELS)
    return (
        scale,
        uncertainty,
        texts | {name: encode(quantise(image, uncertainty)) for name, image in uncertainties.items()},
    )


def choose_levels(samples: Sequence[Mapping[str, Image]], cases: int, budget: Budget) -> tuple[int, int]:
    """Find how many levels, and how many cases, fit the budget, from the size of a few cases.

    Returns
    -------
    levels : int
        One of `LEVELS`.
    count : int
        How many cases to show; fewer than `cases` only when the fewest levels do not suffice.
    """
    size = 0.0
    for levels in LEVELS:
        sizes = [sum(map(len, encode_case(images, levels)[2].values())) for images in samples]
        size = float(np.mean(sizes))
        if size * cases <= budget.megabytes * 1e6:
            return levels, cases
    return LEVELS[-1], max(1, int(budget.megabytes * 1e6 / size))


def _predicted(codes: NDArray[np.int32]) -> NDArray[np.int32]:
    left, above, corner = (np.zeros_like(codes) for _ in range(3))
    left[:, 1:], above[1:], corner[1:, 1:] = codes[:, :-1], codes[:-1], codes[:-1, :-1]
    # At the border the neighbour that exists replaces those that do not.
    left[1:, 0], above[0] = codes[:-1, 0], left[0]
    corner[0], corner[1:, 0] = left[0], above[1:, 0]
    low, high = np.minimum(left, above), np.maximum(left, above)
    return np.where(corner >= high, low, np.where(corner <= low, high, left + above - corner))


def _finite(image: Image) -> Image:
    found = image[np.isfinite(image)]
    return found if found.size else np.zeros(1)
