"""Raw data to a measurement, and the image of all of them where some are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medinr.acquisition.kspace import KspaceSimulation
from medinr.acquisition.ways import acquisition_of
from medinr.config import ReconstructConfig
from medinr.data.raw.prepare import cleaned, sampled
from medinr.data.raw.settings import LineSelection
from medinr.data.raw.to_measurement import measurement_from_raw
from medinr.jobs.reference import Reference
from medinr.measurement import Measurement
from medinr.raw import RawMeasurement


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
        if isinstance(drawn, KspaceSimulation)
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
