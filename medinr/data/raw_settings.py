"""What is done to raw data by default between the file and the fit."""

from __future__ import annotations

from dataclasses import dataclass

from medinr.errors import ConfigError

MAPS = ("espirit", "walsh")
ROTATION_CENTRES = ("auto", "header")


@dataclass(frozen=True)
class RawSettings:
    """How raw data become a measurement.

    Attributes
    ----------
    coils : int
        k-space: compressed to this many virtual coils at most; 0 keeps all.
    maps : {"espirit", "walsh"}
        k-space: how coil sensitivities are estimated when the file has none.
    acceleration : float
        k-space: lines are left out afterwards, for a test on fully sampled data; 1 keeps all that were measured.
    centre_fraction, mask : float, str
        k-space: which ones, see `medinr.operators.cartesian_mask`.
    every : int
        Sinograms: keep every so many views, for a test; 1 keeps all.
    rotation_centre : {"auto", "header"}
        Sinograms: ``"auto"`` finds the axis of half a turn of parallel views that does not say where it is.
    stripes : bool
        Sinograms: take out stripes along the angle, which become rings.
    size : int
        Sinograms: pixels per side of the image; 0: as many as the detector has elements, 512 at most.
    seed : int
        Of the lines left out.
    """

    coils: int = 8
    maps: str = "espirit"
    acceleration: float = 1.0
    centre_fraction: float = 0.08
    mask: str = "variable"
    every: int = 1
    rotation_centre: str = "auto"
    stripes: bool = False
    size: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.maps not in MAPS:
            raise ConfigError(f"raw.maps {self.maps!r} is not one of {', '.join(MAPS)}.")
        if self.rotation_centre not in ROTATION_CENTRES:
            raise ConfigError(f"raw.rotation_centre {self.rotation_centre!r} is not one of auto, header.")
        if self.coils < 0 or self.acceleration < 1 or self.every < 1 or self.size < 0:
            raise ConfigError(
                "raw.coils and raw.size are 0 or more, raw.acceleration and raw.every 1 or more; got "
                f"{self.coils}, {self.size}, {self.acceleration}, {self.every}."
            )
