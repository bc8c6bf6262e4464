"""A scan in memory to its simulated measurement, and the reference that it is compared with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medinr.acquisition.simulation import simulate_with_reference
from medinr.acquisition.ways import acquisition_class
from medinr.config import ReconstructConfig
from medinr.data.orient import standard_orientation
from medinr.errors import GeometryError, UnitError
from medinr.jobs.reference import Reference
from medinr.measurement import Measurement
from medinr.metrics.image_quality import data_range
from medinr.volume import WITHOUT_MAGNITUDE, Volume

if TYPE_CHECKING:
    from medinr.io.manifest import ManifestRow

#: What a reader of any result of a simulated measurement has to know.
SIMULATED = (
    "Simulated: the measurement that is reconstructed was simulated from a scan. The scan itself is the reference, not "
    "what is treated."
)


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
    """Simulate the measurement of some slices; ``name`` is for errors.

    Noise level and range are those of all slices. The scan's slices come back for comparison.

    Raises
    ------
    UnitError
        When the scan is the phase or the imaginary part of an MR signal, or not of the task's modality.
    IntensityError
        When a slice holds NaN or infinity, or zeros only.
    """
    component = whole.provenance.facts.component
    # A complex scan has a magnitude, whatever was said of one of the files that it is made of.
    if component in WITHOUT_MAGNITUDE and not np.iscomplexobj(whole.array):
        raise UnitError(
            f"{name}: this is the {component} of an MR scan; a measurement is simulated from its magnitude. "
            "Give the magnitude image."
        )
    values = np.abs(whole.array) if whole.modality == "MR" else whole.array.real.copy()
    for plane in values:
        np.nan_to_num(plane, copy=False)
    numbers = list(numbers)
    chosen = whole.select(numbers)
    chosen.require_usable(name)
    upright = standard_orientation(chosen)
    # No further copies, as a scan may fill half of the memory: the range is that of the largest value, and the level is
    # found in place.
    peak = data_range(np.full((1, 1, 1), max(values.max(), -values.min())), whole.modality)
    level = float(np.percentile(values, 99, overwrite_input=True))
    images = np.abs(upright.array) if whole.modality == "MR" else upright.array.real
    measurement, without_noise = simulate_with_reference(config.task, upright, config.simulation, level=level)
    # Where resolution is lost too, noise is not the only difference from the scan.
    reference = Reference(chosen, images.astype(np.float32) if without_noise is None else without_noise, peak)
    if upright.affine[:3, 2] @ chosen.affine[:3, 2] < 0:
        numbers.reverse()
    return replace(measurement, parameters={**measurement.parameters, "slices": numbers}), reference
