"""ISMRMRD (MRD) files to sorted k-space: readouts with their counters, and noise scans.

Subject and study in the header are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import torch
from torch import Tensor

from medinr.errors import FileError
from medinr.io.hashes import hash_file
from medinr.io.raw.checks import choose, kspace_tensor, require_room
from medinr.io.raw.hdf5 import open_hdf5
from medinr.io.raw.mrd_header import MrdGeometry, parse_header
from medinr.io.raw.mrd_readouts import Readouts, select
from medinr.io.raw.sidecar import Sidecar, refuse_keys
from medinr.io.raw.slabs import slab_to_slices
from medinr.raw import CARTESIAN, NON_CARTESIAN, RawMeasurement
from medinr.volume import Provenance


def read_ismrmrd(path: Path, sidecar: Sidecar, slices: Sequence[int] | None = None) -> RawMeasurement:
    """Read an MRD file: one encoding, contrast, phase, repetition and set, the first of each.

    Cartesian lines are sorted by their counters so that the central line of the header is at ``n // 2``, and
    readouts so that their centre sample is; averages are averaged; a slab is cut
    into slices (`medinr.io.raw.slabs`). Noise scans give the covariance of the coils, scaled to the
    dwell time of the data. The provenance's notes name what is left out.

    Parameters
    ----------
    path : Path
    sidecar : Sidecar
        May choose coils and, for a trajectory, ``trajectory_unit``.
    slices : sequence of int, optional
        Which to read, counted from 0.

    Raises
    ------
    FileError
        When the file is truncated or its header and readouts contradict each other, or a trajectory is missing.
    IntensityError
        When samples are NaN, or a coil or slice is empty.
    """
    refuse_keys(sidecar, ("kind", "axes", "variable", "zero_frequency", "image_shape", "mask"), path, "MRD")
    with open_hdf5(path) as file:
        groups = [name for name in file if _is_mrd(file[name])]
        if not groups:
            raise FileError(f"{path}: no group holds 'xml' and 'data', as an ISMRMRD file does.")
        name, group = f"{path}, {groups[0]}", file[groups[0]]
        geometry = parse_header(group["xml"][0], name)
        table = group["data"]
        acquisitions = _acquisitions(table, name)
    readouts = select(acquisitions, geometry, name)
    wanted = choose(readouts.slices, slices, name)
    readouts = readouts.only(wanted)
    notes = readouts.notes
    facts = _facts(geometry, readouts, sidecar)
    steps: list[str] = []
    arrays: dict[str, Tensor] = {}
    if geometry.trajectory == "cartesian":
        grid, count = readouts.on_grid(geometry, name)
        if readouts.central_line(geometry) != geometry.centre[0]:
            notes += ("the header's central line does not fit the lines; the middle of the grid was taken",)
        if grid.shape[2] > 1:
            grid, across, step = slab_to_slices(grid, name)
            steps.append(step)
            # The counts of the slab are reduced to the plane of the slices.
            count = count.max(axis=2 if across else 0)
            if across:
                facts = _across(geometry, facts)
        else:
            grid, count = grid[:, :, 0], count[0]
        data = kspace_tensor(grid, name, sidecar.coils)
        if not (count > 0).all():
            arrays["mask"] = torch.from_numpy(count > 0)
        several = count[count > 0]
        if several.max() > 1:
            steps.append(f"Readings of the same line were averaged ({several.min()} to {several.max()} of each).")
            facts["averages"] = int(several.max())
            if several.min() < several.max():
                arrays["weights"] = torch.from_numpy(count.astype(np.float32))
                facts["averages"] = 1  # the weights record it, and the noise stays that of one reading
        axes = CARTESIAN
    else:
        samples, arrays["trajectory"] = readouts.along_paths(geometry, name, sidecar.trajectory_unit)
        data = kspace_tensor(samples, name, sidecar.coils)
        axes = NON_CARTESIAN
    covariance = readouts.noise_covariance(geometry)
    if covariance is not None:
        kept = list(sidecar.coils or range(len(covariance)))
        covariance = covariance[np.ix_(kept, kept)] / facts.get("averages", 1)
        arrays["noise_covariance"] = torch.from_numpy(covariance.astype(np.complex64))
    provenance = Provenance("ismrmrd", (path,), hash_file(path), notes=notes)
    return RawMeasurement("kspace", data, axes, facts, arrays, tuple(steps), provenance)


def _across(geometry: MrdGeometry, facts: dict[str, Any]) -> dict[str, Any]:
    """Facts of slices across the readout: z runs down and y to the right."""
    (nz, ny, _), changed = geometry.encoded, {k: v for k, v in facts.items() if k not in ("readout_axis", "spacing_mm")}
    changed |= {"image_shape": (nz, ny), "recon_shape": (nz, geometry.recon_shape[0])}
    if "spacing_mm" in facts and geometry.thickness is not None:
        dy, dx = facts["spacing_mm"]
        changed |= {"spacing_mm": (geometry.thickness, dy), "slice_thickness_mm": dx}
    return changed


def is_ismrmrd(file: Any) -> bool:
    """Whether an open HDF5 file is MRD."""
    return any(_is_mrd(file[name]) for name in file)


def _acquisitions(table: Any, name: str) -> list[Any]:
    try:
        heads = table["head"]
        total = int((heads["active_channels"].astype(np.int64) * heads["number_of_samples"]).sum())
        require_room((total,), 8, name)
        return [ismrmrd.file.Acquisitions.from_numpy(row) for row in table[()]]
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise FileError(
            f"{name}: readouts are not as long as they declare ({error}). Export the scan again."
        ) from error


def _is_mrd(group: Any) -> bool:
    return hasattr(group, "keys") and {"xml", "data"} <= set(group) and bool(group["data"].dtype.names)


def _facts(geometry: MrdGeometry, readouts: Readouts, sidecar: Sidecar) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "image_shape": geometry.shape,
        "recon_shape": geometry.recon_shape,
        "spacing_mm": geometry.spacing,
        "slice_thickness_mm": geometry.thickness,
        "trajectory": None if geometry.trajectory == "cartesian" else geometry.trajectory,
    }
    if geometry.trajectory == "cartesian":
        facts["readout_axis"] = "kx"
    given = {k: v for k, v in sidecar.kspace_facts(geometry.shape).items() if v is not None}
    return {k: v for k, v in (facts | given).items() if v is not None}
