"""What the shipped example is, and its table of results."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pandas as pd

from medinr.jobs.evaluate.results import make_table
from medinr.jobs.reconstruct.context import ReconstructionJob
from medinr.jobs.record import SliceRecord
from medinr.jobs.reference import Reference
from medinr.metrics.image_quality import scores_of

#: Subject, session, file and slice of the excerpt.
SUBJECT, SESSION, CONTRAST, SLICE = "patient20", "study2", "FLAIR", 1
FILE = f"{SUBJECT}_{SESSION}_{CONTRAST}.nii.gz"


def demo_table(record: SliceRecord, job: ReconstructionJob, reference: Reference) -> pd.DataFrame:
    """Score every method on the slice."""
    shared: dict[str, Any] = {
        "task": job.config.task,
        "subject": SUBJECT,
        "session": SESSION,
        "contrast": CONTRAST,
        "scan": FILE,
        "slice": SLICE,
        "seed": job.config.seed,
        "settings_hash": "",
        "medinr_version": metadata.version("medinr"),
    }
    names = {"input": job.acquisition.direct_name, "TV": "TV", "medinr": "medinr"}
    return make_table(
        [
            {**shared, "method": name, "seconds": record.times[key], **vars(score)}
            for key, name in names.items()
            for score in scores_of(record.images[key], reference.images[0], reference.peak, "MR")
        ]
    )
