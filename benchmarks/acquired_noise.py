"""Scans spoiled with noise, denoised blindly: medinr beside block matching, non-local means, ANTs and total variation.

Only the spoiled image is given. Baselines use their own estimate of the noise where they have one, and medinr's
elsewhere. A few slices of every scan are used, cropped to the head: BM4D takes minutes for a whole one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy import ndimage
from skimage.filters import threshold_otsu

from benchmarks.acquired_methods import Announce, Candidate, by_medinr, candidates
from medinr.acquisition.spoiled import WAYS, Spoiled
from medinr.errors import ConfigError
from medinr.io.atomic import write_json
from medinr.io.scan import read_scan
from medinr.jobs.record import new_result, versions
from medinr.noise.estimate import estimate_noise
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume

#: Ways of `medinr.acquisition.spoiled.WAYS` with sigma as a fraction of the 99th percentile of the volume.
CONDITIONS = (("rician", 0.05), ("rician", 0.1), ("chi", 0.05), ("doubling", 0.05), ("zero-filled", 0.05))

#: Pixels around the head that are kept.
_MARGIN = 5


@dataclass(frozen=True, eq=False)
class Slab:
    """A few slices of a scan, cropped to the head.

    Attributes
    ----------
    name : str
    scan : Volume
    level, peak : float
        99th percentile and maximum of the whole volume.
    """

    name: str
    scan: Volume
    level: float
    peak: float


def benchmark_acquired_noise(
    scans: Sequence[Path],
    slices: int,
    model: str,
    baselines: Sequence[str],
    out: Path,
    *,
    oracle: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    announce: Announce = lambda _: None,
) -> Table:
    """Denoise spoiled scans and compare with what they were.

    Parameters
    ----------
    scans : sequence of Path
        Magnitude MR.
    slices : int
        Of each scan, from its middle.
    model : str
    baselines : sequence of str
        Names of `medinr.baselines.acquired.BASELINES`; all that are installed when empty.
    out : Path
        Gets ``acquired_noise.json``.
    oracle : bool
        Try every setting of every baseline too and report the best of each scan.
    seed : int
        Of the noise.
    overwrite : bool
        Replace a finished result.
    announce : callable

    Returns
    -------
    rich.table.Table
        PSNR in dB, mean over scans, of the whole slab and inside the body.

    Raises
    ------
    ConfigError
        When no scan is given.
    """
    path = new_result(out, "acquired_noise.json", overwrite)
    if not scans:
        raise ConfigError("acquired-noise wants --data SCAN [SCAN ...], magnitude MR.")
    rows: list[dict[str, Any]] = []
    medinr = by_medinr(model, "MR", announce)
    compared = candidates(baselines, oracle)
    for scan in scans:
        slab = read_slab(scan, slices)
        for way, fraction in CONDITIONS:
            spoiled = WAYS[way](slab.scan.array.real, fraction * slab.level, np.random.default_rng(seed))
            noisy = slab.scan.with_array(spoiled.array)
            found = estimate_noise(noisy)
            told = ScanNoise(spoiled.kind, spoiled.sigma, spoiled.coils, spoiled.sigma_map)
            about = {"scan": slab.name, "way": way, "level": fraction, "estimate": found.sigma / spoiled.sigma}
            methods = [(Candidate("noisy", "", lambda volume, _: volume.array.real), found)]
            if medinr is not None:
                methods += [(Candidate("medinr", "", medinr), found), (Candidate("medinr, told", "", medinr), told)]
            for candidate, noise in (*methods, *((candidate, found) for candidate in compared)):
                begun = time.process_time()
                image = candidate.denoise(noisy, noise)
                seconds = time.process_time() - begun
                rows.append(
                    about
                    | {"method": candidate.method, "setting": candidate.setting, "chosen": candidate.chosen}
                    | {"seconds": seconds}
                    | psnr_of(image, spoiled, slab.peak)
                )
            announce(f"{slab.name}, {way} {fraction:.0%}: sigma found {about['estimate']:.2f} of what was added")
    write_json(path, {"slices": slices, "seed": seed, "rows": rows, "versions": versions()}, overwrite=True)
    return _table(rows, len(scans))


def read_slab(path: Path, slices: int) -> Slab:
    """Read the middle slices of a scan, cropped to the head with a margin."""
    volume = read_scan(path, modality="MR")
    magnitude = np.abs(volume.array).astype(np.float32)
    first = max(0, (len(magnitude) - slices) // 2)
    kept = magnitude[first : first + slices]
    rows, columns = (np.flatnonzero(body_of(kept).any(axis=(0, axis))) for axis in (2, 1))
    y, x = (slice(max(0, at[0] - _MARGIN), at[-1] + _MARGIN + 1) for at in (rows, columns))
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array([x.start, y.start, first])
    scan = Volume(np.ascontiguousarray(kept[:, y, x]), affine, "MR")
    return Slab(path.name.partition(".")[0], scan, float(np.percentile(magnitude, 99)), float(magnitude.max()))


def body_of(magnitude: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels of the body: above Otsu's threshold, largest component, holes of slices filled; shape (z, y, x)."""
    components, count = ndimage.label(magnitude > threshold_otsu(magnitude))
    sizes = ndimage.sum_labels(components > 0, components, np.arange(1, count + 1))
    return np.stack([ndimage.binary_fill_holes(plane) for plane in components == 1 + int(np.argmax(sizes))])


def psnr_of(image: NDArray[np.floating], spoiled: Spoiled, peak: float) -> dict[str, float]:
    """PSNR of the whole slab and inside the body of the reference, in dB."""
    squared = np.square(image.astype(np.float64) - spoiled.reference)
    inside = squared[body_of(spoiled.reference)]
    return {name: float(10 * np.log10(peak**2 / part.mean())) for name, part in (("slab", squared), ("body", inside))}


def _table(rows: Sequence[dict[str, Any]], count: int) -> Table:
    table = Table(title=f"PSNR in dB, whole slab / body, mean over {count} scans; best settings in brackets")
    table.add_column("method")
    for way, fraction in CONDITIONS:
        table.add_column(f"{way} {fraction:.0%}", justify="right")
    for method in dict.fromkeys(row["method"] for row in rows):
        entries = []
        for way, fraction in CONDITIONS:
            here = [row for row in rows if (row["method"], row["way"], row["level"]) == (method, way, fraction)]
            entries.append(_entry(here))
        table.add_row(method, *entries)
    return table


def _entry(rows: Sequence[dict[str, Any]]) -> str:
    chosen = [row for row in rows if row["chosen"]]
    text = " / ".join(f"{np.mean([row[part] for row in chosen]):.2f}" for part in ("slab", "body"))
    if len(chosen) == len(rows):
        return text
    scans = dict.fromkeys(row["scan"] for row in rows)
    best = [
        np.mean([max(row[part] for row in rows if row["scan"] == scan) for scan in scans]) for part in ("slab", "body")
    ]
    return f"{text} ({best[0]:.2f} / {best[1]:.2f})"
