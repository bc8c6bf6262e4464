"""A measurement to be explained: simulated from a scan, read from a scanner's raw data, or kept from before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from medinr.pipelines.slices import Truth, exported

from medinr.config import ReconstructConfig
from medinr.data.acquisition import operator_for, plain_image
from medinr.data.from_raw import measurement_from_raw
from medinr.data.orient import across_slices, standard_orientation
from medinr.data.raw_prepare import cleaned, sampled
from medinr.data.simulate import simulate
from medinr.errors import ConfigError, GeometryError
from medinr.evaluate.metrics import data_range
from medinr.io.manifest import ManifestRow
from medinr.io.measurement import read_measurement
from medinr.io.raw import is_raw, read_raw
from medinr.io.scan import read_scan
from medinr.measurement import Measurement
from medinr.volume import Volume


def open_measurement(
    source: Path,
    config: ReconstructConfig,
    *,
    slices: Sequence[int] | None = None,
    sidecar: Path | None = None,
    **reading: Any,
) -> tuple[Measurement, Truth | None]:
    """Read or make the measurement of a source, whatever it is.

    Parameters
    ----------
    source : Path
        Measurement (.safetensors), raw data (`medinr.io.raw`), or a scan, whose measurement is simulated.
    config : ReconstructConfig
    slices : sequence of int, optional
        Not of a measurement file, which is taken whole.
    sidecar : Path, optional
        What a raw file does not say itself.
    **reading
        ``index``, ``series`` and ``modality`` of a scan, see `medinr.io.scan.read_scan`.

    Returns
    -------
    Measurement
    Truth or None
        The scan, or the image of all raw data where some were left out afterwards.

    Raises
    ------
    ConfigError
        When the measurement is of another task than the configuration, or a sidecar was given for no raw file.
    """
    raw = source.suffix != ".safetensors" and is_raw(source)
    if sidecar is not None and not raw:
        raise ConfigError(f"{source.name} is no raw file that a sidecar could explain; leave --sidecar out.")
    if raw:
        measurement, truth = _measured(source, config, slices, sidecar)
    elif source.suffix == ".safetensors":
        measurement, truth = read_measurement(source), None
    else:
        return measure(source, config, slices=slices, **reading)
    if measurement.task != config.task:
        raise ConfigError(
            f"{source.name} is a measurement of task {measurement.task}; {config.task} was asked for. "
            f"Say --task {measurement.task}."
        )
    return measurement, truth


def _measured(
    source: Path, config: ReconstructConfig, slices: Sequence[int] | None, sidecar: Path | None
) -> tuple[Measurement, Truth | None]:
    """Raw data as a measurement; with the image of all of them when the settings leave some out."""
    settings = config.raw
    whole = cleaned(read_raw(source, sidecar=sidecar, slices=slices), settings)
    measurement = measurement_from_raw(sampled(whole, settings), settings.size)
    numbers = list(range(whole.slices) if slices is None else slices)
    measurement = replace(measurement, parameters={**measurement.parameters, "slices": numbers})
    if settings.acceleration == 1 and settings.every == 1:
        return measurement, None
    full = measurement_from_raw(sampled(whole, replace(settings, acceleration=1.0, every=1)), settings.size)
    images = np.stack(
        [
            exported(full, plain_image(full, full.data[position], operator_for(full, position)))
            for position in range(full.slices)
        ]
    )
    return measurement, Truth(full.volume(images), images, float(images.max()))


def measure(
    source: Path, config: ReconstructConfig, *, slices: Sequence[int] | None = None, **reading: Any
) -> tuple[Measurement, Truth]:
    """Simulate the measurement of a scan's slices; the scan itself comes back for comparison."""
    whole = as_seen(read_scan(source, **reading), config, source.name)
    return measure_slices(whole, config, list(range(whole.shape[0]) if slices is None else slices), source.name)


def as_seen(whole: Volume, config: ReconstructConfig, name: str) -> Volume:
    """The scan in the slices that a simulation measures: its own, or those across them."""
    across = config.task == "superres" and config.simulation.direction == "through-plane"
    return across_slices(whole, name) if across else whole


def taken_slices(whole: Volume, config: ReconstructConfig, row: ManifestRow) -> tuple[Volume, tuple[int, ...]]:
    """A manifest's scan as a simulation sees it, and the slices taken; none where it cannot stand for the task.

    The manifest's choice is of the scan's own slices; of those across them, the middle half is in the body.
    """
    try:
        scan = as_seen(whole, config, row.path)
    except GeometryError:
        # Its slices are too thick to be a truth; the task's words say which scans are meant.
        return whole, ()
    count = scan.shape[0]
    return scan, row.slice_numbers(count) if scan is whole else tuple(range(count // 4, count - count // 4))


def measure_slices(
    whole: Volume, config: ReconstructConfig, numbers: list[int], name: str = "the scan"
) -> tuple[Measurement, Truth]:
    """Do the same with a scan that is read already; ``name`` is for errors."""
    values = np.nan_to_num(np.abs(whole.array) if whole.modality == "MR" else whole.array.real)
    numbers = list(numbers)
    chosen = whole.select(numbers)
    chosen.require_usable(name)
    upright = standard_orientation(chosen)
    level = float(np.percentile(values, 99))
    images = np.abs(upright.array) if whole.modality == "MR" else upright.array.real
    truth = Truth(chosen, images.astype(np.float32), data_range(values, whole.modality))
    measurement = simulate(config.task, upright, config.simulation, level=level)
    if upright.affine[:3, 2] @ chosen.affine[:3, 2] < 0:
        numbers.reverse()
    return replace(measurement, parameters={**measurement.parameters, "slices": numbers}), truth
