"""Settings of the preparation of raw data."""

from __future__ import annotations

from dataclasses import dataclass

from medinr.errors import ConfigError

MAPS = ("espirit", "walsh")
ROTATION_CENTRES = ("auto", "header")


@dataclass(frozen=True)
class LineSelection:
    """Selection of lines when raw k-space is undersampled afterwards, see `medinr.operators.cartesian_mask`."""

    centre_fraction: float = 0.08
    mask: str = "variable"
    seed: int = 0


@dataclass(frozen=True)
class RawSettings:
    """How raw data become a measurement.

    Attributes
    ----------
    coils : int
        k-space: largest number of virtual coils after compression; 0 keeps all.
    maps : {"espirit", "walsh"}
        k-space: how coil sensitivities are estimated when the file has none.
    acceleration : float
        k-space: undersampling afterwards, to test on fully sampled data; 1 keeps all lines that were measured.
    every : int
        Sinograms: keep every n-th view, to test on a full scan; 1 keeps all.
    rotation_centre : {"auto", "header"}
        Sinograms: ``"auto"`` finds the axis of parallel views over half a rotation if the file does not give it.
    stripes : bool
        Sinograms: remove stripes along the angle, which cause rings.
    size : int
        Sinograms: pixels per side of the image; 0: as many as the detector has elements, 512 at most.
    """

    coils: int = 8
    maps: str = "espirit"
    acceleration: float = 1.0
    every: int = 1
    rotation_centre: str = "auto"
    stripes: bool = False
    size: int = 0

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
