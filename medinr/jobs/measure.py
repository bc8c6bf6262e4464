"""The measurement of a source: read from a scanner's raw data, kept from before, or simulated from a scan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medinr.config import ReconstructConfig
from medinr.errors import ConfigError, UnitError
from medinr.io.measurement import read_measurement
from medinr.io.raw.read import read_raw
from medinr.io.raw.recognise import is_raw
from medinr.io.scan import read_scan
from medinr.jobs.audit.audit import audit_volume
from medinr.jobs.audit.carried import with_findings
from medinr.jobs.prepared import prepare_raw
from medinr.jobs.reference import Reference
from medinr.jobs.simulated import measure_slices, measured_slices
from medinr.measurement import Measurement

#: Parts of the signal whose absolute value is no picture of the tissue.
_WITHOUT_MAGNITUDE = ("phase", "imaginary")


def open_measurement(
    source: Path,
    config: ReconstructConfig,
    *,
    slices: Sequence[int] | None = None,
    sidecar: Path | None = None,
    index: int | None = None,
    series: int | str | None = None,
    modality: str | None = None,
    straighten: bool = False,
) -> tuple[Measurement, Reference | None]:
    """Read or make the measurement of a source, whatever it is.

    Parameters
    ----------
    source : Path
        Measurement (.safetensors), raw data (`medinr.io.raw`), or a scan, whose measurement is simulated.
    config : ReconstructConfig
    slices : sequence of int, optional
        Not of a measurement file, which is taken whole.
    sidecar : Path, optional
        What a raw file does not say itself.
    index, series, modality, straighten : optional
        Of a scan, see `medinr.io.scan.read_scan`.

    Returns
    -------
    Measurement
    Reference or None
        The scan, or the image of all raw data where some were left out afterwards.

    Raises
    ------
    ConfigError
        When the measurement is of another task than the configuration, or a sidecar was given for no raw file.
    """
    raw = source.suffix != ".safetensors" and is_raw(source)
    if sidecar is not None and not raw:
        raise ConfigError(f"{source.name} is no raw file that a sidecar could explain; leave --sidecar out.")
    if raw:
        whole = read_raw(source, sidecar=sidecar, slices=slices)
        numbers = list(range(whole.slices) if slices is None else slices)
        measurement, reference = prepare_raw(whole, config, numbers)
    elif source.suffix == ".safetensors":
        measurement, reference = read_measurement(source), None
    else:
        return measure(
            source, config, slices=slices, index=index, series=series, modality=modality, straighten=straighten
        )
    if measurement.task != config.task:
        raise ConfigError(
            f"{source.name} is a measurement of task {measurement.task}; {config.task} was asked for. "
            f"Say --task {measurement.task}."
        )
    return measurement, reference


def measure(
    source: Path,
    config: ReconstructConfig,
    *,
    slices: Sequence[int] | None = None,
    index: int | None = None,
    series: int | str | None = None,
    modality: str | None = None,
    straighten: bool = False,
) -> tuple[Measurement, Reference]:
    """Simulate the measurement of a scan's slices; the scan itself comes back for comparison.

    The findings of the scan's audit travel with the measurement.
    """
    scan = read_scan(source, index=index, series=series, modality=modality, straighten=straighten)
    component = scan.provenance.facts.component
    if component in _WITHOUT_MAGNITUDE:
        raise UnitError(
            f"{source.name}: this is the {component} of an MR scan; a measurement is simulated from its magnitude. "
            "Give the magnitude image."
        )
    whole = measured_slices(scan, config, source.name)
    numbers = list(range(whole.shape[0]) if slices is None else slices)
    measurement, reference = measure_slices(whole, config, numbers, source.name)
    return with_findings(measurement, audit_volume(scan)), reference
