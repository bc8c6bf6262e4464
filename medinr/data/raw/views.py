"""Corrections of sinograms by algotom: stripes, and a rotation axis off the middle of the detector."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from medinr.errors import ConfigError, GeometryError
from medinr.raw import RawMeasurement

#: Tolerance in rad within which views cover half a rotation.
_ROTATION_TOLERANCE = math.radians(3.0)


def remove_stripes(raw: RawMeasurement, method: str = "sorting", size: int = 21) -> RawMeasurement:
    """Remove stripes along the angle, which miscalibrated elements cause and which become rings in the image.

    Parameters
    ----------
    raw : RawMeasurement
        A sinogram, angles in order.
    method : {"sorting", "all"}
        ``"sorting"``: sorting each element's readings before a median over elements (Vo, Atwood & Drakopoulos 2018,
        algorithm 3). ``"all"``: all steps of that paper, for wide stripes and dead elements too; these divide by each
        element's mean and suit objects that fill the detector, not an empty border.
    size : int
        Elements of the median's window.

    Raises
    ------
    ConfigError
        For k-space or an unknown method.
    """
    if raw.kind != "sinogram":
        raise ConfigError("remove_stripes is for sinograms; this is k-space.")
    if method not in ("sorting", "all") or size < 3:
        raise ConfigError(f"remove_stripes has methods 'sorting' and 'all', and sizes from 3; got {method!r}, {size}.")
    from algotom.prep import removal

    def corrected(sinogram: NDArray[np.float64]) -> NDArray[np.float64]:
        if method == "sorting":
            return np.asarray(removal.remove_stripe_based_sorting(sinogram, size=size))
        return np.asarray(removal.remove_all_stripe(sinogram, sm_size=size, la_size=max(51, 2 * size + 1)))

    data = np.stack([corrected(part) for part in raw.data.double().numpy()])
    step = f"Stripes were removed by algotom ({method}, size {size})."
    return raw.after(step, data=torch.from_numpy(data).to(raw.data.dtype))


def find_rotation_centre(
    raw: RawMeasurement, slice_number: int | None = None, search: tuple[float, float] | None = None
) -> RawMeasurement:
    """Find the detector element that sees the rotation axis, from the symmetry of parallel views over half a rotation.

    By the Fourier transform of the sinogram and its mirror image, which is empty in a double wedge when the axis is
    right (Vo et al. 2014), to a quarter of an element.

    Parameters
    ----------
    raw : RawMeasurement
        A parallel-beam sinogram over 180 degrees, angles in order.
    slice_number : int, optional
        The slice that is used; the middle one by default.
    search : (float, float), optional
        First and last candidate element; by default within 1/16 of the detector around its middle.

    Returns
    -------
    RawMeasurement
        The same data, with another ``centre_offset``.

    Raises
    ------
    ConfigError
        When it is no sinogram, or slice or range are not on the detector.
    GeometryError
        When the beam is a fan or the views do not cover half a rotation.
    """
    if raw.kind != "sinogram":
        raise ConfigError("find_rotation_centre is for sinograms; this is k-space.")
    angles = np.asarray(raw.facts["angles"])
    span = float(angles.max() - angles.min())
    if raw.facts["geometry"] != "parallel" or not abs(span - math.pi) <= _ROTATION_TOLERANCE + math.pi / len(angles):
        raise GeometryError(
            "The rotation centre is found from parallel views over half a rotation; this is "
            f"{raw.facts['geometry']} beam over {math.degrees(span):.1f} degrees. Give it in the sidecar "
            "(rotation_centre: ELEMENT)."
        )
    number = raw.slices // 2 if slice_number is None else slice_number
    count = raw.data.shape[-1]
    if not 0 <= number < raw.slices:
        raise ConfigError(f"Slice {number} was asked for; the measurement has 0 to {raw.slices - 1}.")
    low, high = search if search is not None else (count / 2 - count / 16, count / 2 + count / 16)
    if not 0 <= low < high <= count - 1:
        raise ConfigError(f"The centre cannot be searched between {low} and {high} on elements 0 to {count - 1}.")
    from algotom.prep import calculation

    sinogram = raw.data[number].double().numpy()
    centre = float(calculation.find_center_vo(sinogram, start=low, stop=high, ncore=1))
    return raw.after(
        f"The rotation centre was found at element {centre:.2f} of 0 to {count - 1} (algotom, slice {number}).",
        facts={"centre_offset": centre - (count - 1) / 2},
    )
