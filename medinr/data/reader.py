"""Any scan in other people's MONAI pipelines: ``LoadImaged(keys="image", reader=medinr.MedinrReader)``."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys
from numpy.typing import NDArray

from medinr.errors import GeometryError
from medinr.io.scan import read_scan
from medinr.volume import Volume

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]

#: Scans of several files become channels of one image when their affines agree to this (mm, and mm per voxel).
_SAME_GRID_MM = 1e-3


class MedinrReader(ImageReader):  # type: ignore[misc]
    """MONAI reader of whatever `medinr.io.scan.read_scan` reads: DICOM folders, DICOM files, NIfTI.

    Images have shape (x, y, z), CT is in HU, and the affine maps ``(x, y, z, 1)`` to RAS mm, as with MONAI's
    `NibabelReader`. The metadata hold what MONAI's transforms look for (``affine``, ``original_affine``,
    ``spatial_shape``, ``space``, ``original_channel_dim``) and ``modality``, ``unit``, ``plane``, ``sha256`` and
    ``notes`` (irregularities in words). A reader keeps no state and can be sent to worker processes.

    `LoadImage` hands what a reader's `read` refuses to MONAI's other readers, which would load a tilted or incomplete
    series without a word. The files are therefore read in `get_data`, whose errors reach the user.

    Parameters
    ----------
    series : int or str, optional
        Which series of a DICOM folder.
    index : int, optional
        Which volume of a four-dimensional NIfTI file, from 0.
    modality : {"MR", "CT", "OT"}, optional
        For NIfTI, which does not name it; for DICOM it must agree with the header.

    Examples
    --------
    >>> from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged
    >>> load = LoadImaged("image", reader=MedinrReader, modality="CT")  # doctest: +SKIP
    >>> pipeline = Compose([load, EnsureChannelFirstd("image")])  # doctest: +SKIP

    Complex scans need ``LoadImaged("image", reader=MedinrReader, dtype=None)``: MONAI keeps the real part by default.
    """

    def __init__(self, series: int | str | None = None, index: int | None = None, modality: str | None = None) -> None:
        super().__init__()
        self.series, self.index, self.modality = series, index, modality

    def verify_suffix(self, filename: Paths) -> bool:
        """Whether there is a file or folder at every path; its content, not its name, decides what it is."""
        return all(path.exists() for path in _paths(filename))

    def read(self, data: Paths, **kwargs: Any) -> list[Path]:
        """Return the paths; `get_data` reads them (see the class for the reason)."""
        return _paths(data)

    def get_data(self, img: Paths) -> tuple[NDArray[Any], dict[str, Any]]:
        """Read one scan, or several as channels of one image.

        Parameters
        ----------
        img : path or sequence of paths
            What `read` returned.

        Returns
        -------
        array : ndarray, shape (x, y, z) or (channels, x, y, z), float32 or complex64
        metadata : dict
            That of the first scan.

        Raises
        ------
        InputError
            When a scan cannot be read; see `medinr.io.scan.read_scan`.
        GeometryError
            When several scans do not lie on the same voxels.
        """
        paths = _paths(img)
        volumes = [self._volume(path) for path in paths]
        first = volumes[0]
        for path, volume in zip(paths, volumes, strict=True):
            if volume.shape != first.shape or np.abs(volume.affine - first.affine).max() > _SAME_GRID_MM:
                raise GeometryError(
                    f"{path}: not on the voxels of {paths[0]}, so the two cannot be channels of one image. "
                    "Load them under keys of their own and resample (ResampleToMatchd)."
                )
        metadata = _metadata(first)
        if len(volumes) == 1:
            return first.array.T, metadata
        metadata[MetaKeys.ORIGINAL_CHANNEL_DIM] = 0
        return np.stack([volume.array.T for volume in volumes]), metadata

    def _volume(self, path: Path) -> Volume:
        return read_scan(path, series=self.series, index=self.index, modality=self.modality)


def _paths(names: Paths) -> list[Path]:
    return [Path(fspath(name)) for name in ([names] if isinstance(names, str | PathLike) else names)]


def _metadata(volume: Volume) -> dict[str, Any]:
    z, y, x = volume.shape
    return {
        MetaKeys.AFFINE: volume.affine.copy(),
        MetaKeys.ORIGINAL_AFFINE: volume.affine.copy(),
        MetaKeys.SPATIAL_SHAPE: np.array([x, y, z]),
        MetaKeys.SPACE: SpaceKeys.RAS,
        # How MONAI's readers say that there is no channel axis.
        MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
        "modality": volume.modality,
        "unit": volume.unit,
        "plane": volume.plane,
        "sha256": volume.provenance.sha256,
        # One string: collation into batches wants the same number of values from every scan.
        "notes": "; ".join(volume.provenance.notes),
    }
