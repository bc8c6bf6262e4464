"""Scans made of thick slices, sharpened from the thick scan alone: medinr beside cubic B-splines.

How they are made thick: `medinr.acquisition.thick_slices`. A scan with cubic voxels is made thick along z. One with
thick slices is made thick along y instead, where its own pixels are fine: the whole head in its native grid, in planes
of which every pixel was measured. `medinr evaluate --tasks acquired_thick_4` compares with more methods.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from medinr.acquisition.thick_slices import fine_planes, rows_first, thick_scan
from medinr.data.resample import continued_onto
from medinr.errors import ConfigError
from medinr.io.atomic import write_json
from medinr.io.scan import read_scan
from medinr.jobs.peak_memory import peak_memory
from medinr.jobs.record import new_result, versions
from medinr.metrics.image_quality import body_mask
from medinr.models.checkpoint import load_model_for
from medinr.noise.estimate import estimate_noise
from medinr.solve.sharpen_grid import grid_for
from medinr.solve.sharpen_scan import sharpen_scan

#: Thickness of the slices and distance between their centres in mm.
SLICES = ((4.0, 4.0), (4.0, 5.0), (6.0, 6.0))


def benchmark_thick_slices(
    scans: Sequence[Path],
    planes: int,
    profile: str,
    model: str,
    out: Path,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Table:
    """Sharpen scans that were made of thick slices.

    Parameters
    ----------
    scans : sequence of Path
        Magnitude MR scans.
    planes : int
        Planes across the slices that are sharpened, in the middle.
    profile : {"gaussian", "rect"}
        With which the slices are made; the solver always assumes its own.
    model : str
    out : Path
        Gets ``thick_slices.json``.
    overwrite : bool
        Replace a finished result.
    announce : callable
        Called with a line before every scan.

    Returns
    -------
    rich.table.Table
        PSNR inside the body and its gain over splines, in dB; residual over the estimated noise.
    """
    path = new_result(out, "thick_slices.json", overwrite)
    prior = load_model_for(model, "MR").prior
    if prior is None:
        raise ConfigError(f"The model {model} has no denoiser. Choose another with --model.")
    rows: list[dict[str, Any]] = []
    for scan in scans:
        read = read_scan(scan, modality="MR")
        for thickness, distance in SLICES:
            announce(f"{scan.name}, slices of {thickness:g} mm, {distance:g} mm apart ...")
            whole = fine_planes(read, thickness, distance, scan.name)
            first = max(0, (whole.shape[0] - planes) // 2)
            middle = whole.select(range(first, min(whole.shape[0], first + planes)))
            fine = rows_first(middle)
            # The noise is found in whole slices, of which the middle is then sharpened.
            noise = estimate_noise(thick_scan(whole, thickness, distance, profile))
            thick = thick_scan(middle, thickness, distance, profile)
            before = time.perf_counter()
            found = sharpen_scan(thick, grid_for(thick, like=fine), noise, prior, thickness=thickness)
            seconds = time.perf_counter() - before
            # Slices may reach beyond the outermost rows, and what explains them is larger then.
            refined, splines = (continued_onto(one, fine.affine, fine.shape) for one in (found.volume, thick))
            body = np.stack([body_mask(plane) for plane in middle.array], axis=1)
            scores = [_psnr(one.array, fine.array, body) for one in (splines, refined)]
            rows.append(
                {
                    "scan": scan.name,
                    "spacing": fine.spacing,
                    "shape": fine.shape,
                    "thickness": thickness,
                    "distance": distance,
                    "splines": scores[0],
                    "medinr": scores[1],
                    "gain": scores[1] - scores[0],
                    "residual": found.residual,
                    "sigma": noise.sigma,
                    "tolerance": found.tolerance,
                    "seconds": seconds,
                }
            )
    facts = {"profile": profile, "model": model, "rows": rows, "peak_memory_bytes": peak_memory()}
    write_json(path, facts | {"versions": versions()}, overwrite=True)
    return _table(rows, profile)


def _psnr(values: NDArray[Any], reference: NDArray[Any], body: NDArray[np.bool_]) -> float:
    error = np.square(values.astype(np.float64) - reference)[body].mean()
    return float(10 * np.log10(float(reference.max()) ** 2 / error))


def _table(rows: list[dict[str, Any]], profile: str) -> Table:
    table = Table(title=f"Thick slices ({profile} profile), dB inside the body")
    for name in ("scan", "mm", "slices", "splines", "medinr", "gain", "residual", "s"):
        table.add_column(name, justify="left" if name == "scan" else "right")
    for row in rows:
        table.add_row(
            row["scan"],
            " x ".join(f"{mm:.2f}" for mm in row["spacing"][::-1]),
            f"{row['thickness']:g} / {row['distance']:g}",
            f"{row['splines']:.2f}",
            f"{row['medinr']:.2f}",
            f"{row['gain']:+.2f}",
            f"{row['residual']:.2f}",
            f"{row['seconds']:.0f}",
        )
    return table
