"""A tiny evaluation made up on the spot, in the folder layout of `medinr evaluate`, for tests of what reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medinr.jobs.evaluate.results import Case, Results, make_table, write_case, write_facts, write_table
from medinr.metrics.image_quality import data_range, scores_of

#: Task: kind, modality, unit, words, direct image.
TASKS = {
    "kspace_mr_single_4x": ("kspace", "MR", "a.u.", "4x undersampled k-space, 1 coil", "zero-filled"),
    "denoise_mr_5": ("denoise", "MR", "a.u.", "denoising, Rician noise of 5 %", "noisy"),
    "ct_sparse_60": ("ct", "CT", "HU", "sparse-view CT, 60 views", "FBP"),
}

#: Standard deviation of the error of each method, as a fraction of the range.
ERRORS = {"direct": 0.10, "TV": 0.05, "medinr": 0.03}


def synthetic_results(
    folder: Path,
    *,
    patients: int = 4,
    slices: int = 2,
    size: tuple[int, int] = (32, 28),
    tasks: tuple[str, ...] = tuple(TASKS),
    errors: Mapping[str, float] = ERRORS,
    seed: int = 0,
) -> Results:
    """Fill a folder with reconstructions that are the reference plus noise, scored by the protocol."""
    generator = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for task in tasks:
        kind, modality, unit, _, direct = TASKS[task]
        for patient in range(patients):
            subject = f"p{patient}"
            scan = f"{subject}_v1_{patient:08x}"
            volume = np.stack([_reference(size, modality, patient, number) for number in range(slices)])
            peak = data_range(volume, modality)
            for number, reference in enumerate(volume):
                images = {"reference": reference}
                for method, error in errors.items():
                    name = direct if method == "direct" else method
                    level = error * peak * (1 + 0.1 * patient)
                    images[name] = (reference + level * generator.normal(size=size)).astype(np.float32)
                case = Case(
                    case=f"{task}__{scan}__{number:04d}",
                    task=task,
                    subject=subject,
                    session="v1",
                    contrast="FLAIR" if modality == "MR" else "",
                    slice=number,
                    series_description=f"{'FLAIR' if modality == 'MR' else 'CT'} of {subject}",
                    spacing=(1.0, 0.9),
                    unit=unit,
                    modality=modality,
                    peak=peak,
                    curves={"medinr": _curve()} if "medinr" in images else {},
                    sampling=_sampling(kind, size[0]),
                )
                write_case(folder, case, images)
                for name in [name for name in images if name != "reference"]:
                    for score in scores_of(images[name], reference, peak, modality):
                        rows.append(
                            {
                                "task": task,
                                "subject": subject,
                                "session": "v1",
                                "contrast": case.contrast,
                                "scan": scan,
                                "slice": number,
                                "method": name,
                                "seed": 0,
                                "region": score.region,
                                "metric": score.metric,
                                "value": score.value,
                                "seconds": 2.0 if name == "medinr" else 0.25,
                                "peak_memory_mb": 512.0,
                                "stopped_at": 40 if name == "medinr" else None,
                                "settings_hash": "0" * 12,
                                "medinr_version": "0.0.0",
                            }
                        )
    names = dict.fromkeys(TASKS[task][4] if key == "direct" else key for task in tasks for key in errors)
    write_facts(
        folder,
        {
            "settings": {"split": "devtest", "slices": slices},
            "versions": {"medinr": "0.0.0"},
            "seed": seed,
            "tasks": {
                task: dict(zip(("kind", "modality", "unit", "words"), TASKS[task][:4], strict=True)) | {"facts": {}}
                for task in tasks
            },
            "methods": {name: {"words": f"{name}, made up", "settings": {}} for name in names},
            "notes": [
                "MR scans are magnitude images: undersampling simulated from them gives better images than a scanner's."
            ],
        },
    )
    write_table(folder, make_table(rows))
    return Results.read(folder)


def _reference(size: tuple[int, int], modality: str, patient: int, number: int) -> np.ndarray:
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
    body = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    disc = (x - 0.2) ** 2 + (y + 0.1 * number) ** 2 < 0.05 + 0.02 * patient
    low, tissue, bright = (-1000.0, 40.0, 300.0) if modality == "CT" else (0.0, 400.0, 700.0 + 20 * patient)
    return np.where(body, np.where(disc, bright, tissue), low).astype(np.float32)


def _curve() -> dict[str, object]:
    return {
        "seconds": [0.5, 1.0, 1.5, 2.0],
        "psnr": [24.0, 28.0, 30.0, 30.5],
        "residual": [3.0, 1.5, 1.1, 1.0],
        "stopped_at": 40,
        "reason": "all 40 iterations of plug-and-play were done",
    }


def _sampling(kind: str, count: int) -> dict[str, object]:
    if kind == "kspace":
        return {"kind": "lines", "count": count, "lines": list(range(0, count, 4)), "axis": "y", "coils": 1}
    if kind == "ct":
        return {"kind": "angles", "angles": [k * np.pi / 60 for k in range(60)], "views": 60}
    return {"kind": "none"}
