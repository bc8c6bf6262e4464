"""Sparse-view CT beside total variation: seconds and PSNR of both, on the same cores, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

from medinr.acquisition.ways import acquisition_of
from medinr.config import ReconstructConfig, load_task_config
from medinr.errors import ConfigError
from medinr.io.atomic import write_json
from medinr.io.scan import read_scan
from medinr.jobs.methods.variational import tv_image
from medinr.jobs.record import new_result, versions
from medinr.jobs.reference import Reference
from medinr.jobs.simulated import measure_slices
from medinr.measurement import Measurement
from medinr.metrics.image_quality import prepare, psnr
from medinr.models.checkpoint import load_model_for
from medinr.priors.denoiser_prior import ImagePrior
from medinr.solve.plug_and_play import plug_and_play_solution

#: How far from its limit total variation may stop, in dB.
NEAR = 0.05


@dataclass(frozen=True)
class BeamRow:
    """One geometry.

    Attributes
    ----------
    beam : str
    views : int
    tv_iterations : int
        Fewest of those that were tried that are within `NEAR` of the most.
    tv_seconds, tv_psnr, medinr_seconds, medinr_psnr : float
    """

    beam: str
    views: int
    tv_iterations: int
    tv_seconds: float
    tv_psnr: float
    medinr_seconds: float
    medinr_psnr: float

    @property
    def ratio(self) -> float:
        """Seconds of medinr for each of total variation."""
        return self.medinr_seconds / self.tv_seconds


def benchmark_ct(
    scan: Path,
    position: int,
    views: int,
    beams: Sequence[str],
    iterations: Sequence[int],
    model: str,
    out: Path,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Table:
    """Reconstruct a slice by total variation, run to its limit, and by plug-and-play with the shipped settings.

    Parameters
    ----------
    scan : Path
        CT.
    position : int
        Slice, counted from 0.
    views : int
    beams : sequence of {"parallel", "fan"}
    iterations : sequence of int
        Of total variation, rising; the last are taken for its limit.
    model : str
    out : Path
    overwrite : bool
    announce : callable, optional

    Returns
    -------
    Table
        Also written as ``ct.json``.
    """
    path = new_result(out, "ct.json", overwrite)
    prior = load_model_for(model, "CT").prior
    if prior is None:
        raise ConfigError(f"Model {model} has no denoiser. Choose one with a denoiser (medinr models).")
    volume, config = read_scan(scan, modality="CT"), load_task_config("ct")
    rows = []
    for beam in beams:
        settings = replace(config, simulation=replace(config.simulation, views=views, geometry=beam))
        measurement, reference = measure_slices(volume, settings, [position])
        rows.append(_row(measurement, reference, settings, prior, iterations, announce))
    write_json(path, {"rows": [asdict(row) for row in rows], "versions": versions()}, overwrite=True)
    return _table(rows)


def _row(
    measurement: Measurement,
    reference: Reference,
    config: ReconstructConfig,
    prior: ImagePrior,
    iterations: Sequence[int],
    announce: Callable[[str], None],
) -> BeamRow:
    acquisition = acquisition_of(measurement)
    problem = acquisition.problem(0)
    # What is made when first wanted is nobody's time.
    problem.adjoint(problem.predict(torch.zeros(problem.shape)))
    beam, weight = config.simulation.geometry, config.total_variation.weight

    def timed(name: str, make: Callable[[], Tensor]) -> tuple[float, float]:
        started = time.perf_counter()
        image = make()
        seconds = time.perf_counter() - started
        found = psnr(prepare(acquisition.export(image), "CT"), prepare(reference.images[0], "CT"), reference.peak)
        announce(f"{beam}: {name} {found:.2f} dB, {seconds:.1f} s")
        return seconds, found

    tried = [(n, *timed(f"TV, {n} iterations:", partial(tv_image, problem, weight, n))) for n in iterations]
    enough = next(row for row in tried if row[2] >= tried[-1][2] - NEAR)
    own = timed("medinr:", lambda: plug_and_play_solution(problem, prior, config.plug_and_play).image)
    return BeamRow(beam, config.simulation.views, *enough, *own)


def _table(rows: Sequence[BeamRow]) -> Table:
    table = Table(title="Sparse-view CT beside total variation within 0.05 dB of its limit")
    for column in ("beam", "views", "TV iterations", "TV s", "TV dB", "medinr s", "medinr dB", "medinr s / TV s"):
        table.add_column(column, justify="left" if column == "beam" else "right")
    for row in rows:
        numbers = f"{row.tv_seconds:.1f}", f"{row.tv_psnr:.2f}", f"{row.medinr_seconds:.1f}", f"{row.medinr_psnr:.2f}"
        table.add_row(row.beam, str(row.views), str(row.tv_iterations), *numbers, f"{row.ratio:.2f}")
    return table
