"""How many usual slices of left-out subjects, and how many unusual images of each kind, are warned of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.unusual_images import changed, photographs
from medinr.config.shipped import find_manifest
from medinr.data.dataset import load_scanned_slices
from medinr.errors import IntensityError, ManifestError
from medinr.io.atomic import write_json
from medinr.io.manifest import read_manifest
from medinr.io.scan import read_scan
from medinr.jobs.pretrain.denoisers import usual_images
from medinr.jobs.record import new_result, versions
from medinr.models.checkpoint import load_model_for
from medinr.uncertainty.likeness import Family, as_trained, family_of, left_out_scores

Image = NDArray[np.float32]

#: Images of each kind, and slices per usual scan.
EACH, PER_SCAN = 20, 5


def benchmark_likeness(
    manifest: str,
    scans: Sequence[Path],
    model: str,
    out: Path,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Table:
    """Learn what is usual from the MR scans of a manifest's train split, and judge it and other images.

    Parameters
    ----------
    manifest : str
        CSV file or shipped manifest; its CT scans are one kind of unusual image.
    scans : sequence of Path
        MR scans of other anatomies, each a kind of its own.
    model : str
        Whose denoiser makes usual slices that came out of a reconstruction.
    out : Path
    overwrite : bool
    announce : callable, optional

    Returns
    -------
    Table
        Also written as ``likeness.json``.
    """
    path = new_result(out, "likeness.json", overwrite)
    listed = read_manifest(find_manifest(manifest))
    scanned = load_scanned_slices(listed, modality="MR", per_scan=PER_SCAN)
    prior = load_model_for(model, "MR").prior
    if prior is None:
        raise ManifestError(f"Model {model} has no denoiser. Choose one with a denoiser (medinr models).")
    images, subjects = usual_images(scanned, prior)
    announce("usual slices")
    scores, values = left_out_scores(images, subjects)
    family = family_of(scores, values)
    if family is None:
        raise ManifestError("Fewer than three subjects cannot tell what is usual. Give a manifest with more.")
    rows = {f"{subject}, left out": _row(found, family.limit) for subject, found in scores.items()}
    kinds = {"photographs": photographs(EACH)} | changed(images[::2], EACH)
    if any(row.modality == "CT" for row in listed):
        kinds["CT as MR"] = [image.numpy() for image in load_scanned_slices(listed, modality="CT").images[:EACH]]
    for scan in scans:
        planes = np.abs(read_scan(scan, modality="MR").array)
        kinds[scan.name] = list(planes[np.unique(np.linspace(0, len(planes) - 1, EACH).round().astype(int))])
    for name, members in kinds.items():
        announce(name)
        rows[name] = _judged(family, [as_trained(image, "")[0] for image in members])
    write_json(path, {"limit": family.limit, "rows": rows, "versions": versions()}, overwrite=True)
    return _table(rows, family.limit)


def _judged(family: Family, images: Sequence[Image]) -> dict[str, float]:
    scores = []
    for image in images:
        try:
            scores.append(family.likeness(image).score)
        except IntensityError:  # air alone
            continue
    return _row(np.array(scores), family.limit)


def _row(scores: NDArray[np.float64], limit: float) -> dict[str, float]:
    return {
        "images": len(scores),
        "warned": float((scores > limit).mean()),
        "least": float(scores.min()),
        "median": float(np.median(scores)),
    }


def _table(rows: dict[str, dict[str, float]], limit: float) -> Table:
    table = Table(title=f"Out-of-distribution score, usual up to {limit:.2f}")
    for column in ("images of", "number", "warned of", "least score", "median"):
        table.add_column(column, justify="left" if column == "images of" else "right")
    for name, row in rows.items():
        cells = f"{row['images']:.0f}", f"{100 * row['warned']:.0f} %", f"{row['least']:.2f}", f"{row['median']:.2f}"
        table.add_row(name, *cells)
    return table
