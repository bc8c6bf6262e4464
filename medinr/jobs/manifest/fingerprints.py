"""Perceptual hashes of slices: a copy of a scan is found in another format, at another scale or size, or flipped.

A hash holds the signs of the lowest 16 x 16 cosine frequencies of a slice (Zauner, Implementation and benchmarking of
perceptual image hash functions, 2010), after what differs between copies is removed: background is cropped, grey
levels are replaced by their ranks, and the slice is brought to 64 x 64 pixels in standard orientation. Two hashes are
compared by the fraction of signs that differ: 0 for the same picture, 0.5 on average for unrelated ones.
docs/manifests.md has what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata
from skimage.filters import threshold_otsu
from skimage.measure import block_reduce
from skimage.transform import resize

from medinr.data.orient import standard_orientation
from medinr.volume import Volume

#: Scans with a smaller fraction of differing signs are copies. Measured: copies to 0.15, different persons from 0.26.
SAME_PICTURE = 0.16

#: Cosine frequencies along each axis; all but the constant one count.
_FREQUENCIES = 16
_BITS = _FREQUENCIES**2 - 1

#: Pixels along each side when the frequencies are computed.
_SIDE = 64

#: Slices are reduced to fewer pixels than twice this along each side before anything else.
_ENOUGH = 128

#: Slices of a scan that are hashed at most, and those of them that are searched for in another scan.
_MOST_SLICES = 96
_MOST_PROBES = 9

#: Part of the slices at either end that is not searched for: there is little to recognise.
_ENDS = 0.15

#: Part of Otsu's threshold above which a pixel is body, and of the longest row or column of body that counts.
_BODY = 0.4
_EDGE = 0.1

#: Smaller pictures hold nothing that can be recognised.
_SMALLEST = 8

#: Voxels of at most this ratio of sides may have been cut in any plane, so all three are hashed.
_NEARLY_CUBIC = 1.5

Bits = NDArray[np.uint8]
Signs = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Hashes of a scan's slices.

    Attributes
    ----------
    planes : dict of str to ndarray, shape (slices, 32), uint8
        By slice plane ("axial", "coronal", "sagittal"): the signs, packed.
    """

    planes: Mapping[str, Bits]

    def to_json(self) -> dict[str, str]:
        """Return it as texts."""
        return {plane: bits.tobytes().hex() for plane, bits in self.planes.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, str]) -> Fingerprint:
        """Read `to_json` back (raises ValueError when it is damaged)."""
        width = (_BITS + 7) // 8
        return cls(
            {plane: np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, width) for plane, text in content.items()}
        )


def fingerprint(volume: Volume) -> Fingerprint:
    """Hash the slices of a scan, up to 96 evenly spaced ones.

    Parameters
    ----------
    volume : Volume
        Of nearly cubic voxels, slices of all three planes are hashed: copies are often cut in another plane.

    Returns
    -------
    Fingerprint
        Without a plane where no slice holds a picture.
    """
    cubic = max(volume.spacing) <= _NEARLY_CUBIC * min(volume.spacing)
    planes: dict[str, Bits] = {}
    for axis in (2, 1, 0) if cubic and min(volume.shape) >= _SMALLEST else (2,):
        cut = _cut(volume, axis)
        hashes = [signs for picture in standard_orientation(cut).array if (signs := _signs(picture)) is not None]
        if hashes:
            planes.setdefault(cut.plane, np.packbits(np.stack(hashes), axis=1))
    return Fingerprint(planes)


def find_copies(
    fingerprints: Sequence[Fingerprint], progress: Callable[[int], None] | None = None
) -> list[tuple[int, int, float]]:
    """Find pairs of scans of which one holds the slices of the other.

    Slices of each scan are searched for in all others, flipped and transposed too; half of them have to be found.

    Parameters
    ----------
    fingerprints : sequence of Fingerprint
    progress : callable, optional
        Called with the number of scans that were searched for.

    Returns
    -------
    list of (int, int, float)
        Numbers of the two scans, the smaller first, and their distance, below `SAME_PICTURE`; nearest first.
    """
    nearest: dict[tuple[int, int], float] = {}
    search = {plane: _Search(fingerprints, plane) for plane in sorted({p for one in fingerprints for p in one.planes})}
    for number, one in enumerate(fingerprints):
        for plane in one.planes:
            for other, distance in search[plane].near(number):
                pair = min(number, other), max(number, other)
                nearest[pair] = min(distance, nearest.get(pair, 1.0))
        if progress is not None:
            progress(number + 1)
    return sorted(((a, b, distance) for (a, b), distance in nearest.items()), key=lambda found: (found[2], found[:2]))


