"""Measurement in, ranking of models out: which predicts a held-out part of it best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from medinr.config import ReconstructConfig
from medinr.io.raw.recognise import is_raw
from medinr.io.scan import read_scan
from medinr.jobs.choose_model import Candidate, candidate_models, judged_slices, rank_models
from medinr.jobs.measure import open_measurement
from medinr.measurement import Measurement


def choose_model(
    source: Path,
    config: ReconstructConfig,
    *,
    models: Sequence[str] = (),
    slices: Sequence[int] | None = None,
    sidecar: Path | None = None,
    announce: Callable[[str], None] = lambda line: None,
    index: int | None = None,
    series: int | str | None = None,
    modality: str | None = None,
    straighten: bool = False,
) -> tuple[Measurement, tuple[Candidate, ...]]:
    """Rank the shipped models, others, and random weights as control, for a measurement.

    Parameters
    ----------
    source : Path
        Measurement (.safetensors), raw data, or a scan (NIfTI file, DICOM folder) that is measured first.
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
    index, series, modality, straighten : optional
        See `medinr.io.scan.read_scan`.

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
    chosen = slices
    if slices is None and source.suffix != ".safetensors" and not is_raw(source):
        # One slice tells models apart; simulating a whole volume would take longer than all the rest.
        chosen = [read_scan(source, index=index, series=series, modality=modality, straighten=straighten).shape[0] // 2]
    measurement, _ = open_measurement(
        source,
        config,
        slices=chosen,
        sidecar=sidecar,
        index=index,
        series=series,
        modality=modality,
        straighten=straighten,
    )
    positions = judged_slices(measurement, all_of_them=slices is not None)
    return measurement, rank_models(measurement, cards, positions, config.seed, announce)
