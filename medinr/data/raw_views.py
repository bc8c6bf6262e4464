"""Flaws of a sinogram's views that algotom knows how to mend: stripes, and a rotation axis off the middle."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from medinr.errors import ConfigError, GeometryError
from medinr.raw import RawMeasurement

#: Views of a scan that is searched for its axis reach this near to half a turn, in rad.
_HALF_TURN_WITHIN = math.radians(3.0)


def remove_stripes(raw: RawMeasurement, method: str = "sorting", size: int = 21) -> RawMeasurement:
    """Take out stripes along the angle, which miscalibrated elements leave and which become rings.

    Parameters
    ----------
    raw : RawMeasurement
        A sinogram, angles in order.
    method : {"sorting", "all"}
        Sorting each element's readings before a median over elements (Vo, Atwood & Drakopoulos 2018, algorithm 3), or
        all of that paper's steps, for wide stripes and dead elements too; these divide by each element's mean and
        suit objects that fill the detector, not an empty border.
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
        raise ConfigError(f"remove_stripes knows 'sorting' and 'all', size from 3; got {method!r}, {size}.")
    from algotom.prep import removal

    def mend(sinogram: NDArray[np.float64]) -> NDArray[np.float64]:
        if method == "sorting":
            return np.asarray(removal.remove_stripe_based_sorting(sinogram, size=size))
        return np.asarray(removal.remove_all_stripe(sinogram, sm_size=size, la_size=max(51, 2 * size + 1)))

    mended = np.stack([mend(part) for part in raw.data.double().numpy()])
    step = f"Stripes were removed by algotom ({method}, size {size})."
    return raw.after(step, data=torch.from_numpy(mended).to(raw.data.dtype))


def find_rotation_centre(
    raw: RawMeasurement, slice_number: int | None = None, search: tuple[float, float] | None = None
) -> RawMeasurement:
    """Find which detector element sees the rotation axis, from the symmetry of half a turn of parallel views.

    By the Fourier transform of the sinogram and its mirror image, which is empty in a double wedge when the axis is
    right (Vo et al. 2014), to a quarter of an element.

    Parameters
    ----------
    raw : RawMeasurement
        A parallel-beam sinogram over 180 degrees, angles in order.
    slice_number : int, optional
        The slice that is looked at; the middle one by default.
    search : (float, float), optional
        First and last element that may be the centre; by default within 1/16 of the detector around its middle.

    Returns
    -------
    RawMeasurement
        The same data, with another ``centre_offset``.

    Raises
    ------
    ConfigError
        When it is no sinogram, or slice or range are not on the detector.
    GeometryError
        When it is a fan or not half a turn.
    """
    if raw.kind != "sinogram":
        raise ConfigError("find_rotation_centre is for sinograms; this is k-space.")
    angles = np.asarray(raw.facts["angles"])
    turn = float(angles.max() - angles.min())
    if raw.facts["geometry"] != "parallel" or not abs(turn - math.pi) <= _HALF_TURN_WITHIN + math.pi / len(angles):
        raise GeometryError(
            f"The rotation centre is found from half a turn of parallel views; this is {raw.facts['geometry']} beam "
            f"over {math.degrees(turn):.1f} degrees. Give it in the sidecar (rotation_centre: ELEMENT)."
        )
    number = raw.slices // 2 if slice_number is None else slice_number
    count = raw.data.shape[-1]
    if not 0 <= number < raw.slices:
        raise ConfigError(f"Slice {number} was asked for; the measurement has 0 to {raw.slices - 1}.")
    low, high = search if search is not None else (count / 2 - count / 16, count / 2 + count / 16)
    if not 0 <= low < high <= count - 1:
        raise ConfigError(f"The centre cannot be looked for between {low} and {high} on elements 0 to {count - 1}.")
    from algotom.prep import calculation

    sinogram = raw.data[number].double().numpy()
    centre = float(calculation.find_center_vo(sinogram, start=low, stop=high, ncore=1))
    return raw.after(
        f"The rotation centre was found at element {centre:.2f} of 0 to {count - 1} (algotom, slice {number}).",
        facts={"centre_offset": centre - (count - 1) / 2},
    )
