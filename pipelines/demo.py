"""The shipped example: a brain slice of a person the trunk has not seen, 4x undersampled."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pandas as pd
from medinr.pipelines.cases import excerpt
from medinr.pipelines.reconstruct import reconstruct
from medinr.pipelines.slices import NAIVE_NAMES

from medinr.config import ReconstructConfig
from medinr.evaluate.metrics import scores_of
from medinr.evaluate.results import make_table
from medinr.solve.solution import Step

#: Subject and slice of the excerpt.
SUBJECT, SLICE = "patient20", 1


def demo(
    config: ReconstructConfig,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, Step], None] | None = None,
) -> pd.DataFrame:
    """Reconstruct the example into ``out`` and score every method on it, as a table of results."""
    scan = excerpt("brain_mr", f"{SUBJECT}_study2_FLAIR.nii.gz")
    result = reconstruct(scan, out, config, slices=[SLICE], overwrite=overwrite, progress=progress, modality="MR")
    assert result.truth is not None  # the measurement was simulated from the scan
    record = result.records[0]
    names = {"input": NAIVE_NAMES[config.task], "TV": "TV", "medinr": "medinr"}
    shared = {"task": config.task, "subject": SUBJECT, "session": "study2", "contrast": "FLAIR", "scan": scan.name}
    shared |= {"slice": SLICE, "seed": config.fit.seed, "medinr_version": metadata.version("medinr")}
    return make_table(
        [
            {**shared, "method": name, "seconds": record.times[key], "settings_hash": "", **vars(score)}
            for key, name in names.items()
            for score in scores_of(record.images[key], result.truth.images[0], result.truth.peak, "MR")
        ]
    )
