"""The measurement of a source: read from a scanner's raw data, kept from before, or simulated from a scan."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from medinr.config import ReconstructConfig
from medinr.errors import ConfigError, FileError
from medinr.io.choice import AS_IT_IS, ScanChoice
from medinr.io.measurement import read_measurement
from medinr.io.raw.read import read_raw
from medinr.io.raw.recognise import is_raw
from medinr.io.scan import open_scan, require_scan
from medinr.jobs.audit.audit import audit_volume
from medinr.jobs.audit.carried import with_findings
from medinr.jobs.prepared import prepare_raw
from medinr.jobs.reference import Reference
from medinr.jobs.simulated import measure_slices, measured_slices
from medinr.measurement import Measurement
from medinr.volume import Volume


def is_measured(source: Path) -> bool:
    """Whether a source is raw data or a measurement file, by its ending and first bytes; else it may be a scan."""
    return source.suffix == ".safetensors" or is_raw(source)


def refuse_scan(source: Path, task: str) -> None:
    """Refuse what is no measurement; of a scan, say which commands take it.

    Parameters
    ----------
    source : Path
    task : str
        That was asked for.

    Raises
    ------
    FileError
        Saying what came and what to do.
    """
    if is_measured(source):
        return
    require_scan(source)
    name = shlex.quote(source.name)
    raise FileError(
        f"{source.name} holds images; `medinr reconstruct` takes raw data and measurement files. "
        f"`medinr denoise {name}` and `medinr superres {name} --spacing 1` treat a scan as it was acquired; "
        f"`medinr reconstruct-simulated {name} --task {shlex.quote(task)}` simulates a measurement of it and "
        "reconstructs that, to test the method."
    )


def refuse_sidecar(source: Path) -> NoReturn:
    """Refuse a sidecar of what is not raw data."""
    raise ConfigError(f"{source.name} is no raw file that a sidecar could explain; leave --sidecar out.")


def open_measurement(
    source: Path,
    config: ReconstructConfig,
    *,
    slices: Sequence[int] | None = None,
    sidecar: Path | None = None,
) -> tuple[Measurement, Reference | None]:
    """Read a measurement.

    Parameters
    ----------
    source : Path
        Measurement (.safetensors) or raw data (`medinr.io.raw`).
    config : ReconstructConfig
    slices : sequence of int, optional
        Not of a measurement file, which is taken whole.
    sidecar : Path, optional
        What a raw file does not say itself.

    Returns
    -------
    Measurement
    Reference or None
        The image of all raw data where some were left out afterwards.

    Raises
    ------
    FileError
        When the source is a scan, or nothing that is known.
    ConfigError
        When the measurement is of another task than the configuration, or a sidecar was given for no raw file.
    """
    refuse_scan(source, config.task)
    if source.suffix != ".safetensors":
        whole = read_raw(source, sidecar=sidecar, slices=slices)
        numbers = list(range(whole.slices) if slices is None else slices)
        measurement, reference = prepare_raw(whole, config, numbers)
    else:
        if sidecar is not None:
            refuse_sidecar(source)
        measurement, reference = read_measurement(source), None
    if measurement.task != config.task:
        raise ConfigError(
            f"{source.name} is a measurement of task {measurement.task}; {config.task} was asked for. "
            f"Say --task {measurement.task}."
        )
    return measurement, reference


def measure(
    source: Path,
    config: ReconstructConfig,
    choice: ScanChoice = AS_IT_IS,
    *,
    slices: Sequence[int] | None = None,
) -> tuple[Measurement, Reference]:
    """Simulate the measurement of a scan's slices; the scan itself comes back for comparison.

    Parameters
    ----------
    source : Path
        DICOM or NIfTI, or another format of `medinr.io.scan.read_scan`.
    config : ReconstructConfig
    choice : ScanChoice
        Which scan, where there are several.
    slices : sequence of int, optional
        All by default.

    Raises
    ------
    FileError
        When the source is a measurement already, or nothing that is known.
    """
    if is_measured(source):
        raise FileError(
            f"{source.name} is no scan but raw data or a measurement file: nothing is simulated of it. "
            f"`medinr reconstruct {shlex.quote(source.name)} --task {config.task}` reconstructs it."
        )
    return measure_scan(open_scan(source, choice), config, slices, source.name)


def measure_scan(
    scan: Volume, config: ReconstructConfig, slices: Sequence[int] | None, name: str
) -> tuple[Measurement, Reference]:
    """Do the same with a scan that is read already; the findings of its audit travel with the measurement."""
    whole = measured_slices(scan, config, name)
    numbers = list(range(whole.shape[0]) if slices is None else slices)
    measurement, reference = measure_slices(whole, config, numbers, name)
    return with_findings(measurement, audit_volume(scan)), reference
