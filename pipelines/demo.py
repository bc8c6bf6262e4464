"""The shipped example: a brain slice of a person the trunk has not seen, 4x undersampled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from medinr.pipelines.cases import excerpt
from medinr.pipelines.reconstruct import reconstruct
from medinr.pipelines.slices import NAIVE_NAMES

from medinr.config import ReconstructConfig
from medinr.evaluate.metrics import slice_metrics
from medinr.evaluate.scores import Score
from medinr.solve.solution import Step

#: Subject and slice of the excerpt.
SUBJECT, SLICE = "patient20", 1


def demo(
    config: ReconstructConfig,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, Step], None] | None = None,
) -> tuple[Score, ...]:
    """Reconstruct the example into ``out`` and score every method on it."""
    scan = excerpt("brain_mr", f"{SUBJECT}_study2_FLAIR.nii.gz")
    result = reconstruct(scan, out, config, slices=[SLICE], overwrite=overwrite, progress=progress, modality="MR")
    assert result.truth is not None  # the measurement was simulated from the scan
    record = result.records[0]
    names = {"input": NAIVE_NAMES[config.task], "TV": "TV", "medinr": "medinr"}
    return tuple(
        Score(
            task=config.task,
            method=name,
            subject=SUBJECT,
            scan=scan.name,
            slice=SLICE,
            seconds=record.times[key],
            **asdict(slice_metrics(record.images[key], result.truth.images[0], result.truth.peak, "MR")),
        )
        for key, name in names.items()
    )
