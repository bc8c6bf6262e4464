"""Scan in, simulated measurement out: a file that can be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medinr.config import ReconstructConfig
from medinr.io.measurement import write_measurement
from medinr.jobs.measure import measure
from medinr.measurement import Measurement


def simulate(
    source: Path,
    out: Path,
    config: ReconstructConfig,
    *,
    slices: Sequence[int] | None = None,
    overwrite: bool = False,
    index: int | None = None,
    series: int | str | None = None,
    modality: str | None = None,
    straighten: bool = False,
) -> Measurement:
    """Simulate the measurement of a scan's slices and save it.

    Parameters
    ----------
    source : Path
        NIfTI file or DICOM folder.
    out : Path
        File (.safetensors).
    config : ReconstructConfig
    slices : sequence of int, optional
    overwrite : bool
        Replace a finished file.
    index, series, modality, straighten : optional
        See `medinr.io.scan.read_scan`.

    Returns
    -------
    Measurement
    """
    measurement, _ = measure(
        source, config, slices=slices, index=index, series=series, modality=modality, straighten=straighten
    )
    write_measurement(measurement, out, overwrite=overwrite)
    return measurement
