"""Scans made of thick slices, sharpened from the thick scan alone: medinr beside cubic B-splines.

A scan with cubic voxels is made thick along z. One with thick slices is made thick along y instead, where its own
pixels are fine: the whole head in its native grid, in planes of which every pixel was measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from scipy.ndimage import affine_transform

from medinr.data.orient import THICKEST
from medinr.errors import ConfigError
from medinr.io.atomic import write_json
from medinr.io.scan import read_scan
from medinr.jobs.peak_memory import peak_memory
from medinr.jobs.record import new_result, versions
from medinr.metrics.image_quality import body_mask
from medinr.models.checkpoint import load_model_for
from medinr.noise.estimate import estimate_noise
from medinr.operators import SliceProfile
from medinr.solve.sharpen_grid import grid_for
from medinr.solve.sharpen_scan import sharpen_scan
from medinr.volume import Volume

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
        Columns of the slices that are sharpened, in the middle.
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
        whole = _axes(read_scan(scan, modality="MR"))
        fine = _middle(whole, planes)
        bodies = np.stack([body_mask(plane) for plane in fine.array.transpose(2, 0, 1)]).transpose(1, 2, 0)
        for thickness, distance in SLICES:
            announce(f"{scan.name}, slices of {thickness:g} mm, {distance:g} mm apart ...")
            # The noise is found in whole slices, of which the middle is then sharpened.
            noise = estimate_noise(_thick(whole, thickness, distance, profile)[0])
            thick, splines = _thick(fine, thickness, distance, profile)
            before = time.perf_counter()
            found = sharpen_scan(thick, grid_for(thick, like=fine), noise, prior)
            seconds = time.perf_counter() - before
            peak = float(fine.array.max())
            scores = [_psnr(values, fine.array, bodies, peak) for values in (splines, found.volume.array)]
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


def _axes(scan: Volume) -> Volume:
    """The axis to be made thick first, the one whose planes are judged last."""
    x, y, z = scan.spacing
    if z <= THICKEST * max(x, y):
        return scan
    # (y, x, z): new slices follow each other along the old y, new columns along the old z.
    affine = scan.affine.copy()
    affine[:3, :3] = affine[:3, [2, 0, 1]]
    array: NDArray[np.float32] = np.ascontiguousarray(scan.array.transpose(1, 2, 0), dtype=np.float32)
    return replace(scan, array=array, affine=affine)


def _middle(scan: Volume, planes: int) -> Volume:
    """Some columns in the middle of every slice."""
    count = scan.shape[2]
    planes = min(planes, count)
    first, affine = (count - planes) // 2, scan.affine.copy()
    affine[:3, 3] += first * affine[:3, 0]
    kept: NDArray[np.float32] = np.ascontiguousarray(scan.array[:, :, first : first + planes], dtype=np.float32)
    return replace(scan, array=kept, affine=affine)


def _thick(fine: Volume, thickness: float, distance: float, profile: str) -> tuple[Volume, NDArray[np.float32]]:
    """The scan of thick slices as a file would hold it, and its cubic splines on the fine grid."""
    operator = SliceProfile(fine.shape, fine.spacing[2], thickness, distance, profile)
    slices = operator(torch.from_numpy(fine.array))
    facts = replace(fine.provenance.facts, thickness=thickness)
    provenance = replace(fine.provenance.cut_anew(), facts=facts)
    thick = replace(fine, array=slices.numpy(), affine=operator.affine(fine.affine).numpy(), provenance=provenance)
    step, first = distance / operator.spacing, operator.centres[0] / operator.spacing
    splines: NDArray[np.float32] = affine_transform(
        slices.numpy(),
        (1 / step, 1.0, 1.0),
        (-first / step, 0.0, 0.0),
        fine.shape,
        output=np.float32,
        order=3,
        mode="nearest",
    )
    return thick, splines


def _psnr(values: NDArray[Any], reference: NDArray[Any], body: NDArray[np.bool_], peak: float) -> float:
    error = np.square(values.astype(np.float64) - reference)[body].mean()
    return float(10 * np.log10(peak**2 / error))


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
