"""Slices of a manifest's scans, as a MONAI dataset and as one tensor for pretraining."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from monai.data import CacheDataset
from monai.transforms import Compose

from medinr.data.grid import TrainingGridd
from medinr.data.transforms import ScaleToPercentiled, ScaleToWaterd, StandardOrientationd, to_metatensor
from medinr.errors import ConfigError, ManifestError, MedinrError
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.scan import read_scan

Transform = Callable[[Any], Any]
Item = dict[str, Any]


@dataclass(frozen=True, eq=False)
class TrainingSlices:
    """Slices on one grid, for the training of a shared trunk.

    Attributes
    ----------
    images : Tensor, shape (n, y, x), float32
        MR: divided by its slice's 99th percentile. CT: attenuation relative to water, air 0.
    labels : tuple of str
        Such as ``"patient01 study1 FLAIR slice 20"``.
    subjects, scan_hashes, licences : tuple of str
        Of each slice.
    spacing_mm : float
        Size of the square pixels.
    modality : str
        "MR" or "CT".
    """

    images: torch.Tensor
    labels: tuple[str, ...]
    subjects: tuple[str, ...]
    scan_hashes: tuple[str, ...]
    licences: tuple[str, ...]
    spacing_mm: float
    modality: str

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        n, y, x = self.images.shape
        return (
            f"TrainingSlices {self.modality}, {n} slices of {len(set(self.subjects))} subjects, "
            f"{x} x {y} pixels of {self.spacing_mm:g} mm"
        )


@dataclass(frozen=True, eq=False)
class ScannedSlices:
    """Slices on their own grids, for the training of denoisers; fields as in `TrainingSlices`."""

    images: tuple[torch.Tensor, ...]
    labels: tuple[str, ...]
    subjects: tuple[str, ...]
    scan_hashes: tuple[str, ...]
    licences: tuple[str, ...]


def load_scanned_slices(
    manifest: Manifest,
    *,
    split: str = "train",
    modality: str,
    contrasts: Sequence[str] | None = None,
    per_scan: int = 4,
) -> ScannedSlices:
    """Read slices of a split in standard orientation and scale them, each on its own grid.

    Parameters and errors as in `load_training_slices`.
    """
    slices = read_slices(manifest, split=split, modality=modality, contrasts=contrasts, per_scan=per_scan)
    dataset = slice_dataset(slices, [training_scale(modality)])
    items = [dataset[number] for number in range(len(dataset))]
    return ScannedSlices(tuple(item["image"].as_tensor()[0, :, :, 0].T.contiguous() for item in items), **_facts(items))


def _facts(items: Sequence[Item]) -> dict[str, tuple[str, ...]]:
    keys = {"labels": "label", "subjects": "subject", "scan_hashes": "sha256", "licences": "licence"}
    return {name: tuple(item[key] for item in items) for name, key in keys.items()}


def load_training_slices(
    manifest: Manifest,
    *,
    split: str = "train",
    modality: str,
    contrasts: Sequence[str] | None = None,
    shape: tuple[int, int] = (128, 128),
    spacing_mm: float = 1.8,
    per_scan: int = 2,
    limit: int | None = None,
    seed: int = 0,
) -> TrainingSlices:
    """Read slices of a split in standard orientation, scale them and resample them to one grid.

    Subjects alternate, so that the first `limit` slices come from as many people as possible; within a subject, scans
    alternate. Every scan is checked against its hash before it is used.

    Parameters
    ----------
    manifest : Manifest
    split, modality : str
    contrasts : sequence of str, optional
        Such as ``("FLAIR", "T1")``; all when None.
    shape : tuple of int
        Pixels along (y, x).
    spacing_mm : float
        Of the square pixels.
    per_scan : int
        Slices of each scan, spread evenly over those its row names.
    limit : int, optional
        Slices in all.
    seed : int
        Of the order in which subjects and their scans alternate.

    Returns
    -------
    TrainingSlices

    Raises
    ------
    ManifestError
        When no row matches, or a scan is missing or another than described.
    IntensityError
        When a chosen slice is unusable.
    """
    slices = read_slices(
        manifest,
        split=split,
        modality=modality,
        contrasts=contrasts,
        per_scan=per_scan,
        limit=limit,
        seed=seed,
    )
    dataset = slice_dataset(slices, [training_scale(modality), TrainingGridd("image", shape, spacing_mm)])
    items = [dataset[number] for number in range(len(dataset))]
    return TrainingSlices(
        images=torch.stack([item["image"].as_tensor()[0, :, :, 0].T for item in items]).contiguous(),
        **_facts(items),
        spacing_mm=spacing_mm,
        modality=modality,
    )


def training_scale(modality: str) -> Transform:
    """Return the scaling of training images: MR by percentile, CT to attenuation relative to water."""
    scale: Transform = ScaleToWaterd("image") if modality == "CT" else ScaleToPercentiled("image")
    return scale


def slice_dataset(slices: Sequence[Item], transforms: Sequence[Transform] = ()) -> CacheDataset:
    """Return single slices as a MONAI `CacheDataset`, in standard orientation and transformed once.

    Parameters
    ----------
    slices : sequence of dict
        Of `read_slices`.
    transforms : sequence of callable
        MONAI dictionary transforms on the key "image", a MetaTensor of shape (1, x, y, 1).

    Raises
    ------
    MedinrError
        Whichever a transform raises.
    """
    pipeline = Compose([StandardOrientationd("image"), *transforms], log_stats=False)
    try:
        return CacheDataset(list(slices), pipeline, num_workers=1, progress=False)
    except RuntimeError as error:
        # MONAI wraps errors of transforms; medinr's own message is the innermost.
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, MedinrError):
            cause = cause.__cause__
        raise (cause or error) from None


def read_slices(
    manifest: Manifest,
    *,
    split: str,
    modality: str,
    contrasts: Sequence[str] | None = None,
    per_scan: int = 2,
    limit: int | None = None,
    seed: int = 0,
) -> list[Item]:
    """Read single slices as they are, subjects alternating (parameters of `load_training_slices`).

    Returns
    -------
    list of dict
        With "image" (MetaTensor of shape (1, x, y, 1)), "label", "subject", "sha256" and "licence".

    Raises
    ------
    ManifestError, IntensityError
        See `load_training_slices`.
    ConfigError
        When `per_scan` or `limit` is below 1.
    """
    if per_scan < 1 or (limit is not None and limit < 1):
        raise ConfigError(f"per_scan is {per_scan} and limit is {limit}; both are 1 or more.")
    rows = manifest.select(split=split, modality=modality, contrast=contrasts)
    if not rows.rows:
        there = sorted({f"{row.split} {row.modality} {row.contrast}".strip() for row in manifest})
        asked = " ".join((split, modality, *(contrasts or ())))
        raise ManifestError(f"No row of the manifest is {asked}. It has: {'; '.join(there) or 'no row'}.")
    generator = np.random.default_rng(seed)
    queue: deque[Iterator[Item]] = deque()
    for subject in generator.permutation(sorted({row.subject for row in rows})):
        scans = [row for row in rows if row.subject == subject]
        queue.append(_of_subject(manifest, [scans[index] for index in generator.permutation(len(scans))], per_scan))
    slices: list[Item] = []
    while queue and (limit is None or len(slices) < limit):
        subject_slices = queue.popleft()
        item = next(subject_slices, None)
        if item is not None:
            slices.append(item)
            queue.append(subject_slices)
    return slices


def _of_subject(manifest: Manifest, scans: Sequence[ManifestRow], per_scan: int) -> Iterator[Item]:
    # The first slice of every scan, then the second, ...; a scan is read only when it is needed.
    later: list[list[Item]] = []
    for row in scans:
        first, *others = _of_scan(manifest, row, per_scan)
        yield first
        later.append(others)
    for items in zip_longest(*later):
        yield from (item for item in items if item is not None)


def _of_scan(manifest: Manifest, row: ManifestRow, per_scan: int) -> list[Item]:
    volume = read_scan(manifest.verify(row), series=row.series_number, modality=row.modality)
    usable = row.slice_numbers(volume.shape[0])
    count = min(per_scan, len(usable))
    items = []
    for part in range(count):
        number = usable[(2 * part + 1) * len(usable) // (2 * count)]
        label = " ".join(filter(None, (row.subject, row.session, row.contrast, f"slice {number}")))
        single = volume.select([number])
        single.require_usable(label)
        items.append(
            {
                "image": to_metatensor(single),
                "label": label,
                "subject": row.subject,
                "sha256": row.sha256,
                "licence": row.licence,
            }
        )
    return items
