"""Scans of several repeats of one acquisition: one repeat is given, the mean of the others is the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medinr.acquisition.acquired_repeat import AcquiredRepeat
from medinr.acquisition.ways import acquisition_class
from medinr.config import ReconstructConfig
from medinr.data.orient import standard_orientation
from medinr.errors import GeometryError, IntensityError
from medinr.io.choice import ScanChoice
from medinr.io.manifest import ManifestRow
from medinr.jobs.reference import Reference
from medinr.jobs.reference_noise import as_magnitude
from medinr.jobs.scan.source import LEAST_REPEATS, open_source
from medinr.measurement import Measurement
from medinr.metrics.reference_noise import noise_by_region
from medinr.metrics.repeats import drift, mean_of_others, without_drift
from medinr.noise.estimate import estimate_noise
from medinr.noise.repeats import noise_of_repeats
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import WITHOUT_MAGNITUDE, Volume


@dataclass(frozen=True, eq=False)
class Repeats:
    """Repeats of one acquisition.

    Attributes
    ----------
    volumes : tuple of Volume
        Magnitudes.
    noise : ScanNoise
        Of one repeat, from the differences of all. It is of the reference; no method is told of it.
    """

    volumes: tuple[Volume, ...]
    noise: ScanNoise


@dataclass(frozen=True, eq=False)
class RepeatReference(Reference):
    """The mean of the repeats that were not given.

    Attributes
    ----------
    number : int
        Of the repeat that was given, from 0.
    variance : ndarray, shape (slices, y, x)
        Of that mean.
    sigma : ndarray, shape (slices, y, x)
        Of one repeat's noise, which biases magnitudes and their mean; 0 where every other repeat is 0.
    coils : int
        Of that noise; 0 for Gaussian noise, which has no bias.
    """

    number: int
    variance: NDArray[np.float32]
    sigma: NDArray[np.float32]
    coils: int

    def noise_of(self, position: int) -> dict[str, float]:
        """Facts of a slice's noise, as `medinr.jobs.evaluate.results.Case` keeps them."""
        return noise_by_region(self.variance[position], self.images[position]) | {"coils": self.coils}


def wants_repeats(config: ReconstructConfig) -> bool:
    """Whether a task is for scans of several repeats."""
    return issubclass(acquisition_class(config.task), AcquiredRepeat)


def find_repeats(path: Path, row: ManifestRow) -> tuple[Repeats | None, str]:
    """Read the repeats that a scan holds; of none, the second value says in words why."""
    try:
        source = open_source(path, ScanChoice(series=row.series_number, modality=row.modality))
        if not source.repeats:
            held = "1 volume" if source.count == 1 else f"{source.count} volumes"
            return None, f"it holds {held}, and {LEAST_REPEATS} or more that repeat one acquisition are wanted"
        component = source.first.provenance.facts.component
        if component in WITHOUT_MAGNITUDE:
            return None, f"it is the {component} of an MR scan, and magnitudes are wanted"
        volumes = tuple(as_magnitude(volume) for volume in source.repeats)
        if len({volume.array.tobytes() for volume in volumes}) < len(volumes):
            return None, "some of its volumes are copies of one another, whose noise is not independent"
        found = estimate_noise(volumes[0])
        coils = found.coils if found.kind == "chi" else None
        # The drift of whole volumes would count as noise.
        steady = without_drift(np.stack([volume.array.real for volume in volumes])).astype(np.float32)
        alike = [volume.with_array(values) for volume, values in zip(volumes, steady, strict=True)]
        return Repeats(volumes, noise_of_repeats(alike, kind=found.kind, coils=coils)), ""
    except (GeometryError, IntensityError) as error:
        return None, str(error).rstrip(".")


def measure_repeat(
    repeats: Repeats, config: ReconstructConfig, numbers: Sequence[int], name: str
) -> tuple[Measurement, RepeatReference]:
    """Give one repeat, which the seed chooses, and the mean of the others in its brightness.

    Parameters
    ----------
    repeats : Repeats
    config : ReconstructConfig
    numbers : sequence of int
        Slices, evenly spaced.
    name : str
        Of the scan, for errors.

    Raises
    ------
    IntensityError
        When a slice of the repeat holds zeros only.
    """
    volumes, noise = repeats.volumes, repeats.noise
    number = config.simulation.drawn_from(len(volumes))
    numbers = list(numbers)
    given = volumes[number].select(numbers)
    given.require_usable(f"{name}, repeat {number}")
    magnitudes = np.stack([volume.array.real for volume in volumes])
    others = mean_of_others(magnitudes, number)
    # In the brightness of the repeat, as the others are.
    level = noise.sigma if noise.sigma_map is None else noise.sigma_map
    sigma = drift(magnitudes)[number] * np.broadcast_to(level, others.image.shape)

    def upright(values: NDArray[np.floating]) -> NDArray[np.float32]:
        whole = volumes[number].with_array(values.astype(np.float32))
        return standard_orientation(whole.select(numbers)).array.real.astype(np.float32, copy=False)

    reference = RepeatReference(
        given.with_array(others.image[numbers].astype(np.float32)),
        upright(others.image),
        float(others.image.max()),
        number=number,
        variance=upright(others.variance),
        sigma=upright(np.where(others.image > 0, sigma, 0.0)),
        coils=0 if noise.kind == "gaussian" else noise.coils,
    )
    turned = standard_orientation(given)
    shown = numbers if turned.affine[:3, 2] @ given.affine[:3, 2] > 0 else numbers[::-1]
    return AcquiredRepeat.given(turned, {"repeat": number, "slices": shown}), reference
