"""Pictures of a reconstruction: comparison and convergence, one pair per slice (a few of a volume)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medinr.acquisition.base import Acquisition
from medinr.figures.comparison import comparison_figure
from medinr.figures.convergence import ConvergenceRow, convergence_figure
from medinr.figures.uncertainty import uncertainty_figure
from medinr.jobs.record import SliceRecord
from medinr.jobs.reference import Reference
from medinr.metrics.image_quality import slice_metrics
from medinr.uncertainty.bootstrap import NORMAL_90

#: Slices of a volume that get figures: the first, the middle ones, the last.
FIGURES_AT_MOST = 4


def reconstruction_figures(
    folder: Path,
    acquisition: Acquisition,
    method: str,
    records: Sequence[SliceRecord],
    reference: Reference | None,
) -> list[str]:
    """Draw ``comparison_NNNN.png``, ``convergence_NNNN.png`` and ``uncertainty_NNNN.png`` where there is any; names."""
    measurement = acquisition.measurement
    count = min(FIGURES_AT_MOST, len(records))
    positions = sorted({round(i) for i in np.linspace(0, len(records) - 1, count)})
    # Windows and ranges of CT are in Hounsfield units; attenuation from raw data is shown as it lies.
    modality = measurement.modality if measurement.unit != "1/mm" else "MR"
    simulated = ", simulated from a scan" if measurement.parameters.get("simulated") else ", from raw data"
    names = []
    for position in positions:
        record, number = records[position], measurement.slice_numbers[position]
        wanted = None if reference is None else reference.images[position]
        shown = [(acquisition.direct_name, record.images["input"])]
        shown += [("TV", record.images["TV"])] if "TV" in record.images else []
        shown += [(method, record.images["medinr"])]
        scores = None
        if reference is not None:
            metrics = [slice_metrics(image, reference.images[position], reference.peak, modality) for _, image in shown]
            scores = [(m.psnr, m.ssim) for m in metrics]
        title = f"{acquisition.title}{simulated}, slice {number}"
        comparison_figure(
            folder / f"comparison_{number:04d}.png",
            shown,
            wanted,
            modality=modality,
            unit=measurement.unit,
            scores=scores,
            title=title,
            spacing=measurement.spacing,
        )
        rows = [
            ConvergenceRow(s.step, s.seconds, s.residual, None if math.isnan(s.held_out) else s.held_out)
            for s in record.steps
        ]
        names.append(f"comparison_{number:04d}.png")
        if rows:
            convergence_figure(
                folder / f"convergence_{number:04d}.png",
                rows,
                stopped_at=record.stopped_at,
                reason=record.reason,
                title=title,
                label="misfit",
            )
            names.append(f"convergence_{number:04d}.png")
        if "uncertainty" in record.images:
            uncertainty_figure(
                folder / f"uncertainty_{number:04d}.png",
                record.images["medinr"],
                NORMAL_90 * record.images["uncertainty"],
                record.images["null_space"],
                modality=modality,
                unit=measurement.unit,
                title=title,
                spacing=measurement.spacing,
            )
            names.append(f"uncertainty_{number:04d}.png")
    return names
