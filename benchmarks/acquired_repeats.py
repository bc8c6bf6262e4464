"""Repeats of one acquisition: one is denoised blindly and compared with the mean of the others, which it never saw.

The reference is the mean magnitude of the other repeats. Its own noise is taken off the error, and what the brightness
of whole volumes drifts by is taken out before (`medinr.metrics.repeats`). A mean of magnitudes keeps the bias of their
noise; methods that take that bias out are compared as they are, and with their bias put back, so that neither way of
looking at it is hidden.

Methods that use all volumes of a series are given every other repeat alone, and the reference is the mean of the rest:
given all, they would have seen their reference.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.acquired_methods import (
    Announce,
    Candidate,
    Denoise,
    by_medinr,
    candidates,
    named_baselines,
    settings_of,
    words,
)
from medinr.errors import ShapeError
from medinr.io.atomic import write_json
from medinr.io.scan import read_volumes
from medinr.jobs.record import new_result, versions
from medinr.metrics.repeats import drift, error_against_others, with_bias, without_drift
from medinr.noise.estimate import estimate_noise
from medinr.noise.repeats import noise_of_repeats
from medinr.noise.scan_noise import ScanNoise
from medinr.solve.series import filtered_series
from medinr.solve.series_noise import noise_left, without_bias
from medinr.volume import Volume

Array = NDArray[np.float32]

#: Fewest repeats for which a mean of the others is worth comparing with.
_FEWEST = 5

#: Percentiles of the mean between which voxels count as signal.
_SIGNAL = (20, 95)


def benchmark_spine_repeats(
    data: Path,
    count: int,
    model: str,
    baselines: Sequence[str],
    out: Path,
    *,
    oracle: bool = False,
    overwrite: bool = False,
    announce: Announce = lambda _: None,
) -> Table:
    """Denoise single repeats and series of repeats.

    Parameters
    ----------
    data : Path
        4D scan whose volumes are repeats.
    count : int
        Repeats that are denoised, evenly spread.
    model : str
    baselines : sequence of str
        Names of `medinr.baselines.acquired.BASELINES`; all that are installed when empty.
    out : Path
        Gets ``spine_repeats.json``.
    oracle : bool
        Try every setting of every baseline and report the best too.
    overwrite : bool
        Replace a finished result.
    announce : callable

    Returns
    -------
    rich.table.Table
        Gain over the noisy repeat in dB.

    Raises
    ------
    ShapeError
        For fewer than five repeats.
    """
    path = new_result(out, "spine_repeats.json", overwrite)
    volumes = list(read_volumes(data, modality="MR"))
    if len(volumes) < _FEWEST:
        raise ShapeError(f"{data.name} has {len(volumes)} volumes; {_FEWEST} repeats or more are compared.")
    repeats = np.stack([np.abs(volume.array) for volume in volumes]).astype(np.float32)
    numbers = [int(number) for number in np.linspace(0, len(repeats) - 1, min(count, len(repeats))).round()]
    rows = _single(volumes, repeats, numbers, _methods(model, baselines, oracle, announce), announce)
    rows += _series(volumes, repeats, by_medinr(model, "MR", announce), baselines, oracle, announce)
    write_json(path, {"repeats": numbers, "rows": rows, "versions": versions()}, overwrite=True)
    return _table(rows)


def _methods(model: str, baselines: Sequence[str], oracle: bool, announce: Announce) -> list[Candidate]:
    medinr = by_medinr(model, "MR", announce)
    own = [] if medinr is None else [Candidate("medinr", "", medinr, unbiased=True)]
    return own + candidates(baselines, oracle, debias=False)


def _single(
    volumes: Sequence[Volume],
    repeats: Array,
    numbers: Sequence[int],
    methods: Sequence[Candidate],
    announce: Announce,
) -> list[dict[str, Any]]:
    gains, steady = drift(repeats), without_drift(repeats)
    rows: list[dict[str, Any]] = []
    for number in numbers:
        scan = volumes[number].with_array(repeats[number])
        found, others = estimate_noise(scan), np.delete(steady, number, axis=0)
        announce(f"repeat {number}: {found.kind} sigma {found.sigma:.1f}, {found.how}")
        for method in methods:
            begun = time.process_time()
            image = method.denoise(scan, found)
            seconds = time.process_time() - begun
            rows.append(
                {"repeat": number, "method": method.method, "setting": method.setting, "chosen": method.chosen}
                | {"seconds": seconds, "sigma": found.sigma}
                | _gains(image, scan.array.real, found if method.unbiased else None, float(gains[number]), others)
            )
    return rows


def _series(
    volumes: Sequence[Volume],
    repeats: Array,
    medinr: Denoise | None,
    baselines: Sequence[str],
    oracle: bool,
    announce: Announce,
) -> list[dict[str, Any]]:
    """Series denoisers given every other repeat, compared with the mean of those that were held back."""
    gains, steady = drift(repeats), without_drift(repeats)
    given = list(range(0, len(repeats), 2))
    others, series = np.delete(steady, given, axis=0), repeats[given]
    found = estimate_noise(volumes[given[0]].with_array(repeats[given[0]]))
    rows: list[dict[str, Any]] = []

    def add(
        method: str,
        setting: str,
        chosen: bool,
        denoise: Callable[[], NDArray[np.floating]],
        unbiased: ScanNoise | None = None,
    ) -> None:
        begun = time.process_time()
        images = denoise()
        seconds = (time.process_time() - begun) / len(given)
        for image, number in zip(images, given, strict=True):
            rows.append(
                {"repeat": number, "method": f"{method} ({len(given)} repeats)", "setting": setting, "chosen": chosen}
                | {"seconds": seconds, "sigma": found.sigma}
                | _gains(image, repeats[number], unbiased, float(gains[number]), others)
            )

    # What anything that uses the repeats has to beat; each in its own brightness again.
    mean = steady[given].mean(axis=0)
    add("mean", "", True, lambda: mean[None] * gains[given][:, None, None, None])
    if medinr is not None:
        announce(f"medinr on {len(given)} repeats")
        some = [volumes[number].with_array(repeats[number]) for number in given]
        # As `medinr denoise` finds it.
        noise = noise_of_repeats(some)
        add("medinr, one by one", "", True, lambda: np.stack([medinr(scan, noise) for scan in some]), noise)
        add("medinr", "", True, lambda: _together(some, noise, medinr), noise)
    for name, baseline in named_baselines(baselines, series=True).items():
        announce(f"{name} on {len(given)} repeats")
        for place, setting in enumerate(settings_of(baseline, oracle)):
            denoise = functools.partial(baseline.denoise, series, found, setting, debias=False)
            add(name, words(setting), place == 0, denoise)
    return rows


def _together(scans: Sequence[Volume], noise: ScanNoise, denoise: Denoise) -> Array:
    """What ``medinr denoise`` does with a series whose volumes have something in common."""
    found = filtered_series(np.stack([scan.array for scan in scans]), noise)
    images = [
        denoise(scan.with_array(values), noise_left(noise, left.astype(np.float32)))
        for scan, values, left in zip(scans, found.values, found.left, strict=True)
    ]
    return np.stack([without_bias(np.maximum(image, 0), noise) for image in images])


def _gains(
    image: NDArray[np.floating],
    noisy: NDArray[np.floating],
    noise: ScanNoise | None,
    gain: float,
    others: NDArray[np.floating],
) -> dict[str, float]:
    """Gain over the noisy repeat: everywhere, where there is signal, and with the bias of magnitudes put back.

    ``noise`` is that whose bias was taken out; None where the bias is still there, so that nothing is put back.
    """
    mean = others.mean(axis=0)
    low, high = np.percentile(mean, _SIGNAL)
    signal = (mean > low) & (mean < high)
    found = {}
    for name, mask in (("gain", None), ("gain_signal", signal)):
        before = error_against_others(noisy / gain, others, mask)
        found[name] = error_against_others(image / gain, others, mask).gain_over(before)
        whole = image if noise is None else with_bias(image, noise)
        biased = error_against_others(whole / gain, others, mask)
        found[f"{name}_with_bias"] = biased.gain_over(before)
    return found


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="Gain over the noisy repeat in dB, mean over repeats; each repeat's best setting in brackets")
    table.add_column("method")
    columns = ("gain", "gain_signal", "gain_with_bias", "gain_signal_with_bias")
    for column in ("all", "signal", "all, bias put back", "signal, bias put back", "processor s"):
        table.add_column(column, justify="right")
    for method in dict.fromkeys(row["method"] for row in rows):
        here = [row for row in rows if row["method"] == method]
        chosen = [row for row in here if row["chosen"]]
        entries = []
        for column in columns:
            text = f"{np.mean([row[column] for row in chosen]):+.2f}"
            if len(chosen) < len(here):
                numbers = dict.fromkeys(row["repeat"] for row in here)
                best = [max(row[column] for row in here if row["repeat"] == number) for number in numbers]
                text += f" ({np.mean(best):+.2f})"
            entries.append(text)
        table.add_row(method, *entries, f"{np.mean([row['seconds'] for row in chosen]):.1f}")
    return table
