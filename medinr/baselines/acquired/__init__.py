"""Denoisers of other libraries for scans as they were acquired: the scan in, the noise found by them or by us."""

from medinr.baselines.acquired.baseline import Baseline, without_bias
from medinr.baselines.acquired.table import BASELINES

__all__ = ["BASELINES", "Baseline", "without_bias"]
