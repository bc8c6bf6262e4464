"""Scan in, simulated measurement out: a file that can be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medinr.config import ReconstructConfig
from medinr.io.choice import AS_IT_IS, ScanChoice
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
    choice: ScanChoice = AS_IT_IS,
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
    choice : ScanChoice
        Which scan, where there are several.

    Returns
    -------
    Measurement
    """
    measurement, _ = measure(source, config, choice, slices=slices)
    write_measurement(measurement, out, overwrite=overwrite)
    return measurement
