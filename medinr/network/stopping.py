"""Stopping by measurements alone: some are held out of the fit, and it ends when their misfit no longer falls."""

from __future__ import annotations

from dataclasses import dataclass

from medinr.errors import ConfigError

#: Checks in a row without improvement before a fit ends: a single one may be worse by chance.
FEWEST_CHECKS = 3


@dataclass(frozen=True)
class StoppingSettings:
    """Stopping by held-out measurements.

    Attributes
    ----------
    held_out : float
        Fraction of the measurement held out of the fit; 0 runs all steps.
    patience : int
        Steps without improvement after which the fit ends.
    at_least : int
        Steps before which it never ends.

    Raises
    ------
    ConfigError
        On a value outside its range.
    """

    held_out: float = 0.05
    patience: int = 30
    at_least: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 0.5:
            raise ConfigError(f"held_out is a fraction from 0 to below 0.5; got {self.held_out}.")


class HeldOutWatch:
    """Records the held-out misfit during the fit, and the best step."""

    def __init__(self, settings: StoppingSettings) -> None:
        self.settings = settings
        self.best_step = 0
        self.first = 0
        self.best_value = float("inf")

    def begin(self, step: int) -> None:
        """Count patience from ``step``, where another phase begins."""
        self.first = step

    def update(self, step: int, value: float) -> bool:
        """Record the misfit before ``step``; True when it is the best so far."""
        if value < self.best_value:
            self.best_step, self.best_value = step, value
            return True
        return False

    def exhausted(self, step: int, interval: int = 1) -> bool:
        """Whether patience is exhausted: in steps, and never before `FEWEST_CHECKS` checks ``interval`` steps apart."""
        s = self.settings
        patience = max(s.patience, FEWEST_CHECKS * interval)
        return step >= s.at_least and step - max(self.best_step, self.first) >= patience
