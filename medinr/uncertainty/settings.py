"""Settings of the standard deviation of every pixel."""

from __future__ import annotations

from dataclasses import dataclass

from medinr.errors import ConfigError


@dataclass(frozen=True)
class UncertaintySettings:
    """How the standard deviation of every pixel is estimated (`medinr.uncertainty.bootstrap`).

    Attributes
    ----------
    repeats : int
        Bootstrap repeats; 0: no uncertainty.
    iterations : int
        Largest number of plug-and-play iterations in each repeat.
    weights : (float, float, float)
        Of the three parts of the standard deviation: spread of the repeats, detail that the denoiser would remove,
        noise of the measurement.
    mean_error : float
        Mean absolute error over mean standard deviation: 0.80 if errors were normal.
    detail_level : float
        Noise level of the denoiser evaluation for detail, for images scaled to about 0 to 1.

    Raises
    ------
    ConfigError
        On a value outside its range.
    """

    repeats: int = 0
    iterations: int = 16
    weights: tuple[float, float, float] = (1.0, 0.5, 0.3)
    mean_error: float = 0.8
    detail_level: float = 0.1

    def __post_init__(self) -> None:
        if self.repeats < 0 or self.iterations < 1 or min(self.weights) < 0 or sum(self.weights) == 0:
            raise ConfigError(
                "uncertainty wants repeats of 0 or more, iterations of 1 or more, and weights not below 0 and not all "
                f"0; got {self.repeats}, {self.iterations}, {self.weights}."
            )
        if min(self.mean_error, self.detail_level) <= 0:
            raise ConfigError(
                f"uncertainty wants mean_error and detail_level above 0; got {self.mean_error}, {self.detail_level}."
            )