class _Search:
    """Slices of all scans in one plane."""

    def __init__(self, fingerprints: Sequence[Fingerprint], plane: str) -> None:
        self.scans = [number for number, one in enumerate(fingerprints) if plane in one.planes]
        self.signs = {number: _unpacked(fingerprints[number].planes[plane]) for number in self.scans}
        self.stacked = np.concatenate([self.signs[number] for number in self.scans])
        self.starts = np.cumsum([0, *(len(self.signs[number]) for number in self.scans[:-1])])

    def near(self, number: int) -> Iterator[tuple[int, float]]:
        """Other scans in which slices of this one are found, with their distance."""
        probes = np.stack(list(_orientations(_probes(self.signs[number]))))
        orientations, count, bits = probes.shape
        alike = probes.reshape(-1, bits) @ self.stacked.T
        best = np.maximum.reduceat(alike, self.starts, axis=1).reshape(orientations, count, -1)
        distances = np.median((_BITS - best) / (2 * _BITS), axis=1).min(axis=0)
        for other, distance in zip(self.scans, distances, strict=True):
            if other != number and distance < SAME_PICTURE:
                yield other, float(distance)


def _cut(volume: Volume, axis: int) -> Volume:
    """Up to `_MOST_SLICES` slices across a voxel axis (x is 0); only their orientation is right, not their places."""
    count = volume.shape[2 - axis]
    chosen = np.unique(np.rint(np.linspace(0, count - 1, min(count, _MOST_SLICES))).astype(int))
    array: Any = np.moveaxis(np.take(volume.array, chosen, axis=2 - axis), 2 - axis, 0)
    order = [other for other in range(3) if other != axis] + [axis, 3]
    return replace(volume, array=np.ascontiguousarray(array), affine=volume.affine[:, order])


def _signs(picture: NDArray[np.float32] | NDArray[np.complex64]) -> NDArray[np.bool_] | None:
    image = np.nan_to_num(np.abs(picture) if np.iscomplexobj(picture) else picture, posinf=0.0, neginf=0.0)
    image = image.astype(np.float64)
    blocks = tuple(max(1, size // _ENOUGH) for size in image.shape)
    image = block_reduce(image, blocks, np.mean, cval=float(image.min())) if max(blocks) > 1 else image
    for _ in range(2):
        # Otsu's threshold depends on how much background there is, so it is found again in the crop.
        scaled = _scaled(image)
        if scaled is None:
            return None
        smooth = gaussian_filter(scaled, max(image.shape) / 128)
        body = smooth > _BODY * threshold_otsu(smooth, nbins=64)
        box = _box(body)
        if box is None:
            return None
        image, scaled, level = image[box], scaled[box], _BODY * threshold_otsu(smooth, nbins=64)
    small = resize(scaled, (_SIDE, _SIDE), order=1, mode="edge", anti_aliasing=True)
    inside = gaussian_filter(small, 0.5) > level
    if not inside.any():
        return None
    ranks = np.zeros_like(small)
    ranks[inside] = 0.5 + rankdata(small[inside]) / inside.sum()
    waves = dctn(ranks, norm="ortho")[:_FREQUENCIES, :_FREQUENCIES]
    return (waves > 0).ravel()[1:]


def _scaled(image: NDArray[np.float64]) -> NDArray[np.float64] | None:
    low, high = float(image.min()), float(np.percentile(image, 99.5))
    if not high > low:
        return None
    scaled = np.clip((image - low) / (high - low), 0, 1)
    # Some systems give single pixels out of thousands another value: such a slice holds no picture.
    return scaled if np.ptp(scaled) > 0 else None


def _box(body: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    if not body.any():
        return None
    sides = []
    for axis in (1, 0):
        extent = body.sum(axis=axis)
        inside = np.flatnonzero(extent > _EDGE * extent.max())
        if inside[-1] + 1 - inside[0] < _SMALLEST:
            return None
        sides.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return sides[0], sides[1]


def _unpacked(bits: Bits) -> Signs:
    signs: Signs = np.unpackbits(bits, axis=1, count=_BITS).astype(np.float32) * 2 - 1
    return signs


def _probes(signs: Signs) -> Signs:
    last = len(signs) - 1
    count = min(len(signs), _MOST_PROBES)
    chosen: Signs = signs[np.unique(np.rint(np.linspace(_ENDS * last, (1 - _ENDS) * last, count)).astype(int))]
    return chosen


def _orientations(signs: Signs) -> Iterator[Signs]:
    """Hashes of the flipped and transposed pictures: a flip changes the signs of odd frequencies."""
    alternating = (-1.0) ** np.arange(_FREQUENCIES)
    waves = np.concatenate([np.zeros((len(signs), 1), np.float32), signs], axis=1)
    waves = waves.reshape(-1, _FREQUENCIES, _FREQUENCIES)
    for rows in (np.ones(_FREQUENCIES), alternating):
        for columns in (np.ones(_FREQUENCIES), alternating):
            flipped = (waves * np.outer(rows, columns)).astype(np.float32)
            for picture in (flipped, flipped.transpose(0, 2, 1)):
                yield picture.reshape(len(signs), -1)[:, 1:]
