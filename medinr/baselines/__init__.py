"""Methods to compare with, through other libraries."""

from medinr.baselines.generalised_variation import generalised_variation
from medinr.baselines.rician import denoise_magnitude
from medinr.baselines.total_variation import total_variation
from medinr.baselines.tune import Trial, Tuning, tune_weight
from medinr.operators.adapters import to_sigpy

__all__ = [
    "Trial",
    "Tuning",
    "denoise_magnitude",
    "generalised_variation",
    "to_sigpy",
    "total_variation",
    "tune_weight",
]
