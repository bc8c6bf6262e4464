"""Earlier exams, made up from single ones: what a denoiser learns from to hear companions.

Nobody is laid down twice alike, cut into the same slices, or quite the same after a year; few people are scanned twice
in public data. So a scan, or another contrast of its session, is made to look like another visit: slices between its
slices, displaced a little and smoothly, with noise, spots that are there or gone, another contrast and gain.
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

from medinr.data.rigid import Resampler, register_rigid
from medinr.errors import GeometryError, ManifestError
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.scan import read_scan
from medinr.prior.listener import Exam
from medinr.prior.straight_lines import THROUGH_MM
from medinr.volume import Affine, Volume
from medinr.workers import Workers

Array = NDArray[np.float64]

#: Standard deviation of displacements that all companions share, constant and varying alike: in the plane in pixels,
#: through it in mm; of what each has of its own; of that of another contrast of the same visit. Times `STRENGTH`.
IN_PLANE, THROUGH, OWN, SAME_VISIT = 0.35, 0.3, 0.25, 0.1
STRENGTH = (0.3, 1.3)

#: No displacement is larger than this, in pixels or mm.
MOST = 2.0

#: Slices at least so thick, in mm, are cut anew somewhere between.
THICK_MM = 2.0

#: Slices by which splines forget what lies beyond.
BEYOND = 4

#: Noise of an exam at most, of its 99th percentile.
NOISE = 0.015

#: Spots on average that one exam has and the other has not, their radii in pixels and brightness.
SPOTS, RADII, BRIGHTNESS = 3, (1.5, 6.0), (0.1, 0.45)

#: Contrast of an exam: logarithm of the power at most; standard deviation of the logarithm of the gain.
POWER, GAIN = 0.3, 0.12

#: Pixels around the body that are kept; air beyond teaches nothing. Two windows of straight lines reach this far.
MARGIN = 12


@dataclass(frozen=True, eq=False)
class _Scan:
    """A scan of a session, and where the session's first scan lies in it (None: it was not found)."""

    row: ManifestRow
    volume: Volume
    matrix: Affine | None


