"""Error of held-out k-space samples of a real multi-coil scan, for which no reference image exists.

A tenth of the measured samples is held out from every method and predicted from its image. The baselines' weights are
chosen by the prediction of another tenth; medinr's settings are fixed. All use the same coil maps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

from medinr.acquisition.ways import acquisition_of
from medinr.baselines.sense import l1_wavelet, sense_cg
from medinr.baselines.tune import tune_weight
from medinr.config import load_task_config
from medinr.errors import ConfigError
from medinr.io.atomic import write_json
from medinr.jobs.measure import open_measurement
from medinr.jobs.methods.variational import tv_image
from medinr.jobs.reconstruct.context import require_denoiser
from medinr.jobs.record import new_result, versions
from medinr.measurement import Measurement
from medinr.models.checkpoint import load_model_for
from medinr.operators import Fourier
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.plug_and_play import plug_and_play_solution
from medinr.solve.problem import Problem

#: Share of the samples held out from every method, and share that chooses the baselines' weights.
TEST, VALIDATION = 0.1, 0.1

#: First grid of weights of each baseline; of wavelets, relative to the largest value of the zero-filled image.
GRIDS = {"SENSE-CG": (1e-4, 1e-3, 1e-2, 1e-1), "L1-wavelet": (1e-4, 1e-3, 1e-2), "TV": (0.03, 0.1, 0.3, 1.0)}


@dataclass(frozen=True, eq=False)
class Scan:
    """One slice of multi-coil k-space on a grid.

    Attributes
    ----------
    measurement : Measurement
    points : Tensor, bool, shape (ky, kx)
        Where samples were measured.
    samples : Tensor, complex, shape (coil, points)
    maps : Tensor, shape (coil, y, x)
    """

    measurement: Measurement
    points: Tensor
    samples: Tensor
    maps: Tensor

    def reduced(self, keep: Tensor) -> Measurement:
        """The measurement with only some of its points, ``keep`` of shape (points,)."""
        mask = self.points.clone()
        mask[self.points] = keep
        arrays = {"mask": mask, "coil_maps": self.maps}
        return replace(self.measurement, data=self.samples[None][..., keep], arrays=arrays)

    def grid(self, keep: Tensor) -> tuple[Tensor, Tensor]:
        """K-space ``(coil, ky, kx)``, zero where not kept, and its mask."""
        mask = self.points.clone()
        mask[self.points] = keep
        full = self.samples.new_zeros(self.maps.shape)
        full[:, mask] = self.samples[:, keep]
        return full, mask

    def error(self, image: Tensor, at: Tensor) -> float:
        """Relative error of the samples at some points, predicted from an image."""
        predicted = Fourier(tuple(self.maps.shape))(self.maps * image)[:, self.points][:, at]
        measured = self.samples[:, at]
        return float(torch.linalg.vector_norm(predicted - measured) / torch.linalg.vector_norm(measured))


def benchmark_raw(
    source: Path,
    sidecar: Path | None,
    model: str,
    seeds: int,
    out: Path,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Table:
    """Predict held-out samples of raw multi-coil k-space by medinr and by SigPy's reconstructions.

    Parameters
    ----------
    source : Path
        Cartesian multi-coil k-space; its first slice is used.
    sidecar : Path, optional
    model : str
        Of medinr's plug-and-play reconstruction.
    seeds : int
        Random draws of the held-out tenth.
    out : Path
        Gets ``raw.json``.
    overwrite : bool
        Replace a finished result.
    announce : callable
        Called with a line before every reconstruction.

    Returns
    -------
    rich.table.Table

    Raises
    ------
    ConfigError
        When the source is no Cartesian k-space of several coils, or the model has no denoiser.
    """
    path = new_result(out, "raw.json", overwrite)
    config = load_task_config("kspace", model=model)
    scan = _scan(open_measurement(source, config, slices=[0], sidecar=sidecar)[0])
    prior = require_denoiser(load_model_for(model, "MR"), config)
    errors: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    chosen: dict[str, list[float]] = {}
    for seed in range(seeds):
        test, validation = _draw(scan, seed)
        seen = ~test
        noise = scan.measurement.parameters["sigma"] * math.sqrt(2 * int(test.sum()) * len(scan.maps))
        errors.setdefault("noise alone", []).append(noise / float(torch.linalg.vector_norm(scan.samples[:, test])))
        for name, solve in _baselines(scan).items():
            announce(f"draw {seed + 1} of {seeds}: {name} ...")
            weight = None
            if name in GRIDS:
                weight = _tuned(scan, solve, GRIDS[name], seen & ~validation, validation)
                chosen.setdefault(name, []).append(weight)
            before = time.perf_counter()
            image = solve(seen, weight or 0.0)
            seconds.setdefault(name, []).append(time.perf_counter() - before)
            errors.setdefault(name, []).append(scan.error(image, test))
        announce(f"draw {seed + 1} of {seeds}: medinr ...")
        before = time.perf_counter()
        image = _medinr(scan, seen, prior, config.plug_and_play)
        seconds.setdefault("medinr", []).append(time.perf_counter() - before)
        errors.setdefault("medinr", []).append(scan.error(image, test))
    facts = {"errors": errors, "seconds": seconds, "weights": chosen, "seeds": seeds, "versions": versions()}
    write_json(path, facts | {"steps": scan.measurement.parameters["steps"]}, overwrite=True)
    return _table(errors, seconds, chosen)


def _scan(measurement: Measurement) -> Scan:
    maps = measurement.arrays.get("coil_maps")
    if maps is None or "trajectory" in measurement.arrays:
        raise ConfigError("This benchmark wants Cartesian k-space of several coils; the scan is another measurement.")
    shape, data = measurement.image_shape, measurement.data[0]
    points = measurement.arrays.get("mask")
    if points is None:
        points = torch.zeros(shape, dtype=torch.bool)
        points[torch.tensor(measurement.parameters["mask"]["lines"])] = True
        centre = measurement.parameters["mask"]["centre_fraction"] * shape[0]
        facts = {**measurement.parameters, "calibration": [centre, float(shape[1])]}
        measurement = replace(measurement, parameters=facts)
        data = data.flatten(-2)
    return Scan(measurement, points, data, maps[0] if maps.ndim == 4 else maps)


def _draw(scan: Scan, seed: int) -> tuple[Tensor, Tensor]:
    """Points ``(points,)`` for the test and for the baselines' weights, none of them in the calibration region."""
    where = scan.points.nonzero() - torch.tensor(scan.points.shape) // 2
    calibration = torch.tensor(scan.measurement.parameters["calibration"])
    outer = (where.abs() > calibration / 2).any(dim=1).nonzero().flatten()
    order = outer[torch.randperm(len(outer), generator=torch.Generator().manual_seed(seed))]
    counts = round(TEST * len(outer)), round(VALIDATION * len(outer))
    parts = []
    for chosen in order[: sum(counts)].split(counts):
        part = torch.zeros(len(where), dtype=torch.bool)
        part[chosen] = True
        parts.append(part)
    return parts[0], parts[1]


