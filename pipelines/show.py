"""Pictures of a reconstruction: comparison and convergence, one pair per slice (a few of a volume)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from medinr.pipelines.record import SliceRecord
from medinr.pipelines.slices import NAIVE_NAMES, Truth

from medinr.evaluate.convergence import ConvergenceRow, convergence_figure
from medinr.evaluate.doubt_figure import doubt_figure
from medinr.evaluate.figures import comparison_figure
from medinr.evaluate.metrics import slice_metrics
from medinr.measurement import Measurement
from medinr.solve.uncertainty import NORMAL_90

#: Slices of a volume that get figures: the first, the middle ones, the last.
FIGURES_AT_MOST = 4

TITLES = {
    "denoise": "denoising",
    "superres": "super-resolution",
    "kspace": "undersampled k-space",
    "ct": "CT",
}


def reconstruction_figures(
    folder: Path,
    measurement: Measurement,
    records: Sequence[SliceRecord],
    truth: Truth | None,
) -> list[str]:
    """Draw ``comparison_NNNN.png``, ``convergence_NNNN.png`` and, if asked for, ``doubt_NNNN.png``; give the names."""
    count = min(FIGURES_AT_MOST, len(records))
    positions = sorted({round(i) for i in np.linspace(0, len(records) - 1, count)})
    # Windows and ranges of CT are in Hounsfield units; attenuation from raw data is shown as it lies.
    modality = measurement.modality if measurement.unit != "1/mm" else "MR"
    simulated = ", simulated from a scan" if measurement.parameters.get("simulated") else ", from raw data"
    names = []
    for position in positions:
        record, number = records[position], measurement.slice_numbers[position]
        wanted = None if truth is None else truth.images[position]
        shown = [(NAIVE_NAMES[measurement.task], record.images["input"])]
        shown += [("TV", record.images["TV"])] if "TV" in record.images else []
        shown += [("medinr", record.images["medinr"])]
        scores = None
        if truth is not None:
            metrics = [slice_metrics(image, truth.images[position], truth.peak, modality) for _, image in shown]
            scores = [(m.psnr, m.ssim) for m in metrics]
        title = f"{TITLES[measurement.task]}{simulated}, slice {number}"
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
        convergence_figure(
            folder / f"convergence_{number:04d}.png",
            rows,
            stopped_at=record.stopped_at,
            reason=record.reason,
            title=title,
            label="misfit",
        )
        names += [f"comparison_{number:04d}.png", f"convergence_{number:04d}.png"]
        if "uncertainty" in record.images:
            doubt_figure(
                folder / f"doubt_{number:04d}.png",
                record.images["medinr"],
                NORMAL_90 * record.images["uncertainty"],
                record.images["null_space"],
                modality=modality,
                unit=measurement.unit,
                title=title,
                spacing=measurement.spacing,
            )
            names.append(f"doubt_{number:04d}.png")
    return names
