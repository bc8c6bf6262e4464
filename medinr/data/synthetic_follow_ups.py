"""Synthetic follow-ups: auxiliary scans simulated from single sessions, to train the auxiliary-input denoiser.

Between two visits position, slices and the patient's anatomy differ, and in public data few people are scanned twice.
So a scan, or another contrast of its session, is changed to resemble another visit: slices between its slices, a small
smooth displacement, noise, spots that are added or removed, another contrast and gain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, shift, spline_filter

from medinr.data.registration import Resampler, register_rigid
from medinr.errors import GeometryError, ManifestError
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.scan import read_scan
from medinr.priors.auxiliary_training import FollowUp
from medinr.priors.guided_filter import THROUGH_PLANE_MM
from medinr.volume import Affine, Volume
from medinr.workers import Workers

Array = NDArray[np.float64]

#: Standard deviations of displacements. Those that all auxiliary scans share, of the constant and of the varying part
#: alike: in the plane in pixels, through it in mm. That of each scan alone. That of another contrast of the same visit,
#: instead of these. The first three are multiplied by a number drawn from `DISPLACEMENT_SCALE`.
IN_PLANE, THROUGH, OWN, SAME_VISIT = 0.35, 0.3, 0.25, 0.1
DISPLACEMENT_SCALE = (0.3, 1.3)

#: No displacement is larger than this, in pixels or mm.
MAX_DISPLACEMENT = 2.0

#: Scans with slices thicker than this, in mm, are resampled to slices in between.
THICK_MM = 2.0

#: Slices beyond those used that still affect spline interpolation.
SPLINE_MARGIN = 4

#: Largest noise of an auxiliary scan, relative to its 99th percentile.
NOISE = 0.015

#: Mean number of spots that only one of two scans has, ranges of their radii in pixels and of their brightness.
SPOTS, RADII, BRIGHTNESS = 3, (1.5, 6.0), (0.1, 0.45)

#: Contrast of an auxiliary scan: largest logarithm of the power; standard deviation of the logarithm of the gain.
POWER, GAIN = 0.3, 0.12

#: Pixels around the body that are kept, as far as two windows of the linear fit reach; air beyond is of no use.
MARGIN = 12


@dataclass(frozen=True, eq=False)
class _Scan:
    """A scan of a session, and the motion from the first scan's coordinates to its own (None: not registered)."""

    row: ManifestRow
    volume: Volume
    matrix: Affine | None