def _baselines(scan: Scan) -> dict[str, Callable[[Tensor, float], Tensor]]:
    maps = scan.maps

    def zero_filled(keep: Tensor, _: float) -> Tensor:
        full, _mask = scan.grid(keep)
        return (maps.conj() * Fourier(tuple(full.shape)).H(full)).sum(0)

    def tv(keep: Tensor, weight: float) -> Tensor:
        return tv_image(_problem(scan, keep), weight, 200)

    peak = float(zero_filled(torch.ones(scan.samples.shape[1], dtype=torch.bool), 0.0).abs().max())
    return {
        "zero-filled": zero_filled,
        "SENSE-CG": lambda keep, weight: sense_cg(*scan.grid(keep), maps, weight),
        "L1-wavelet": lambda keep, weight: l1_wavelet(*scan.grid(keep), maps, weight * peak),
        "TV": tv,
    }


def _tuned(
    scan: Scan, solve: Callable[[Tensor, float], Tensor], grid: tuple[float, ...], keep: Tensor, validation: Tensor
) -> float:
    found = tune_weight([keep], solve, lambda _, image: -scan.error(image, validation), grid, refinements=3)
    return float(found.weight)


def _medinr(scan: Scan, keep: Tensor, prior: DenoiserPrior, settings: PlugAndPlaySettings) -> Tensor:
    return plug_and_play_solution(_problem(scan, keep), prior, settings).image


def _problem(scan: Scan, keep: Tensor) -> Problem:
    return acquisition_of(scan.reduced(keep)).problem(0)


def _table(errors: dict[str, list[float]], seconds: dict[str, list[float]], chosen: dict[str, list[float]]) -> Table:
    draws = len(errors["medinr"])
    table = Table(title=f"Error of held-out k-space samples, relative, {draws} draws")
    for column in ("method", "mean error", "worst", "seconds", "weight"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for name, values in errors.items():
        spent = f"{sum(seconds[name]) / draws:.1f}" if name in seconds else "-"
        weight = f"{sum(chosen[name]) / draws:.3g}" if name in chosen else "-"
        table.add_row(name, f"{sum(values) / draws:.4f}", f"{max(values):.4f}", spent, weight)
    return table
