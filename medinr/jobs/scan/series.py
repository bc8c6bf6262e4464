"""Volumes of a series denoised together: which, how many at once, and whether they have anything in common."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medinr.jobs.scan.effect import applied, untouched
from medinr.jobs.scan.forecast import Forecast
from medinr.jobs.scan.kept import KeptVolumes
from medinr.jobs.scan.methods import DEFAULT_METHOD, DENOISERS, Progress
from medinr.jobs.scan.prepare import ScanJob
from medinr.solve.series import LEAST_VOLUMES, filtered_series, in_common
from medinr.solve.series_noise import noise_left, without_bias
from medinr.solve.unfinished import Unfinished
from medinr.volume import Volume

#: Volumes that are filtered at once, at most, and bytes of memory for them: more volumes take longer each, and tell
#: little more.
MOST_VOLUMES, MOST_BYTES = 64, 1e9

#: Bytes of memory per voxel of the volumes that are filtered at once: as read, as filtered, and the noise left.
_BYTES_REAL, _BYTES_COMPLEX = 10, 18

#: And per pixel of one of their slices and thread, in work.
_BYTES_IN_WORK = 50

#: Slices that are looked at.
_SLICES = 3

#: Noise left, over that of volumes with nothing in common, above which they are denoised one by one.
_LITTLE = 0.8


@dataclass(frozen=True)
class SeriesPlan:
    """How the volumes of a scan are denoised.

    Attributes
    ----------
    groups : tuple of range
        Numbers of the volumes that are denoised together; none where each is denoised alone.
    why : str
        Why each is denoised alone, in words; empty where there is nothing to say.
    left : float
        Share of the variance of the noise that is left before every volume is denoised; 1 for each alone.
    seconds, bytes : float
        What it takes beside denoising volumes.
    """

    groups: tuple[range, ...] = ()
    why: str = ""
    left: float = 1.0
    seconds: float = 0.0
    bytes: float = 0.0

    @property
    def words(self) -> str:
        """What is done, in a line; empty where there is nothing to say."""
        if not self.groups:
            return f"volumes are denoised one by one: {self.why}" if self.why else ""
        most = max(len(group) for group in self.groups)
        at_once = f", up to {most} at once" if len(self.groups) > 1 else ""
        return (
            f"volumes are denoised together{at_once}: what they have in common is kept, which leaves "
            f"{100 * math.sqrt(self.left):.0f} % of sigma to the denoiser"
        )

    @property
    def facts(self) -> dict[str, Any]:
        """Plain values for records."""
        together = bool(self.groups)
        at_once = max((len(group) for group in self.groups), default=1)
        return {"together": together, "volumes_at_once": at_once, "variance_left": float(f"{self.left:.3g}")}

    def added_to(self, expected: Forecast) -> Forecast:
        """What a run takes in all."""
        if not self.groups:
            return expected
        return Forecast(expected.seconds + self.seconds, expected.bytes + self.bytes)


def plan_series(job: ScanJob) -> SeriesPlan:
    """Decide how the volumes of a scan are denoised; of a series, slices from the middle are looked at.

    Parameters
    ----------
    job : ScanJob
    """
    source, noise = job.source, job.noise
    if source.count < LEAST_VOLUMES or job.request.method != DEFAULT_METHOD or noise.sigma == 0:
        return SeriesPlan()
    if job.request.each_alone:
        return SeriesPlan(why="as asked for")
    if not noise.reliable:
        return SeriesPlan(why="their noise could not be found reliably")
    array = source.first.array
    each = array.size * (_BYTES_COMPLEX if np.iscomplexobj(array) else _BYTES_REAL)
    groups = _groups(source.count, min(MOST_VOLUMES, int(MOST_BYTES // each)))
    if not groups:
        return SeriesPlan(why=f"{LEAST_VOLUMES} of them need more than {MOST_BYTES / 1e9:.0f} GB of memory")
    start = max(0, (len(array) - _SLICES) // 2)
    where = slice(start, start + _SLICES)
    slices = np.stack([volume.array[where] for volume in islice(source.volumes(), len(groups[0]))])
    part = noise if noise.sigma_map is None else replace(noise, sigma_map=noise.sigma_map[where])
    started = time.perf_counter()
    left, shifted = in_common(slices, part)
    # Slices are filtered once as they are and once shifted.
    seconds = 0.5 * (time.perf_counter() - started) * len(array) / slices.shape[1] * len(groups)
    if left > _LITTLE * shifted:
        return SeriesPlan(why="they have too little in common")
    most = max(len(group) for group in groups)
    work = _BYTES_IN_WORK * most * array[0].size * torch.get_num_threads()
    return SeriesPlan(groups, "", left, seconds, float(each * most + work))


def _groups(count: int, most: int) -> tuple[range, ...]:
    """Consecutive volumes, as equal in number as can be; none where that is too few."""
    if most < LEAST_VOLUMES:
        return ()
    pieces = -(-count // most)
    ends = [count * piece // pieces for piece in range(pieces + 1)]
    found = tuple(range(first, last) for first, last in pairwise(ends))
    return found if min(len(group) for group in found) >= LEAST_VOLUMES else ()


def denoise_together(job: ScanJob, plan: SeriesPlan, kept: KeptVolumes, progress: Progress | None = None) -> None:
    """Denoise every volume that is not kept yet, group by group, and keep each as soon as it is there.

    Of a run that was stopped, a group is filtered again, which takes a small part of the time, unless all its volumes
    are there.

    Parameters
    ----------
    job : ScanJob
    plan : SeriesPlan
        With groups.
    kept : KeptVolumes
    progress : callable, optional
        Called with slices done and slices in all. Filtering a group counts as much as one of its volumes.
    """
    volumes, slices = job.source.volumes(), job.source.first.shape[0]
    for group in plan.groups:

        def report(share: float, group: range = group) -> None:
            if progress is not None:
                progress(round(slices * (group.start + share * len(group))), slices * job.source.count)

        _denoise_group(job, kept, group, *_read(islice(volumes, len(group)), len(group), job.source.first), report)


def _denoise_group(
    job: ScanJob,
    kept: KeptVolumes,
    group: range,
    volumes: list[Volume],
    series: NDArray[Any],
    report: Callable[[float], None],
) -> None:
    missing = [number for number in group if kept.load(number) is None]
    parts = len(group) + 1
    if missing:
        found = filtered_series(series, job.noise, lambda done, of: report(done / of / parts))
    for place, number in enumerate(group):
        if number in missing:

            def told(done: int, of: int, before: int = place + 1) -> None:
                report((before + done / of) / parts)

            filtered = volumes[place].with_array(found.values[place])
            left = found.left[place].astype(np.float32)
            kept.save(number, _denoised(job, volumes[place], filtered, left, told, kept.unfinished(number)), {})
        report((place + 2) / parts)


def _read(volumes: Iterable[Volume], count: int, first: Volume) -> tuple[list[Volume], NDArray[Any]]:
    """Volumes that share the memory of a series of shape (t, z, y, x), and that series."""
    series, found = np.empty((count, *first.shape), first.array.dtype), []
    for place, volume in enumerate(volumes):
        series[place] = volume.array
        found.append(volume.with_array(series[place]))
    return found, series


def _denoised(
    job: ScanJob,
    volume: Volume,
    filtered: Volume,
    left: NDArray[np.float32],
    report: Callable[[int, int], None],
    unfinished: Unfinished,
) -> NDArray[Any]:
    noise = noise_left(job.noise, left)
    full = DENOISERS[job.request.method](filtered, noise, job.model, report, unfinished)
    if job.noise.kind != "gaussian":
        full = without_bias(np.maximum(full, 0), job.noise)
    return applied(volume.array, full, job.blend.value, untouched(volume, job.mask))
