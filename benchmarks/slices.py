"""Slices that benchmarks run on: held-out scans of a manifest, resampled to one size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.transform import resize

from medinr.config.shipped import find_manifest
from medinr.data.orient import standard_orientation
from medinr.errors import ManifestError
from medinr.io.manifest import Manifest, ManifestRow, read_manifest
from medinr.io.scan import read_scan
from medinr.operators import Gaussian, Identity
from medinr.solve.problem import Problem
from medinr.volume import Volume


@dataclass(frozen=True, eq=False)
class BenchmarkSlice:
    """A resampled slice of a held-out scan.

    Attributes
    ----------
    label : str
        Subject, contrast and slice.
    image : ndarray, shape (size, size)
        Magnitude, in the scan's unit.
    spacing : (float, float)
        Pixel spacing (y, x) in mm after resampling.
    level : float
        99th percentile: image units per solver unit.
    """

    label: str
    image: NDArray[np.float32]
    spacing: tuple[float, float]
    level: float

    @property
    def peak(self) -> float:
        """Maximum of the slice: data range for PSNR."""
        return float(self.image.max())

    def identity_problem(self, device: torch.device | None = None) -> Problem:
        """Fitting the image itself as a problem: the identity, with negligible noise."""
        return Problem(
            data=torch.from_numpy(self.image).to(device),
            operator=Identity(self.image.shape),
            noise=Gaussian(1e-3 * self.level),
            spacing=self.spacing,
            scale=self.level,
        )

    def volume(self) -> Volume:
        """The slice as a scan of one slice."""
        y, x = self.spacing
        return Volume(self.image[None], np.diag([x, y, 1.0, 1.0]), modality="MR")


def benchmark_slices(name: str, split: str, count: int, size: int) -> list[BenchmarkSlice]:
    """Brain slices of a split, from as many different scans as there are.

    Parameters
    ----------
    name : str
        Manifest: CSV file or shipped one.
    split : str
    count : int
    size : int
        Pixels per side after resampling.

    Returns
    -------
    list of BenchmarkSlice

    Raises
    ------
    ManifestError
        When the split has no MR scan.
    """
    path = find_manifest(name)
    manifest = read_manifest(path)
    rows = list(manifest.select(split=split, modality="MR"))
    if not rows:
        raise ManifestError(f"{path} has no MR scan in the split {split!r}. Choose another with --manifest.")
    return [_slice(manifest, rows[i % len(rows)], i // len(rows), size) for i in range(count)]


def _slice(manifest: Manifest, row: ManifestRow, offset: int, size: int) -> BenchmarkSlice:
    """Read a scan's middle slice, or one ``offset`` after it among those of the manifest."""
    scan = standard_orientation(read_scan(manifest.verify(row), modality="MR"))
    numbers = row.slice_numbers(scan.shape[0])
    number = numbers[(len(numbers) // 2 + offset) % len(numbers)]
    image = resize(np.abs(scan.array[number]), (size, size), anti_aliasing=True).astype(np.float32)
    y, x = scan.shape[1], scan.shape[2]
    spacing = (scan.spacing[1] * y / size, scan.spacing[0] * x / size)
    return BenchmarkSlice(f"{row.subject} {row.contrast} {number}", image, spacing, float(np.percentile(image, 99)))
