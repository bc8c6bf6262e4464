"""A measurement to be explained: simulated from a scan, read from a scanner's raw data, or kept from before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from medinr.acquisition.simulation import simulate
from medinr.acquisition.ways import acquisition_class, acquisition_of
from medinr.config import ReconstructConfig
from medinr.data.orient import standard_orientation
from medinr.data.raw.prepare import cleaned, sampled
from medinr.data.raw.settings import LineSelection
from medinr.data.raw.to_measurement import measurement_from_raw
from medinr.errors import ConfigError, GeometryError
from medinr.io.manifest import ManifestRow
from medinr.io.measurement import read_measurement
from medinr.io.raw.read import is_raw, read_raw
from medinr.io.scan import read_scan
from medinr.jobs.reference import Reference
from medinr.measurement import Measurement
from medinr.metrics.image_quality import data_range
from medinr.raw import RawMeasurement
from medinr.volume import Volume


def open_measurement(
    source: Path,
    config: ReconstructConfig,
    *,
    slices: Sequence[int] | None = None,
    sidecar: Path | None = None,
    index: int | None = None,
    series: int | None = None,
    modality: str | None = None,
) -> tuple[Measurement, Reference | None]:
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
    index, series, modality : optional
        Of a scan, see `medinr.io.scan.read_scan`.

    Returns
    -------
    Measurement
    Reference or None
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
        whole = read_raw(source, sidecar=sidecar, slices=slices)
        numbers = list(range(whole.slices) if slices is None else slices)
        measurement, reference = prepare_raw(whole, config, numbers)
    elif source.suffix == ".safetensors":
        measurement, reference = read_measurement(source), None
    else:
        return measure(source, config, slices=slices, index=index, series=series, modality=modality)
    if measurement.task != config.task:
        raise ConfigError(
            f"{source.name} is a measurement of task {measurement.task}; {config.task} was asked for. "
            f"Say --task {measurement.task}."
        )
    return measurement, reference


def prepare_raw(
    raw: RawMeasurement, config: ReconstructConfig, numbers: Sequence[int]
) -> tuple[Measurement, Reference | None]:
    """Make a measurement of raw data; with the image of all of them when the settings leave some out.

    Parameters
    ----------
    raw : RawMeasurement
    config : ReconstructConfig
    numbers : sequence of int
        Of the slices.
    """
    settings, drawn = config.raw, config.simulation
    # Lines that are left out afterwards are drawn as those of a simulation.
    lines = (
        LineSelection(drawn.centre_fraction, drawn.mask, drawn.seed)
        if hasattr(drawn, "centre_fraction")
        else LineSelection()
    )
    whole = cleaned(raw, settings)
    measurement = measurement_from_raw(sampled(whole, settings, lines), settings.size)
    measurement = replace(measurement, parameters={**measurement.parameters, "slices": list(numbers)})
    if settings.acceleration == 1 and settings.every == 1:
        return measurement, None
    full = measurement_from_raw(sampled(whole, replace(settings, acceleration=1.0, every=1), lines), settings.size)
    everything = acquisition_of(full)
    images = np.stack(
        [
            everything.export(everything.direct(full.data[position], everything.operator(position)))
            for position in range(full.slices)
        ]
    )
    return measurement, Reference(full.volume(images), images, float(images.max()))


def measure(
    source: Path,
    config: ReconstructConfig,
    *,
    slices: Sequence[int] | None = None,
    index: int | None = None,
    series: int | None = None,
    modality: str | None = None,
) -> tuple[Measurement, Reference]:
    """Simulate the measurement of a scan's slices; the scan itself comes back for comparison."""
    whole = measured_slices(read_scan(source, index=index, series=series, modality=modality), config, source.name)
    return measure_slices(whole, config, list(range(whole.shape[0]) if slices is None else slices), source.name)


def measured_slices(whole: Volume, config: ReconstructConfig, name: str) -> Volume:
    """The scan in the slices that a simulation measures: its own, or those across them."""
    return acquisition_class(config.task).measured_slices(whole, config.simulation, name)


def taken_slices(whole: Volume, config: ReconstructConfig, row: ManifestRow) -> tuple[Volume, tuple[int, ...]]:
    """A manifest's scan as a simulation measures it, and the slices taken; none where it cannot stand for the task.

    The manifest's choice is of the scan's own slices; of those across them, the middle half is in the body.
    """
    try:
        scan = measured_slices(whole, config, row.path)
    except GeometryError:
        # Its slices are too thick to be a reference; the task's words say which scans are meant.
        return whole, ()
    count = scan.shape[0]
    return scan, row.slice_numbers(count) if scan is whole else tuple(range(count // 4, count - count // 4))


def measure_slices(
    whole: Volume, config: ReconstructConfig, numbers: list[int], name: str = "the scan"
) -> tuple[Measurement, Reference]:
    """Do the same with a scan that is read already; ``name`` is for errors."""
    values = np.nan_to_num(np.abs(whole.array) if whole.modality == "MR" else whole.array.real)
    numbers = list(numbers)
    chosen = whole.select(numbers)
    chosen.require_usable(name)
    upright = standard_orientation(chosen)
    level = float(np.percentile(values, 99))
    images = np.abs(upright.array) if whole.modality == "MR" else upright.array.real
    reference = Reference(chosen, images.astype(np.float32), data_range(values, whole.modality))
    measurement = simulate(config.task, upright, config.simulation, level=level)
    if upright.affine[:3, 2] @ chosen.affine[:3, 2] < 0:
        numbers.reverse()
    return replace(measurement, parameters={**measurement.parameters, "slices": numbers}), reference
