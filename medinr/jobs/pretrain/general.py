"""Images beside the scans of a training, for a model that is to know more than one kind."""

from __future__ import annotations

from torch import Tensor

from medinr.config.pretrain import PretrainConfig
from medinr.data.dataset import ScannedSlices, load_scanned_slices
from medinr.data.photographs import photographs
from medinr.io.manifest import Manifest
from medinr.priors.general_patches import NO_IMAGES, GeneralImages

#: Brightness of an image that counts as 1: scans of other modalities are scaled by it.
LEVEL = 0.99


def general_images(manifest: Manifest, config: PretrainConfig) -> tuple[GeneralImages, list[ScannedSlices]]:
    """Read photographs and slices of every modality of the manifest; none where the configuration wants none.

    Returns
    -------
    GeneralImages
    list of ScannedSlices
        Of each modality, for the card.
    """
    if config.general == 0:
        return NO_IMAGES, []
    kinds, scanned = [photographs()], []
    rows = [row for row in manifest if row.split == config.split]
    for modality in sorted({row.modality for row in rows}):
        slices = load_scanned_slices(
            manifest, split=config.split, modality=modality, per_scan=config.prior_slices_per_scan
        )
        kinds.append(tuple(_scaled(image) for image in slices.images))
        scanned.append(slices)
    return GeneralImages(tuple(kinds), config.general), scanned


def _scaled(image: Tensor) -> Tensor:
    level = float(image.flatten().kthvalue(max(1, round(LEVEL * image.numel()))).values)
    return image / level if level > 0 else image
