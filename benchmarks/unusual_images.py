"""Images that are unlike the scans of a model: of other things, or with what goes wrong in a scanner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import skimage.data
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]

#: Photographs and drawings that ship with scikit-image and are seen in no training, beside those that are.
PHOTOGRAPHS = (
    *("astronaut", "brick", "camera", "cell", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field"),
    *("immunohistochemistry", "microaneurysms", "moon", "page", "retina", "rocket", "text", "clock"),
)


def photographs(count: int) -> list[Image]:
    """Grey photographs of at most 512 pixels a side, some of them upside down."""
    found = []
    for number in range(count):
        pixels = np.asarray(getattr(skimage.data, PHOTOGRAPHS[number % len(PHOTOGRAPHS)])(), np.float32)
        grey = pixels[..., :3].mean(axis=2) if pixels.ndim == 3 else pixels
        found.append(grey[:512, :512] if number < len(PHOTOGRAPHS) else grey[:512, :512][::-1])
    return found


def coarse(image: Image, rng: np.random.Generator) -> Image:
    """A third of the pixels per side."""
    return np.asarray(ndimage.zoom(image, 1 / 3, order=1), np.float32)


def enlarged(image: Image, rng: np.random.Generator) -> Image:
    """The middle, two and a half times as large."""
    y, x = image.shape
    return np.asarray(ndimage.zoom(image[y // 4 : 3 * y // 4, x // 4 : 3 * x // 4], 2.5, order=3), np.float32)


def ghosted(image: Image, rng: np.random.Generator) -> Image:
    """Two copies of 8 to 18 %, half to a fourth of the field of view away along the phase encoding."""
    strength, shift = rng.uniform(0.15, 0.35) / 2, len(image) // int(rng.integers(2, 5))
    return np.asarray(image + strength * (np.roll(image, shift, 0) + np.roll(image, -shift, 0)), np.float32)


def spiked(image: Image, rng: np.random.Generator) -> Image:
    """One sample of k-space larger by 10 to 30 % of the largest."""
    kspace = np.fft.fftshift(np.fft.fft2(image))
    ky, kx = (n // 2 + int(rng.integers(8, n // 4)) * int(rng.choice((-1, 1))) for n in image.shape)
    kspace[ky, kx] += np.abs(kspace).max() * rng.uniform(0.1, 0.3)
    return np.abs(np.fft.ifft2(np.fft.ifftshift(kspace))).astype(np.float32)


def metallic(image: Image, rng: np.random.Generator) -> Image:
    """A void with a bright rim on one side."""
    y, x = _places(image)
    at_y, at_x = rng.uniform(-0.4, 0.4, 2)
    distance, radius = np.hypot(y - at_y, x - at_x), rng.uniform(0.12, 0.25)
    void = np.where(distance < radius, 0.02, image)
    return np.asarray(void + 2.5 * np.exp(-(((distance - radius) / 0.03) ** 2)) * (x > at_x), np.float32)


def shaded(image: Image, rng: np.random.Generator) -> Image:
    """Brightness changes by e to the power 1.3 over half the image, in any direction."""
    y, x = _places(image)
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(image * np.exp(1.3 * (np.cos(angle) * x + np.sin(angle) * y)), np.float32)


#: What is done to usual slices, by name.
CHANGES: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "coarse grid": coarse,
    "enlarged": enlarged,
    "ghosts": ghosted,
    "spikes": spiked,
    "metal": metallic,
    "shading": shaded,
}


def changed(images: Sequence[Image], count: int) -> dict[str, list[Image]]:
    """So many of the images, drawn at random, changed in every way."""
    rng = np.random.default_rng(0)
    return {
        name: [change(images[number], rng) for number in rng.choice(len(images), count, replace=count > len(images))]
        for name, change in CHANGES.items()
    }


def _places(image: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns from -1 to 1."""
    y, x = (np.linspace(-1, 1, length) for length in image.shape)
    return y[:, None], x[None, :]
