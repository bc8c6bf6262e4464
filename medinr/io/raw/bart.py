"""BART's ``.cfl`` and ``.hdr``: complex floats in column-major order, and a line of sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.errors import FileError, ShapeError
from medinr.io.hashes import hash_file
from medinr.io.raw.checks import choose, kspace_tensor, require_room, sampled
from medinr.io.raw.sidecar import Sidecar, refuse_keys
from medinr.io.raw.slabs import slab_to_slices
from medinr.raw import CARTESIAN, NON_CARTESIAN, RawMeasurement
from medinr.volume import Provenance

#: BART's dimensions (its src/misc/mri.h) that are read; any other has to have size one.
_READ, _PHASE, _PARTITION, _COIL, _SLICE, _AVERAGE = 0, 1, 2, 3, 13, 14


def read_cfl(path: Path) -> np.ndarray[Any, Any]:
    """Map a ``.cfl`` file into memory, read-only, in BART's dimensions.

    Parameters
    ----------
    path : Path
        Of the ``.cfl`` or ``.hdr``, or their name without an ending.

    Returns
    -------
    ndarray, complex64
        At least 16 dimensions, column-major.

    Raises
    ------
    FileError
        When a part is missing or the sizes in the header do not fit the file.
    """
    header, values = _pair(path)
    try:
        lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
        numbers = lines[lines.index("# Dimensions") + 1].split()
        sizes = [int(number) for number in numbers]
    except OSError as error:
        raise FileError(f"{header}: the header of {values.name} cannot be read ({error.strerror}).") from error
    except (ValueError, IndexError) as error:
        raise FileError(f"{header}: no line of whole numbers follows '# Dimensions'. Is it a BART header?") from error
    require_room(sizes, 8, str(header))
    found, wanted = values.stat().st_size if values.is_file() else -1, 8 * math.prod(sizes)
    if found != wanted:
        what = f"{found} bytes" if found >= 0 else "missing"
        raise FileError(
            f"{values}: the header declares {' x '.join(map(str, sizes))} samples, {wanted} bytes; the file is {what}. "
            "Copy both files again."
        )
    sizes += [1] * (16 - len(sizes))
    return np.memmap(values, np.complex64, "r", shape=tuple(sizes), order="F")


def read_bart(path: Path, sidecar: Sidecar, slices: Sequence[int] | None = None) -> RawMeasurement:
    """Read BART k-space: ``(kx, ky, 1, coil)``, or ``(1, sample, readout, coil)`` with a trajectory.

    A slab is cut into slices (`medinr.io.raw.slabs`), which is recorded. Averages are averaged. A trajectory is a
    ``.cfl`` of ``(3, sample, readout)`` in BART's unit, cycles per field of view.

    Raises
    ------
    FileError
        When the files are damaged or hold dimensions that no slice-wise reconstruction has.
    ShapeError
        When the trajectory does not fit.
    """
    refuse_keys(sidecar, ("kind", "axes", "variable", "trajectory_unit", "zero_frequency", "mask"), path, "BART")
    header, file = _pair(path)
    values, name = read_cfl(path), str(file)
    used = (_READ, _PHASE, _PARTITION, _COIL, _SLICE, _AVERAGE)
    extra = {i: n for i, n in enumerate(values.shape) if n > 1 and i not in used}
    if extra:
        said = ", ".join(f"dimension {i} of size {n}" for i, n in extra.items())
        raise FileError(
            f"{name}: {said} (maps, echoes, time?) is not read. Cut one out with: bart slice {next(iter(extra))} 0"
        )
    grid = np.transpose(values.reshape([values.shape[i] for i in used], order="F"), (4, 5, 3, 2, 1, 0))
    grid = grid[choose(len(grid), slices, name)].mean(axis=1)  # slice, coil, kz or readout, ky or sample, kx
    provenance = Provenance("bart", (header, file), hash_file(file))
    if sidecar.trajectory is not None:
        return _non_cartesian(grid, sidecar, path, name, provenance)
    steps: tuple[str, ...] = ()
    if grid.shape[-1] == 1 and grid.shape[2] > 1:
        raise FileError(
            f"{name}: the first dimension has size 1, as non-Cartesian k-space has. Name its trajectory in the "
            "sidecar (trajectory: traj.cfl)."
        )
    if grid.shape[2] > 1:
        grid, _, step = slab_to_slices(grid, name)
        steps = (step,)
    data = kspace_tensor(grid.reshape(-1, *grid.shape[1:2], *grid.shape[-2:]), name, sidecar.coils)
    mask = None if sidecar.sampling == "full" else sampled(data, name)
    facts = {"readout_axis": "kx"} | sidecar.kspace_facts(data.shape[-2:])
    arrays = {} if mask is None else {"mask": mask}
    return RawMeasurement("kspace", data, CARTESIAN, facts, arrays, steps, provenance)


def _non_cartesian(
    grid: np.ndarray[Any, Any], sidecar: Sidecar, path: Path, name: str, provenance: Provenance
) -> RawMeasurement:
    if sidecar.image_shape is None:
        raise FileError(
            f"{name}: the grid of non-Cartesian k-space is not known; add image_shape: [y, x] to the sidecar."
        )
    assert sidecar.trajectory is not None
    places = np.asarray(read_cfl(path.with_name(Path(sidecar.trajectory).name)))
    sizes = tuple(map(int, places.shape))
    if sizes[0] not in (2, 3) or math.prod(sizes[3:]) > 1 or grid.shape[-1] != 1:
        raise ShapeError(f"{name}: a BART trajectory is (3, sample, readout); got {sizes[:4]}.")
    real = places.real.reshape(sizes[:3], order="F")
    if real.shape[0] == 3 and np.abs(real[2]).max() > 1e-6:
        raise ShapeError(f"{name}: the trajectory leaves the plane (kz is not 0); only planar ones are read.")
    trajectory: Tensor = torch.from_numpy(np.ascontiguousarray(real[1::-1].transpose(2, 1, 0), dtype=np.float64))
    data = kspace_tensor(grid[..., 0], name, sidecar.coils)
    return RawMeasurement(
        "kspace",
        data,
        NON_CARTESIAN,
        sidecar.kspace_facts(sidecar.image_shape),
        {"trajectory": trajectory},
        (),
        provenance,
    )


def _pair(path: Path) -> tuple[Path, Path]:
    # BART appends the ending to any name, so "scan.1" has "scan.1.hdr".
    stem = path.name[:-4] if path.suffix in (".cfl", ".hdr") else path.name
    return path.with_name(stem + ".hdr"), path.with_name(stem + ".cfl")
