"""What treating a scan leaves: the value in Python, and the folder of a command with result.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medinr.io.atomic import write_json
from medinr.io.provenance import last_part
from medinr.jobs.record import versions
from medinr.jobs.scan.forecast import Forecast
from medinr.jobs.scan.prepare import FINISHED, ScanJob
from medinr.jobs.scan.request import LEARNED_PRIOR
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume


@dataclass(frozen=True, eq=False)
class ScanResult:
    """A scan that was denoised, or brought to a finer grid.

    Attributes
    ----------
    volume : Volume
        The result.
    removed : Volume or None
        What was taken away, on the scan's grid; None for another grid.
    noise : ScanNoise
        What was found or told.
    blend : float
        How much of the full effect was applied.
    notes, warnings : tuple of str
        What a reader should know; none names a file.
    seconds : float
    residual : float or None
        Of a finer grid: root mean square of what the result, measured again, leaves of the scan, over sigma.
    planar : bool
        Whether the scan came as one image (y, x).
    """

    volume: Volume
    removed: Volume | None
    noise: ScanNoise
    blend: float = 1.0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    residual: float | None = None
    planar: bool = False

    @property
    def array(self) -> NDArray[Any]:
        """The values, shape (z, y, x), or (y, x) where the scan came so."""
        return self.volume.array[0] if self.planar else self.volume.array

    def __repr__(self) -> str:
        return f"ScanResult {self.volume!r}, noise sigma {self.noise.sigma:.4g}, blend {self.blend:g}"


@dataclass(frozen=True, eq=False)
class ScanOutcome:
    """What a command left in its folder.

    Attributes
    ----------
    folder : Path
    outputs : tuple of str
    notes, warnings : tuple of str
    seconds : float
    """

    folder: Path
    outputs: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float


def write_result(
    job: ScanJob,
    verb: str,
    expected: Forecast,
    seconds: float,
    *,
    outputs: Sequence[str],
    facts: Mapping[str, Any],
    dicom: Mapping[str, Any] | None,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> ScanOutcome:
    """Write ``result.json``: where it is, all else is complete.

    Parameters
    ----------
    job : ScanJob
    verb : str
        Name of the command.
    expected : Forecast
    seconds : float
        Wall time of the whole run.
    outputs : sequence of str
        Names of what was written.
    facts : mapping
        Of the command, beside what both have.
    dicom : mapping or None
        What became of the derived series.
    notes, warnings : sequence of str
        Beside those of the job.
    """
    first, card = job.source.first, job.model.card
    all_notes, all_warnings = (*job.notes, *notes), (*job.warnings, *warnings)
    folder = job.request.out
    write_json(
        folder / FINISHED,
        {
            "command": verb,
            "simulated": False,
            "learned_prior": LEARNED_PRIOR,
            "settings": job.request.facts,
            "model": {"name": last_part(job.model_name), "subjects": list(card.subjects) if card else []},
            "source_sha256": first.provenance.sha256,
            "source_format": first.provenance.format,
            "grid": grid_facts(first) | {"volumes": job.source.count},
            "noise": job.noise.facts,
            "blend": job.blend.value,
            "blend_is_weak_because": list(job.blend.reasons),
            **facts,
            "findings": [finding.facts() for finding in job.findings],
            "notes": all_notes,
            "warnings": all_warnings,
            "dicom": dicom,
            "expected": expected.facts,
            "seconds": round(seconds, 2),
            "versions": versions(),
            "outputs": sorted(outputs),
        },
        overwrite=True,
    )
    return ScanOutcome(folder, tuple(sorted(outputs)), all_notes, all_warnings, seconds)


def grid_facts(volume: Volume) -> dict[str, Any]:
    """Shape and spacing as plain values."""
    return {"shape_zyx": list(volume.shape), "spacing_xyz_mm": [round(float(mm), 5) for mm in volume.spacing]}
