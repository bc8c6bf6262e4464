"""Which planes of a volume are shown, as viewers show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.figures.before_after import PlaneView, before_after_figure, noise_figure
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume

#: Names of the files.
PICTURE, NOISE_PICTURE = "before_after.png", "noise.png"

#: Slices from which on planes across them are shown too, and the height in mm that they fill at least.
LEAST_SLICES, LEAST_HEIGHT = 8, 20.0

#: Values of the removed part in the histogram, at most.
_MOST_VALUES = 200_000

#: Directions of arrays as they are shown: slices from head to foot, rows to the back, columns to the patient's left.
_SHOWN = "IPL"
_OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "I": "S", "S": "I"}

_PLANES = ("axial", "coronal", "sagittal")


def write_pictures(
    out: Path,
    before: Volume,
    after: Volume,
    difference: NDArray[Any],
    title: str,
    labels: tuple[str, str, str],
    noise: ScanNoise,
    removed: NDArray[Any] | None,
) -> list[str]:
    """Draw the slice plane through the middle, and of a volume the planes across it, at one place of the patient.

    Beside it the noise, where there is something to draw.

    Parameters
    ----------
    out : Path
        Folder.
    before, after : Volume
        Of one field of view.
    difference : ndarray, shape (z, y, x)
        On the voxels of `after`.
    title : str
    labels : (str, str, str)
    noise : ScanNoise
        Of `before`.
    removed : ndarray, shape (z, y, x), optional
        What was removed at full effect; zeros were not treated.

    Returns
    -------
    list of str
        Names of the files.
    """
    views = plane_views(before, after, difference)
    before_after_figure(out / PICTURE, views, modality=after.modality, unit=after.unit, title=title, labels=labels)
    drawn = noise_picture(out / NOISE_PICTURE, before, noise, removed)
    return [PICTURE] if drawn is None else [PICTURE, NOISE_PICTURE]


def plane_views(before: Volume, after: Volume, difference: NDArray[Any]) -> list[PlaneView]:
    """Cut the planes."""
    deep = before.shape[0] >= LEAST_SLICES and before.shape[0] * before.spacing[2] >= LEAST_HEIGHT
    letters = after.axes[::-1]
    if len({frozenset((letter, _OPPOSITE[letter])) for letter in letters}) < 3 or not deep:
        middle = _middle(np.abs(difference).sum(axis=(1, 2)), after.shape[0])
        own = round((middle + 0.5) * before.shape[0] / after.shape[0] - 0.5)
        size = (after.shape[1] * after.spacing[1], after.shape[2] * after.spacing[0])
        slices = (before.array[own], after.array[middle], difference[middle])
        return [PlaneView(after.plane, *slices, size)]
    olds, news, parts = (_as_shown(array, letters) for array in (before.array, after.array, difference))
    lengths = np.array(after.shape) * np.array(after.spacing[::-1])
    mm = [float(lengths[axis]) for axis in _order(letters)]
    views = []
    for axis, name in enumerate(_PLANES):
        images = [np.take(array, array.shape[axis] // 2, axis) for array in (olds, news, parts)]
        rows, columns = (other for other in range(3) if other != axis)
        views.append(PlaneView(name, images[0], images[1], images[2], (mm[rows], mm[columns])))
    # The plane that the slices are acquired in comes first.
    return sorted(views, key=lambda view: view.name != after.plane)


def noise_picture(path: Path, volume: Volume, noise: ScanNoise, removed: NDArray[Any] | None) -> Path | None:
    """Draw the noise of a scan; None where there is nothing to draw.

    Parameters
    ----------
    path : Path
    volume : Volume
        The scan.
    noise : ScanNoise
    removed : ndarray, shape (z, y, x), optional
        What was removed at full effect; zeros were not treated.
    """
    middle = volume.shape[0] // 2
    standardised = None
    if removed is not None and noise.sigma > 0:
        real = removed.real if np.iscomplexobj(removed) else removed
        step = max(1, real.size // _MOST_VALUES)
        # A magnitude without signal is no normal noise: where the signal is above it.
        sigma = np.full(real.shape, noise.sigma, np.float32) if noise.sigma_map is None else noise.sigma_map
        bright = (np.abs(volume.array) > 3 * sigma) & (real != 0) if volume.unit != "HU" else real != 0
        values = real[bright][::step] / sigma[bright][::step]
        standardised = values if values.size else None
    return noise_figure(
        path,
        sigma_map=None if noise.sigma_map is None else noise.sigma_map[middle],
        autocorrelation=noise.autocorrelation,
        standardised=standardised,
        spacing=(volume.spacing[1], volume.spacing[0]),
        unit=volume.unit,
        title=f"Noise: sigma {noise.sigma:.4g} {volume.unit}, {noise.kind}",
    )


def _order(letters: tuple[str, ...]) -> list[int]:
    """Array axis that runs along each shown direction."""
    return [next(k for k, letter in enumerate(letters) if letter in (wanted, _OPPOSITE[wanted])) for wanted in _SHOWN]


def _as_shown(array: NDArray[Any], letters: tuple[str, ...]) -> NDArray[Any]:
    order = _order(letters)
    flipped = tuple(place for place, axis in enumerate(order) if letters[axis] != _SHOWN[place])
    return np.flip(array.transpose(order), flipped)


def _middle(weight: NDArray[Any], count: int) -> int:
    total = float(weight.sum())
    return min(count - 1, int(np.searchsorted(np.cumsum(weight), total / 2))) if total > 0 else count // 2
