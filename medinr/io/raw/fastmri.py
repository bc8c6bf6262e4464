"""fastMRI's HDF5 files: fully sampled or masked k-space in the orientation of the challenge's images.

The readout runs along rows there, so ``readout_axis`` is ``"ky"`` and masks select columns (Zbontar et al. 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.errors import FileError
from medinr.io.hashes import hash_file
from medinr.io.raw.checks import choose, kspace_tensor, sampled
from medinr.io.raw.hdf5 import dataset, open_hdf5, read, text
from medinr.io.raw.mrd_header import parse_header
from medinr.io.raw.sidecar import Sidecar, refuse_keys
from medinr.raw import CARTESIAN, RawMeasurement
from medinr.volume import Provenance


def read_fastmri(path: Path, sidecar: Sidecar, slices: Sequence[int] | None = None) -> RawMeasurement:
    """Read ``kspace`` ``(slice, coil, ky, kx)`` or single-coil ``(slice, ky, kx)``, with its header and mask.

    Attributes of the file are not read: they may name the patient.

    Raises
    ------
    FileError
        When a dataset is missing or has other axes, or the file is truncated.
    IntensityError
        When samples are NaN, or a coil or slice is empty.
    """
    refuse_keys(sidecar, ("kind", "axes", "variable", "zero_frequency", "image_shape", "readout_axis"), path, "fastMRI")
    name = f"{path}, kspace"
    with open_hdf5(path) as file:
        shape = dataset(file, "kspace", path).shape
        if len(shape) not in (3, 4):
            raise FileError(f"{name}: has shape {shape}; fastMRI has (slice, coil, ky, kx) or (slice, ky, kx).")
        values = read(file, "kspace", path, choose(shape[0], slices, name) if slices is not None else None)
        columns = read(file, "mask", path).ravel() if "mask" in file else None
        header = text(file, "ismrmrd_header")
    data = kspace_tensor(values if values.ndim == 4 else values[:, None], name, sidecar.coils)
    facts: dict[str, Any] = {"readout_axis": "ky"}
    if header is not None:
        geometry = parse_header(header.encode(), f"{path}, ismrmrd_header")
        # x of the header is the readout, which fastMRI lays along rows; columns may have been padded or cut.
        width = data.shape[-1]
        facts["recon_shape"] = (geometry.recon_shape[1], min(geometry.recon_shape[0], width))
        if geometry.thickness is not None:
            facts["slice_thickness_mm"] = geometry.thickness
        if geometry.spacing is not None:
            along_columns = geometry.spacing[0] * geometry.shape[0] / width
            facts["spacing_mm"] = (geometry.spacing[1], along_columns)
            facts["recon_shape"] = (
                geometry.recon_shape[1],
                min(width, round(geometry.recon_shape[0] * geometry.spacing[0] / along_columns)),
            )
    facts |= sidecar.kspace_facts(data.shape[-2:])
    mask = _mask(data, columns, sidecar, path)
    arrays = {} if mask is None else {"mask": mask}
    data = data if mask is None else data * mask
    provenance = Provenance("fastmri", (path,), hash_file(path))
    return RawMeasurement("kspace", data, CARTESIAN, facts, arrays, (), provenance)


def _mask(data: Tensor, columns: np.ndarray[Any, Any] | None, sidecar: Sidecar, path: Path) -> Tensor | None:
    if columns is None:
        return None if sidecar.sampling == "full" else sampled(data, f"{path}, kspace")
    if len(columns) != data.shape[-1]:
        raise FileError(f"{path}, mask: has {len(columns)} columns, k-space has {data.shape[-1]}.")
    measured = torch.from_numpy(columns > 0).expand(data.shape[-2:]).contiguous()
    # Columns padded by the scanner's software are zero though a mask may name them.
    padding = data.ne(0).any(dim=-2).any(dim=1).any(dim=0)
    return measured & padding
