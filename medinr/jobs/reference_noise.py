"""Noise that a scan has of its own, for judging images by it; no method is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medinr.data.orient import standard_orientation
from medinr.errors import InputError
from medinr.jobs.reference import Reference
from medinr.metrics.reference_noise import magnitude_variance, noise_by_region
from medinr.noise.estimate import estimate_noise
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import WITHOUT_MAGNITUDE, Volume

#: Why the noise of a reference that is not the scan itself is not known.
CHANGED = "the reference is not the scan itself, but lost the same frequencies as the measurement"


@dataclass(frozen=True, eq=False)
class OwnNoise:
    """Noise of the magnitude of a scan, ready for the slices of it that are references.

    Attributes
    ----------
    noise : ScanNoise or None
        As it was found in the whole scan; None where it is not known.
    sigma : Volume or None
        Its map, in the slices that are measured; None where sigma is the same everywhere.
    reason : str
        Why it is not known, in words; empty where it is, or is not looked for.
    """

    noise: ScanNoise | None = None
    sigma: Volume | None = None
    reason: str = ""

    @classmethod
    def found(cls, scan: Volume, measured: Callable[[Volume], Volume]) -> OwnNoise:
        """Find the noise of a whole scan.

        Parameters
        ----------
        scan : Volume
            As it was read. Of CT nothing is looked for, and phases are no reference.
        measured : callable
            From a volume on its grid to the slices of it that a simulation measures.
        """
        complex_values = np.iscomplexobj(scan.array)
        if scan.modality != "MR" or (scan.provenance.facts.component in WITHOUT_MAGNITUDE and not complex_values):
            return cls()
        try:
            noise = estimate_noise(as_magnitude(scan))
        except InputError as error:
            return cls(reason=str(error).rstrip("."))
        if not noise.reliable:
            return cls(reason=" ".join(noise.remarks).rstrip("."))
        sigma = None if noise.sigma_map is None else measured(scan.with_array(noise.sigma_map))
        return cls(noise, sigma)

    def by_region(self, reference: Reference, numbers: list[int], position: int) -> tuple[dict[str, float], str]:
        """Variance of a slice by region, as `medinr.jobs.evaluate.results.Case` keeps it.

        Parameters
        ----------
        reference : Reference
            Slices of the scan.
        numbers : list of int
            Theirs, in the order of the scan.
        position : int
            Of the slice among the images of the reference.

        Returns
        -------
        dict of str to float
            Empty where it is not known.
        str
            Why not, in words.
        """
        if self.noise is None:
            return {}, self.reason
        image = reference.images[position]
        if not np.array_equal(np.abs(standard_orientation(reference.scan).array[position]).astype(np.float32), image):
            return {}, CHANGED
        sigma: float | NDArray[np.floating] = self.noise.sigma
        if self.sigma is not None:
            sigma = standard_orientation(self.sigma.select(numbers)).array.real[position]
        return noise_by_region(magnitude_variance(image, sigma, self.noise.coils), image), ""


def as_magnitude(volume: Volume) -> Volume:
    """The magnitude of a scan; one of real values that are not negative is returned as it is.

    Parameters
    ----------
    volume : Volume
    """
    if not np.iscomplexobj(volume.array) and volume.array.min() >= 0:
        return volume
    facts = volume.provenance.facts
    if np.iscomplexobj(volume.array):
        facts = replace(facts, component="magnitude")
    magnitude = volume.with_array(np.abs(volume.array).astype(np.float32, copy=False))
    return replace(magnitude, provenance=replace(volume.provenance, facts=facts))
