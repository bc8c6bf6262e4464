"""MONAI dictionary transforms: load any scan, bring it to standard orientation, scale it.

Changes of geometry or intensity are recorded in the tensor's list of applied operations and can be undone with MONAI's
own ``inverse``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, Orientation
from monai.utils import TraceKeys

from medinr.data.orient import STANDARD_AXES
from medinr.errors import IntensityError, UnitError
from medinr.io.scan import read_scan
from medinr.units import HU_VACUUM
from medinr.volume import Provenance, Volume

_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


def to_metatensor(volume: Volume) -> MetaTensor:
    """Return a volume as MONAI holds images: shape (1, x, y, z), RAS affine, facts in ``meta``."""
    meta = {
        "modality": volume.modality,
        "unit": volume.unit,
        "sha256": volume.provenance.sha256,
        "plane": volume.plane,
    }
    tensor = torch.from_numpy(np.ascontiguousarray(volume.array.T)[None])
    return MetaTensor(tensor, affine=torch.from_numpy(volume.affine.copy()), meta=meta)


def from_metatensor(tensor: MetaTensor) -> Volume:
    """Return a channel-first MetaTensor of shape (1, x, y, z) as a volume (inverse of `to_metatensor`)."""
    meta = tensor.meta
    array = np.ascontiguousarray(tensor.as_tensor()[0].cpu().numpy().T)
    provenance = Provenance(sha256=str(meta.get("sha256", "")))
    return Volume(array, tensor.affine.numpy(), meta.get("modality", "OT"), meta.get("unit", "a.u."), provenance)


class LoadScand(MapTransform):  # type: ignore[misc]
    """Load DICOM folders, DICOM files or NIfTI files through `medinr.io.scan.read_scan`.

    Parameters
    ----------
    keys : str or sequence of str
        Whose values are paths; each becomes a MetaTensor of shape (1, x, y, z) with an RAS affine in mm.
    modality_key : str
        Key of an item's modality, "MR" or "CT", which NIfTI does not name; may be absent.
    """

    def __init__(self, keys: KeysCollection, modality_key: str = "modality") -> None:
        super().__init__(keys)
        self.modality_key = modality_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with paths replaced by images."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = to_metatensor(read_scan(item[key], modality=item.get(self.modality_key)))
        return item


class StandardOrientationd(MapTransform, InvertibleTransform):  # type: ignore[misc]
    """Bring every scan to the standard orientation of its slice plane (`medinr.data.orient.STANDARD_AXES`); invertible.

    Slices stay along the last axis; MONAI's `Orientation` does the work.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)
        self.orientations = {plane: Orientation(axcodes, labels=_LABELS) for plane, axcodes in STANDARD_AXES.items()}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with reoriented images of shape (1, x, y, z)."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self.orientations[_plane(item[key])](item[key])
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Restore the original orientation."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self.orientations[_plane(item[key])].inverse(item[key])
        return item


def _plane(image: MetaTensor) -> str:
    return Volume(np.zeros((1, 1, 1), np.float32), image.affine.numpy()).plane


class _Scaled(MapTransform, InvertibleTransform):  # type: ignore[misc]
    """Base of the scalings: ``y = (x - offset) / scale``, both numbers recorded and inverted."""

    @abstractmethod
    def parameters(self, image: torch.Tensor, meta: Mapping[str, Any]) -> tuple[torch.Tensor, float, float]:
        """Return the image, clipped if the scaling clips, the offset and the scale."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with intensities scaled."""
        item = dict(data)
        for key in self.key_iterator(item):
            image, offset, scale = self.parameters(item[key], item[key].meta)
            item[key] = (image - offset) / scale
            self.push_transform(item[key], extra_info={"offset": offset, "scale": scale})
        return item

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item in the scanner's own intensities; what was clipped stays clipped."""
        item = dict(data)
        for key in self.key_iterator(item):
            record = self.pop_transform(item[key])[TraceKeys.EXTRA_INFO]
            item[key] = item[key] * record["scale"] + record["offset"]
        return item


class ScaleToPercentiled(_Scaled):
    """Divide MR by a percentile of its nonzero voxels, so that bright tissue is near 1; nothing is clipped.

    Parameters
    ----------
    keys : str or sequence of str
    percentile : float
        Of the voxels that are not 0; zeros are air that the scanner blanked.

    Raises
    ------
    IntensityError
        At the call, when every voxel is 0.
    """

    def __init__(self, keys: KeysCollection, percentile: float = 99.0) -> None:
        super().__init__(keys)
        self.percentile = percentile

    def parameters(self, image: torch.Tensor, meta: Mapping[str, Any]) -> tuple[torch.Tensor, float, float]:
        """Return the image as it is, offset 0 and the percentile."""
        # NumPy, because torch.quantile refuses more than 16 million values, fewer than a head at 1 mm has.
        values = np.asarray(image)
        values = values[values != 0]
        scale = float(np.percentile(values, self.percentile)) if values.size else 0.0
        if scale <= 0:
            raise IntensityError(f"The {self.percentile:g}th percentile is {scale:g}; an MR image has bright tissue.")
        return image, 0.0, scale


class ScaleToWaterd(_Scaled):
    """Convert Hounsfield units to attenuation relative to water: ``mu / mu_water = 1 + HU / 1000``.

    Parameters
    ----------
    keys : str or sequence of str
    low, high : float
        Clip in HU first: below vacuum is padding, above dense bone is metal.

    Raises
    ------
    UnitError
        At the call, when the image is not in HU.
    """

    def __init__(self, keys: KeysCollection, low: float = HU_VACUUM, high: float = 3000.0) -> None:
        super().__init__(keys)
        self.low, self.high = low, high

    def parameters(self, image: torch.Tensor, meta: Mapping[str, Any]) -> tuple[torch.Tensor, float, float]:
        """Return the clipped image, the HU of vacuum, and the HU from vacuum to water."""
        if meta.get("unit") != "HU":
            raise UnitError(f"Hounsfield units are needed; the image is in {meta.get('unit', 'unknown units')}.")
        return image.clamp(self.low, self.high), HU_VACUUM, -HU_VACUUM