def make_follow_ups(
    manifest: Manifest,
    *,
    split: str = "train",
    contrasts: Sequence[str] | None = None,
    per_scan: int = 5,
    variants: int = 2,
    limit: int = 100,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[FollowUp]:
    """Make synthetic follow-ups of a manifest's MR scans.

    The auxiliary scans are, in rotation, made from the same scan alone, from it and the session's others, and from
    these others only, registered; for a scan without others always from itself alone. Every follow-up is drawn from a
    generator of its own, so it does not depend on the other rows.

    Parameters
    ----------
    manifest : Manifest
    split : str
    contrasts : sequence of str, optional
        All when None.
    per_scan : int
        Slices of each scan, spread evenly over those its row names.
    variants : int
        Follow-ups of each slice.
    limit : int
        With many scans fewer slices of each are used, so that there are not many more follow-ups than this in total:
        training needs some 40 MB of memory for each.
    seed : int
    progress : callable, optional
        Called after every session with the number of sessions done and of all; by several threads.

    Returns
    -------
    list of FollowUp
        Cropped to the body and a margin.

    Raises
    ------
    ManifestError, IntensityError
        When a scan is missing, differs from its row or is unusable, or when there is none.
    """
    sessions: dict[tuple[str, str], list[ManifestRow]] = {}
    for row in manifest.select(split=split, modality="MR", contrast=contrasts):
        sessions.setdefault((row.subject, row.session), []).append(row)
    if not sessions:
        raise ManifestError(f"No row of the manifest is {split} MR, so no synthetic follow-up can be made.")
    scans = sum(len(rows) for rows in sessions.values())
    per_scan = max(1, min(per_scan, limit // (scans * variants)))

    done = itertools.count(1)

    def of_session(rows: Sequence[ManifestRow]) -> list[FollowUp]:
        follow_ups = list(_of_session(manifest, rows, per_scan, variants, seed))
        if progress is not None:
            progress(next(done), len(sessions))
        return follow_ups

    return [follow_up for follow_ups in Workers().map(of_session, [*sessions.values()]) for follow_up in follow_ups]


def _of_session(
    manifest: Manifest, rows: Sequence[ManifestRow], per_scan: int, variants: int, seed: int
) -> Iterator[FollowUp]:
    scans = _read_session(manifest, rows)
    for scan in scans:
        registered = {
            other.row.name: (Resampler(other.volume, scan.volume), other.matrix @ np.linalg.inv(scan.matrix))
            for other in scans
            if other is not scan and other.matrix is not None and scan.matrix is not None
        }
        usable = scan.row.slice_numbers(scan.volume.shape[0])
        count = min(per_scan, len(usable))
        for position in range(count):
            number = usable[(2 * position + 1) * len(usable) // (2 * count)]
            scan.volume.select([number]).require_usable(scan.row.path)
            target, body, slabs = _slabs(scan, number, registered)
            for variant in range(variants):
                generator = np.random.default_rng([seed, int(scan.row.sha256[:12], 16), number, variant])
                kind = (variant + position) % 3
                yield _follow_up(target, body, slabs, kind, scan.volume.spacing[2], generator)


def _read_session(manifest: Manifest, rows: Sequence[ManifestRow]) -> list[_Scan]:
    """Read the scans of a session and register the others to the first; single slices are not registered."""
    volumes = [read_scan(manifest.verify(row), series=row.series_number, modality="MR") for row in rows]
    for row, volume in zip(rows, volumes, strict=True):
        volume.require_finite(row.path)
    matrices = [np.eye(4), *(_register(volume, volumes[0]) for volume in volumes[1:])]
    return [_Scan(*parts) for parts in zip(rows, volumes, matrices, strict=True)]


def _register(moving: Volume, fixed: Volume) -> Affine | None:
    if min(moving.shape[0], fixed.shape[0]) == 1:
        return None
    try:
        return register_rigid(moving, fixed, same_visit=True).matrix
    except GeometryError:
        return None


def _slabs(
    scan: _Scan, number: int, registered: Mapping[str, tuple[Resampler, Affine]]
) -> tuple[Array, NDArray[np.bool_], list[Array]]:
    """A slice, scaled, its mask of tissue, and slabs ``(z, y, x)`` around it, all cropped to the body and a margin.

    The first slab is of the scan itself, the others are of the registered scans on its grid; the slice is in the middle
    of each.
    """
    image = np.abs(scan.volume.array[number]).astype(np.float64)
    target = image / _brightness(image)
    body = gaussian_filter(target, 2) > 0.1
    rows, columns = _body_region(body)
    reach = math.ceil((MAX_DISPLACEMENT + THROUGH_PLANE_MM) / scan.volume.spacing[2] + 0.5) + SPLINE_MARGIN
    numbers = np.clip(np.arange(number - reach, number + reach + 1), 0, scan.volume.shape[0] - 1)
    grid = _cropped(scan.volume.select(range(numbers[0], numbers[-1] + 1)), rows, columns)
    slabs = [np.abs(grid.array), *(resampler.onto(grid, matrix) for resampler, matrix in registered.values())]
    return target[rows, columns], body[rows, columns], [slab[numbers - numbers[0]].astype(np.float64) for slab in slabs]


def _body_region(body: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the body and its margin; all of them where there is no body."""
    pixels = np.argwhere(body if body.any() else ~body)
    first, last = pixels.min(axis=0), pixels.max(axis=0)
    rows, columns = (slice(max(0, low - MARGIN), high + MARGIN + 1) for low, high in zip(first, last, strict=True))
    return rows, columns


def _cropped(volume: Volume, rows: slice, columns: slice) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] += columns.start * affine[:3, 0] + rows.start * affine[:3, 1]
    return replace(volume, array=volume.array[:, rows, columns], affine=affine)


def _follow_up(
    target: Array,
    body: NDArray[np.bool_],
    slabs: Sequence[Array],
    kind: int,
    thickness: float,
    generator: np.random.Generator,
) -> FollowUp:
    """Make a follow-up of the middle slice of the first slab, of one of three kinds (`make_follow_ups`)."""
    others = range(1, len(slabs))
    selected = [0] if kind == 0 or not others else [0, *others] if kind == 1 else [*others]
    common = _displacement(target.shape, generator)
    auxiliary, slopes = [], []
    for number in selected:
        own = common + OWN * _displacement_scale(generator) * generator.standard_normal((3, 1, 1))
        if kind == 2 and number and generator.random() < 0.5:
            own = np.broadcast_to(SAME_VISIT * generator.standard_normal((3, 1, 1)), common.shape)
        own = own.clip(-MAX_DISPLACEMENT, MAX_DISPLACEMENT)
        planes = _resample_visit(slabs[number], thickness, own, generator)
        planes = _change_contrast(_add_spots(planes, body, generator), generator)
        auxiliary.append(planes[1])
        slopes.append((planes[2] - planes[0]) / 2)
    parts = (target, np.stack(auxiliary), np.stack(slopes))
    return FollowUp(*(torch.from_numpy(part.astype(np.float32)) for part in parts))


def _displacement_scale(generator: np.random.Generator) -> float:
    return float(generator.uniform(*DISPLACEMENT_SCALE))


def _displacement(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Displacement along (z, y, x), shape (3, y, x): in mm through the plane, in pixels within it."""
    parts = []
    scale = _displacement_scale(generator)
    for size in (THROUGH, IN_PLANE, IN_PLANE):
        varying = _smooth_field(shape, generator.uniform(12, 40), generator)
        parts.append(scale * size * (generator.standard_normal() + varying))
    return np.stack(parts)


def _smooth_field(shape: tuple[int, ...], width: float, generator: np.random.Generator) -> Array:
    """Gaussian random field of root mean square 1, smoothed by a Gaussian of a width in pixels."""
    field = gaussian_filter(generator.standard_normal(shape), width)
    return np.asarray(field / np.sqrt(np.mean(field**2)))


def _resample_visit(slab: Array, thickness: float, displacement: Array, generator: np.random.Generator) -> Array:
    """Resample the middle of a slab as another visit would: below, in and above the plane, shape (3, y, x)."""
    middle: float = len(slab) // 2
    if thickness > THICK_MM:
        # Resampled to slices in between and back to its plane: detail finer than the slices is lost.
        moved = generator.uniform(-0.5, 0.5)
        # The shift as a matrix over slices.
        between = shift(np.eye(len(slab)), (moved, 0), order=3, mode="nearest")
        slab, middle = np.tensordot(between, slab, axes=1), middle + moved
    level = generator.uniform(0, NOISE) * np.percentile(slab, 99)
    splines = spline_filter(slab + level * generator.standard_normal(slab.shape), order=3, mode="nearest")
    rows, columns = np.indices(slab.shape[1:], dtype=np.float64)
    through, along_y, along_x = displacement
    places = [
        [middle + (height + through) / thickness, rows + along_y, columns + along_x]
        for height in (-THROUGH_PLANE_MM, 0.0, THROUGH_PLANE_MM)
    ]
    planes = [map_coordinates(splines, place, order=3, mode="nearest", prefilter=False) for place in places]
    return np.maximum(planes, 0.0)


def _add_spots(planes: Array, body: NDArray[np.bool_], generator: np.random.Generator) -> Array:
    """Add elliptic spots with flat tops to tissue, brighter or darker than it."""
    top = np.percentile(planes[1], 99)
    tissue = np.argwhere(body)
    rows, columns = np.indices(body.shape)
    for _ in range(generator.poisson(SPOTS) if len(tissue) else 0):
        y, x = tissue[generator.integers(len(tissue))]
        radius, brightness = generator.uniform(*RADII), generator.uniform(*BRIGHTNESS) * generator.choice([-1, 1])
        wide = radius * generator.uniform(0.6, 1.6)
        planes = planes + brightness * top * np.exp(
            -((((rows - y) / radius) ** 2 + ((columns - x) / wide) ** 2) ** 2) / 2
        )
    return np.maximum(planes, 0.0)


def _change_contrast(planes: Array, generator: np.random.Generator) -> Array:
    """Scale to about 0 to 1, raise to a power and multiply by a smooth gain."""
    power = math.exp(generator.uniform(-POWER, POWER))
    gain = np.exp(GAIN * _smooth_field(planes.shape[1:], 40, generator))
    return np.asarray((planes / _brightness(planes[1])) ** power * gain)


def _brightness(image: Array) -> float:
    """99th percentile, or the brightest pixel where less than one in a hundred is tissue."""
    return float(np.percentile(image, 99)) or float(image.max()) or 1.0
