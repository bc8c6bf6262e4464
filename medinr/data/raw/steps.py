"""Steps on raw measurements that keep or drop samples; each returns a new one and adds a sentence to ``steps``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.raw import RawMeasurement


def remove_oversampling(raw: RawMeasurement) -> RawMeasurement:
    """Crop the field of view along the readout to that of ``recon_shape``.

    The readout is transformed to image space, cut around pixel ``n // 2`` and transformed back, both orthonormal:
    remaining pixels keep their values, and white noise stays white with its variance.

    Parameters
    ----------
    raw : RawMeasurement
        Cartesian, every measured line over its whole readout.

    Raises
    ------
    ShapeError
        When it is not Cartesian, or the readout is partly measured (an asymmetric echo).
    """
    axis = _readout_axis(raw)
    size = raw.data.shape[axis]
    kept = int(raw.facts.get("recon_shape", raw.facts["image_shape"])[axis])
    if kept >= size:
        return raw.after(f"The readout ({size} samples) has no oversampling; nothing was removed.")
    mask = raw.arrays.get("mask")
    if mask is not None and not bool((mask == mask.any(axis, keepdim=True)).all()):
        raise ShapeError(
            "Only part of the readout was measured (asymmetric echo or scattered samples), so its oversampling cannot "
            "be removed exactly. Reconstruct the whole field of view and crop the image."
        )
    first = size // 2 - kept // 2
    line = fourier_along(raw.data, axis, inverse=True).narrow(axis, first, kept)
    shape = list(raw.facts["image_shape"])
    shape[axis] = kept
    arrays = {
        name: raw.arrays[name].narrow(axis, 0, kept).contiguous() for name in ("mask", "weights") if name in raw.arrays
    } | {name: raw.arrays[name].narrow(axis, first, kept) for name in ("coil_maps",) if name in raw.arrays}
    return raw.after(
        f"Readout oversampling was removed: {size} to {kept} samples along {raw.axes[axis]}.",
        data=fourier_along(line, axis, inverse=False),
        facts={"image_shape": tuple(shape)},
        arrays=arrays,
    )


def choose_slices(raw: RawMeasurement, slices: Sequence[int]) -> RawMeasurement:
    """Keep some slices, by their numbers from 0 and in the order given.

    Raises
    ------
    ConfigError
        When no slice, or one outside the measurement, is asked for.
    """
    numbers = [int(number) for number in slices]
    if not numbers or min(numbers) < 0 or max(numbers) >= raw.slices:
        raise ConfigError(f"Slices {numbers} were asked for; the measurement has 0 to {raw.slices - 1}.")
    arrays = {}
    for name, dimensions in (("coil_maps", 4), ("weights", 3)):
        value = raw.arrays.get(name)
        if value is not None and value.ndim == dimensions:
            arrays[name] = value[numbers]
    kept = ", ".join(map(str, numbers))
    return raw.after(f"Slices {kept} of {raw.slices} were kept.", data=raw.data[numbers], arrays=arrays)


def crop_detector(raw: RawMeasurement, first: int, last: int) -> RawMeasurement:
    """Keep detector elements ``first`` to ``last - 1`` of a sinogram; the rotation axis stays where it was.

    Raises
    ------
    ConfigError
        When the range is not on the detector, or this is k-space.
    """
    _require_sinogram(raw, "crop_detector")
    count = raw.data.shape[-1]
    if not 0 <= first < last <= count:
        raise ConfigError(f"Elements {first} to {last - 1} were asked for; the detector has 0 to {count - 1}.")
    offset = raw.rotation_centre - first - (last - first - 1) / 2
    arrays = {name: value[..., first:last] for name, value in raw.arrays.items()}
    return raw.after(
        f"Detector elements {first} to {last - 1} of {count} were kept.",
        data=raw.data[..., first:last],
        facts={"centre_offset": offset},
        arrays=arrays,
    )


def undersample(
    raw: RawMeasurement,
    mask: Tensor | Sequence[bool] | None = None,
    *,
    every: int | None = None,
    first: int = 0,
    centre: int = 0,
) -> RawMeasurement:
    """Keep some lines, samples, readouts or views, as if no others had been measured.

    Parameters
    ----------
    raw : RawMeasurement
    mask : Tensor or sequence of bool, optional
        Lines ``(line,)`` across the readout or samples ``(ky, kx)`` of a grid, readouts ``(readout,)``, or views
        ``(angle,)``.
    every : int, optional
        Instead of a mask: every n-th, starting from `first`.
    first : int
    centre : int
        With `every`, this many lines around the centre of a grid are kept too.

    Raises
    ------
    ConfigError
        When both or neither of `mask` and `every` are given, or no sample would be left.
    ShapeError
        When the mask fits nothing.
    """
    if (mask is None) == (every is None):
        raise ConfigError("undersample needs either a mask or every=n.")
    line_axis = None
    if raw.is_cartesian:
        line_axis = -3 - _readout_axis(raw)
    axis = {True: line_axis, False: -2}[raw.is_cartesian]
    assert axis is not None
    count = raw.data.shape[axis]
    if every is not None:
        keep = _every(count, every, first, centre if raw.is_cartesian else 0)
        how = f"every {every}th from {first}" + (f" and {centre} around the centre" if centre and line_axis else "")
    else:
        keep, how = torch.as_tensor(mask, dtype=torch.bool), "by a mask"
    if not bool(keep.any()):
        raise ConfigError("undersample would leave no sample.")
    if raw.is_cartesian:
        return _masked(raw, keep, axis, how)
    if keep.shape != (count,):
        raise ShapeError(
            f"The mask has shape {tuple(keep.shape)}; there are {count} {raw.axes[-2]}s, so it is ({count},)."
        )
    numbers = torch.nonzero(keep).ravel()
    facts: dict[str, Any] = {}
    arrays: dict[str, Tensor | None] = {}
    if raw.kind == "sinogram":
        facts["angles"] = tuple(np.asarray(raw.facts["angles"])[numbers.numpy()].tolist())
        arrays = {name: value[..., numbers, :] for name, value in raw.arrays.items()}
    else:
        arrays["trajectory"] = raw.arrays["trajectory"][numbers]
        if "weights" in raw.arrays:
            arrays["weights"] = None  # the density has changed
    what = "views" if raw.kind == "sinogram" else "readouts"
    step = f"Undersampled afterwards: {len(numbers)} of {count} {what} were kept, {how}."
    return raw.after(step, data=raw.data[..., numbers, :], facts=facts, arrays=arrays)


def fourier_along(values: Tensor, axis: int, *, inverse: bool) -> Tensor:
    """Transform one axis, centred and orthonormal, from image to k-space or (`inverse`) back."""
    transform = torch.fft.ifft if inverse else torch.fft.fft
    shifted = torch.fft.ifftshift(values, dim=axis)
    result: Tensor = torch.fft.fftshift(transform(shifted, dim=axis, norm="ortho"), dim=axis)
    return result


def _masked(raw: RawMeasurement, keep: Tensor, axis: int, how: str) -> RawMeasurement:
    grid = raw.data.shape[-2:]
    if keep.shape == (raw.data.shape[axis],):
        keep = (keep[:, None] if axis == -2 else keep[None, :]).expand(grid)
    if keep.shape != grid:
        raise ShapeError(
            f"The mask has shape {tuple(keep.shape)}; k-space has {raw.data.shape[axis]} lines along {raw.axes[axis]} "
            f"on a grid of {tuple(grid)}."
        )
    before = raw.arrays.get("mask", torch.ones(grid, dtype=torch.bool))
    mask = before & keep
    if not bool(mask.any()):
        raise ConfigError("undersample would leave no sample: the mask and the measured samples do not overlap.")
    step = f"Undersampled afterwards: {int(mask.sum())} of {int(before.sum())} measured samples were kept, {how}."
    return raw.after(step, data=raw.data * mask, arrays={"mask": mask.contiguous()})


def _every(count: int, every: int, first: int, centre: int) -> Tensor:
    if every < 1 or not 0 <= first < count or centre < 0:
        raise ConfigError(f"undersample needs every >= 1, first from 0 to {count - 1}; got {every}, {first}, {centre}.")
    keep = torch.zeros(count, dtype=torch.bool)
    keep[first::every] = True
    start = max(0, count // 2 - centre // 2)
    keep[start : start + centre] = True
    return keep


def _readout_axis(raw: RawMeasurement) -> int:
    if not raw.is_cartesian:
        raise ShapeError(f"This step needs Cartesian k-space; this is {', '.join(raw.axes)}.")
    return -2 if raw.facts.get("readout_axis", "kx") == "ky" else -1


def _require_sinogram(raw: RawMeasurement, step: str) -> None:
    if raw.kind != "sinogram":
        raise ConfigError(f"{step} is for sinograms; this is {raw.kind}.")
