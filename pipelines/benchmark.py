"""Speed as a ratio: the default fit and the published recipe, same slice, trunk and cores, in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from medinr.pipelines.record import versions
from medinr.pipelines.slices import open_trunk
from rich.table import Table
from skimage.transform import resize
from torch import Tensor

from medinr.config import load_config
from medinr.config.schema import ReconstructConfig
from medinr.data.orient import standard_orientation
from medinr.errors import OutputExistsError
from medinr.evaluate.metrics import psnr
from medinr.io.atomic import write_json
from medinr.io.scan import read_scan
from medinr.operators import Gaussian, Identity
from medinr.solve.fit import FitSettings, fit
from medinr.solve.problem import Problem

#: PSNR levels a fit is timed to; above about 50 dB it says nothing (8-bit rounding alone is 58.9 dB).
LEVELS = (30.0, 35.0, 40.0)


def excerpt(folder: str, name: str) -> Path:
    """Path of a scan that ships with medinr."""
    return Path(str(resources.files("medinr.data_manifests"))) / "excerpts" / folder / name


class _ReachedError(Exception):
    """The highest level was reached; nothing further is timed."""


def _race(
    problem: Problem, reference: np.ndarray, trunk_name: str, settings: FitSettings
) -> list[tuple[int, float, float]]:
    begin = open_trunk(trunk_name, "MR")
    peak = float(reference.max())
    curve: list[tuple[int, float, float]] = []

    def observer(step: int, seconds: float, image: Tensor) -> None:
        curve.append((step, seconds, psnr(image.numpy(), reference, peak)))
        if curve[-1][2] >= LEVELS[-1]:
            raise _ReachedError

    with suppress(_ReachedError):
        fit(problem, begin.trunk, begin.length_scale, settings, observer=observer)
    return curve


def _time_to(curve: Sequence[tuple[int, float, float]], level: float) -> float | None:
    return next((seconds for _, seconds, value in curve if value >= level), None)


def benchmark_fit(
    scan: Path,
    number: int,
    size: int,
    trunk: str,
    recipe_steps: int,
    out: Path,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Table:
    """Time both fits of a slice to fixed PSNR levels.

    Parameters
    ----------
    scan : Path
    number : int
        Slice.
    size : int
        The slice is resampled to ``size x size`` pixels.
    trunk : str
    recipe_steps : int
        Steps of the published recipe at most.
    out : Path
        Gets ``fit.json`` with both curves.

    Returns
    -------
    rich.table.Table
    """
    path = out / "fit.json"
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists. Choose another --out, or replace it with --overwrite.")
    plane = standard_orientation(read_scan(scan, modality="MR").select([number]))
    reference = resize(np.abs(plane.array[0]), (size, size), anti_aliasing=True).astype(np.float32)
    y, x = plane.shape[1], plane.shape[2]
    level = float(np.percentile(reference, 99))
    problem = Problem(
        data=torch.from_numpy(reference),
        operator=Identity((size, size)),
        noise=Gaussian(1e-3 * level),
        spacing=(plane.spacing[1] * y / size, plane.spacing[0] * x / size),
        scale=level,
    )
    published = load_config(ReconstructConfig, "published_recipe", [f"fit.steps={recipe_steps}"]).fit
    settings = {"medinr": load_config(ReconstructConfig, "fit_image").fit, "published recipe": published}
    curves = {}
    for name, setting in settings.items():
        announce(f"{name} ...")
        curves[name] = _race(problem, reference, trunk, setting)
    table = Table(title=f"Seconds to a PSNR, {size} x {size}, {torch.get_num_threads()} threads, trunk {trunk}")
    for column in ("level", "medinr", "published recipe", "ratio"):
        table.add_column(column, justify="right")
    for wanted in LEVELS:
        ours, theirs = (_time_to(curve, wanted) for curve in curves.values())
        total = curves["published recipe"][-1][1]
        ratio = "-" if ours is None else f"{theirs / ours:.1f}" if theirs else f"over {total / ours:.1f}"
        table.add_row(
            f"{wanted:.0f} dB",
            f"{ours:.1f}" if ours is not None else "-",
            f"{theirs:.1f}" if theirs else f"not in {total:.1f}",
            ratio,
        )
    write_json(path, {"curves": curves, "levels": LEVELS, "size": size, "versions": versions()}, overwrite=True)
    return table
