"""What a user asks of `medinr denoise` and `medinr superres`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medinr.errors import ConfigError
from medinr.io.choice import AS_IT_IS, ScanChoice
from medinr.io.provenance import last_part
from medinr.jobs.scan.methods import DEFAULT_METHOD

#: Said in the help and in every result.
LEARNED_PRIOR = (
    "A prior that was learned from other people's scans can remove small structure, or invent it. Compare with the "
    "scan as it was acquired before anything is concluded from the result."
)


@dataclass(frozen=True)
class ScanRequest:
    """What both commands take.

    Attributes
    ----------
    source, out : Path
        The scan, and the folder for everything that is made.
    choice : ScanChoice
        Which scan is meant.
    slices : tuple of int, optional
    phase : Path, optional
        Phase of the magnitude, or imaginary part of the real one.
    sigma : str, optional
        Standard deviation of the noise: a number, or the path of a map.
    noise_scan : Path, optional
        Acquired without signal.
    coils : int, optional
    blend : float, optional
        0 gives the input, 1 the full effect; chosen by how reliable the noise is by default.
    mask : Path, optional
        What is treated; elsewhere values stay.
    model : str, optional
        The one for the modality by default.
    method : str
    force, overwrite, deidentify : bool
    each_alone : bool
        Of `medinr denoise`: denoise every volume of a series by itself.
    """

    source: Path
    out: Path
    choice: ScanChoice = AS_IT_IS
    slices: tuple[int, ...] | None = None
    phase: Path | None = None
    sigma: str | None = None
    noise_scan: Path | None = None
    coils: int | None = None
    blend: float | None = None
    mask: Path | None = None
    model: str | None = None
    method: str = DEFAULT_METHOD
    force: bool = False
    overwrite: bool = False
    deidentify: bool = False
    each_alone: bool = False

    def __post_init__(self) -> None:
        if self.blend is not None and not 0 <= self.blend <= 1:
            raise ConfigError(f"--blend is from 0 (the input) to 1 (the full effect); got {self.blend}.")

    @property
    def facts(self) -> dict[str, Any]:
        """Settings as they are written down: of files, only whether they were given."""
        told = {"sigma": self.sigma, "noise_scan": self.noise_scan, "mask": self.mask, "phase": self.phase}
        return {
            "method": self.method,
            "model": None if self.model is None else last_part(self.model),
            "slices": None if self.slices is None else list(self.slices),
            "coils": self.coils,
            "blend": self.blend,
            "forced": self.force,
            "given": sorted(name for name, value in told.items() if value is not None),
        }
