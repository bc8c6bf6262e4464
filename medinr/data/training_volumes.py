"""Whole scans of a manifest's split as brightness of order one, for the training of a denoiser that sees neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medinr.errors import ManifestError
from medinr.io.manifest import Manifest
from medinr.io.padding import HU_FLOOR
from medinr.io.scan import read_scan
from medinr.volume import Volume


@dataclass(frozen=True, eq=False)
class TrainingVolumes:
    """Scans for training.

    Attributes
    ----------
    volumes : tuple of Tensor, each of shape (z, y, x), float16
        MR: magnitude over the scan's 99th percentile. CT: Hounsfield units above the least, in thousands. Scans of
        nearly cubic voxels come three times, cut in each direction.
    labels, subjects, scan_hashes, licences : tuple of str
        Of the scans.
    """

    volumes: tuple[Tensor, ...]
    labels: tuple[str, ...]
    subjects: tuple[str, ...]
    scan_hashes: tuple[str, ...]
    licences: tuple[str, ...]


def load_training_volumes(
    manifest: Manifest, *, split: str = "train", modality: str, contrasts: Sequence[str] | None = None
) -> TrainingVolumes:
    """Read the scans of a split.

    Parameters
    ----------
    manifest : Manifest
    split, modality : str
    contrasts : sequence of str, optional
        All when None.

    Returns
    -------
    TrainingVolumes

    Raises
    ------
    ManifestError
        When no row matches, or a scan is missing or another than described.
    """
    rows = list(manifest.select(split=split, modality=modality, contrast=contrasts))
    if not rows:
        raise ManifestError(f"No row of the manifest is of split {split} and modality {modality}.")
    volumes: list[Tensor] = []
    for row in rows:
        scan = read_scan(manifest.verify(row), series=row.series_number, modality=row.modality)
        scan.require_finite(row.path)
        volumes += _cuts(scan)
    return TrainingVolumes(
        tuple(volumes),
        tuple(" ".join(filter(None, (row.subject, row.session, row.contrast))) for row in rows),
        tuple(row.subject for row in rows),
        tuple(row.sha256 for row in rows),
        tuple(row.licence for row in rows),
    )


def _cuts(scan: Volume) -> list[Tensor]:
    values = np.abs(scan.array) if scan.modality == "MR" else (scan.array.real - HU_FLOOR) / 1000.0
    level = float(np.percentile(values, 99)) if scan.modality == "MR" else 1.0
    volume = torch.from_numpy(np.clip(values / (level or 1.0), 0.0, None).astype(np.float16))
    if not scan.nearly_cubic or min(volume.shape) < 2:
        return [volume]
    return [volume, volume.permute(1, 0, 2).contiguous(), volume.permute(2, 0, 1).contiguous()]
