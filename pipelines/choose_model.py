"""Measurement in, ranking of models out: which predicts a held-out part of it best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from medinr.config import ReconstructConfig
from medinr.io.choice import AS_IT_IS, ScanChoice
from medinr.io.scan import open_scan
from medinr.jobs.choose_model import Candidate, candidate_models, judged_slices, rank_models
from medinr.jobs.measure import is_measured, measure_scan, open_measurement, refuse_sidecar
from medinr.jobs.simulated import measured_slices
from medinr.measurement import Measurement


def choose_model(
    source: Path,
    config: ReconstructConfig,
    *,
    models: Sequence[str] = (),
    slices: Sequence[int] | None = None,
    sidecar: Path | None = None,
    announce: Callable[[str], None] = lambda line: None,
    choice: ScanChoice = AS_IT_IS,
) -> tuple[Measurement, tuple[Candidate, ...]]:
    """Rank the shipped models, others, and random weights as control, for a measurement.

    Parameters
    ----------
    source : Path
        Measurement (.safetensors), raw data, or a scan (NIfTI file, DICOM folder) whose measurement is simulated.
    config : ReconstructConfig
        Its task, simulation and seed.
    models : sequence of str
        Files to rank beside the shipped models.
    slices : sequence of int, optional
        Of the scan; its middle one by default. Of a measurement a few are used.
    sidecar : Path, optional
        What a raw file does not say itself.
    announce : callable, optional
        Called with the name of every model before it is tried.
    choice : ScanChoice
        Which scan, where there are several.

    Returns
    -------
    Measurement
    tuple of Candidate
        Best first.

    Raises
    ------
    ConfigError
        When the measurement is of another task.
    CheckpointError
        When a model is missing, damaged or not one for slices.
    InputError
        When nothing can be held out.
    """
    cards = candidate_models(models)
    if is_measured(source):
        measurement, _ = open_measurement(source, config, slices=slices, sidecar=sidecar)
    else:
        if sidecar is not None:
            refuse_sidecar(source)
        scan = open_scan(source, choice)
        # One slice tells models apart; simulating a whole volume would take longer than all the rest.
        middle = measured_slices(scan, config, source.name).shape[0] // 2
        measurement, _ = measure_scan(scan, config, [middle] if slices is None else slices, source.name)
    positions = judged_slices(measurement, all_of_them=slices is not None)
    return measurement, rank_models(measurement, cards, positions, config.seed, announce)