def make_exams(
    manifest: Manifest,
    *,
    split: str = "train",
    contrasts: Sequence[str] | None = None,
    per_scan: int = 5,
    variants: int = 2,
    limit: int = 100,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Exam]:
    """Make up earlier exams of a manifest's MR scans.

    In turns the same scan alone is the companion, it and the session's others, and these others only, registered; of
    a scan that has none, it alone. Every exam is drawn from a generator of its own, whatever the others are.

    Parameters
    ----------
    manifest : Manifest
    split : str
    contrasts : sequence of str, optional
        All when None.
    per_scan : int
        Slices of each scan, spread evenly over those its row names.
    variants : int
        Exams of each slice.
    limit : int
        Of many scans fewer slices each are taken, so that there are not many more exams than this in all: learning
        from one keeps some 40 MB.
    seed : int
    progress : callable, optional
        Called after every session with the sessions done and how many there are; by several threads.

    Returns
    -------
    list of Exam
        Cut to the body and a margin.

    Raises
    ------
    ManifestError, IntensityError
        When a scan is missing, another than described or unusable, or there is none.
    """
    sessions: dict[tuple[str, str], list[ManifestRow]] = {}
    for row in manifest.select(split=split, modality="MR", contrast=contrasts):
        sessions.setdefault((row.subject, row.session), []).append(row)
    if not sessions:
        raise ManifestError(f"No row of the manifest is {split} MR, so no exam can be made up.")
    scans = sum(len(rows) for rows in sessions.values())
    per_scan = max(1, min(per_scan, limit // (scans * variants)))

    done = itertools.count(1)

    def of_session(rows: Sequence[ManifestRow]) -> list[Exam]:
        exams = list(_of_session(manifest, rows, per_scan, variants, seed))
        if progress is not None:
            progress(next(done), len(sessions))
        return exams

    return [exam for exams in Workers().map(of_session, [*sessions.values()]) for exam in exams]


def _of_session(
    manifest: Manifest, rows: Sequence[ManifestRow], per_scan: int, variants: int, seed: int
) -> Iterator[Exam]:
    scans = _read_session(manifest, rows)
    for scan in scans:
        brought = {
            other.row.path: (Resampler(other.volume, scan.volume), other.matrix @ np.linalg.inv(scan.matrix))
            for other in scans
            if other is not scan and other.matrix is not None and scan.matrix is not None
        }
        usable = scan.row.slice_numbers(scan.volume.shape[0])
        count = min(per_scan, len(usable))
        for position in range(count):
            number = usable[(2 * position + 1) * len(usable) // (2 * count)]
            scan.volume.select([number]).require_usable(scan.row.path)
            target, body, slabs = _slabs(scan, number, brought)
            for variant in range(variants):
                generator = np.random.default_rng([seed, int(scan.row.sha256[:12], 16), number, variant])
                kind = (variant + position) % 3
                yield _exam(target, body, slabs, kind, scan.volume.spacing[2], generator)


def _read_session(manifest: Manifest, rows: Sequence[ManifestRow]) -> list[_Scan]:
    """Read the scans of a session, each but the first registered to it; a single slice is laid on nothing."""
    volumes = [read_scan(manifest.verify(row), modality="MR") for row in rows]
    for row, volume in zip(rows, volumes, strict=True):
        volume.require_finite(row.path)
    matrices = [np.eye(4), *(_found(volume, volumes[0]) for volume in volumes[1:])]
    return [_Scan(*parts) for parts in zip(rows, volumes, matrices, strict=True)]


def _found(moving: Volume, fixed: Volume) -> Affine | None:
    if min(moving.shape[0], fixed.shape[0]) == 1:
        return None
    try:
        return register_rigid(moving, fixed, same_visit=True).matrix
    except GeometryError:
        return None


def _slabs(
    scan: _Scan, number: int, brought: Mapping[str, tuple[Resampler, Affine]]
) -> tuple[Array, NDArray[np.bool_], list[Array]]:
    """A slice, scaled, where it is tissue, and slabs ``(z, y, x)`` around it, all cut to the body and a margin.

    One slab is of the scan itself, then one of each other, on its grid; the slice is in the middle of each.
    """
    image = np.abs(scan.volume.array[number]).astype(np.float64)
    target = image / _brightness(image)
    body = gaussian_filter(target, 2) > 0.1
    rows, columns = _around(body)
    reach = math.ceil((MOST + THROUGH_MM) / scan.volume.spacing[2] + 0.5) + BEYOND
    wanted = np.clip(np.arange(number - reach, number + reach + 1), 0, scan.volume.shape[0] - 1)
    there = _cropped(scan.volume.select(range(wanted[0], wanted[-1] + 1)), rows, columns)
    slabs = [np.abs(there.array), *(resampler.onto(there, matrix) for resampler, matrix in brought.values())]
    return target[rows, columns], body[rows, columns], [slab[wanted - wanted[0]].astype(np.float64) for slab in slabs]


def _around(body: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the body and its margin; all of them where there is none."""
    there = np.argwhere(body if body.any() else ~body)
    first, last = there.min(axis=0), there.max(axis=0)
    rows, columns = (slice(max(0, low - MARGIN), high + MARGIN + 1) for low, high in zip(first, last, strict=True))
    return rows, columns


def _cropped(volume: Volume, rows: slice, columns: slice) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] += columns.start * affine[:3, 0] + rows.start * affine[:3, 1]
    return replace(volume, array=volume.array[:, rows, columns], affine=affine)


def _exam(
    target: Array,
    body: NDArray[np.bool_],
    slabs: Sequence[Array],
    kind: int,
    thickness: float,
    generator: np.random.Generator,
) -> Exam:
    """Make up an exam of the middle slice of the first slab, of one of three kinds (`make_exams`)."""
    others = range(1, len(slabs))
    heard = [0] if kind == 0 or not others else [0, *others] if kind == 1 else [*others]
    common = _displacement(target.shape, generator)
    companions, slopes = [], []
    for number in heard:
        own = common + OWN * _strength(generator) * generator.standard_normal((3, 1, 1))
        if kind == 2 and number and generator.random() < 0.5:
            own = np.broadcast_to(SAME_VISIT * generator.standard_normal((3, 1, 1)), common.shape)
        seen = _another_visit(slabs[number], thickness, own.clip(-MOST, MOST), generator)
        seen = _another_contrast(_with_spots(seen, body, generator), generator)
        companions.append(seen[1])
        slopes.append((seen[2] - seen[0]) / 2)
    parts = (target, np.stack(companions), np.stack(slopes))
    return Exam(*(torch.from_numpy(part.astype(np.float32)) for part in parts))


def _strength(generator: np.random.Generator) -> float:
    return float(generator.uniform(*STRENGTH))


def _displacement(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Along (z, y, x), shape (3, y, x): in mm through the plane, in pixels within."""
    parts = []
    strength = _strength(generator)
    for size in (THROUGH, IN_PLANE, IN_PLANE):
        varying = _smooth_field(shape, generator.uniform(12, 40), generator)
        parts.append(strength * size * (generator.standard_normal() + varying))
    return np.stack(parts)


def _smooth_field(shape: tuple[int, ...], width: float, generator: np.random.Generator) -> Array:
    """Gaussian field of root mean square 1 that varies over a width in pixels."""
    field = gaussian_filter(generator.standard_normal(shape), width)
    return np.asarray(field / np.sqrt(np.mean(field**2)))


def _another_visit(slab: Array, thickness: float, displacement: Array, generator: np.random.Generator) -> Array:
    """The middle of a slab as another exam would show it: below, in and above the plane, shape (3, y, x)."""
    middle: float = len(slab) // 2
    if thickness > THICK_MM:
        # Cut into slices in between, and looked at where it was: finer detail than slices hold is lost.
        moved = generator.uniform(-0.5, 0.5)
        # What it does to each slice, as a matrix.
        between = shift(np.eye(len(slab)), (moved, 0), order=3, mode="nearest")
        slab, middle = np.tensordot(between, slab, axes=1), middle + moved
    level = generator.uniform(0, NOISE) * np.percentile(slab, 99)
    splines = spline_filter(slab + level * generator.standard_normal(slab.shape), order=3, mode="nearest")
    rows, columns = np.indices(slab.shape[1:], dtype=np.float64)
    through, along_y, along_x = displacement
    places = [
        [middle + (height + through) / thickness, rows + along_y, columns + along_x]
        for height in (-THROUGH_MM, 0.0, THROUGH_MM)
    ]
    seen = [map_coordinates(splines, place, order=3, mode="nearest", prefilter=False) for place in places]
    return np.maximum(seen, 0.0)


def _with_spots(seen: Array, body: NDArray[np.bool_], generator: np.random.Generator) -> Array:
    """Add round spots with flat tops to tissue, brighter or darker than it."""
    top = np.percentile(seen[1], 99)
    tissue = np.argwhere(body)
    rows, columns = np.indices(body.shape)
    for _ in range(generator.poisson(SPOTS) if len(tissue) else 0):
        y, x = tissue[generator.integers(len(tissue))]
        radius, brightness = generator.uniform(*RADII), generator.uniform(*BRIGHTNESS) * generator.choice([-1, 1])
        wide = radius * generator.uniform(0.6, 1.6)
        seen = seen + brightness * top * np.exp(-((((rows - y) / radius) ** 2 + ((columns - x) / wide) ** 2) ** 2) / 2)
    return np.maximum(seen, 0.0)


def _another_contrast(seen: Array, generator: np.random.Generator) -> Array:
    power = math.exp(generator.uniform(-POWER, POWER))
    gain = np.exp(GAIN * _smooth_field(seen.shape[1:], 40, generator))
    return np.asarray((seen / _brightness(seen[1])) ** power * gain)


def _brightness(image: Array) -> float:
    """99th percentile, or the brightest pixel where less than one in a hundred is tissue."""
    return float(np.percentile(image, 99)) or float(image.max()) or 1.0
