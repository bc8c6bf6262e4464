"""A scan in memory to its simulated measurement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medinr.api.settings import task_settings
from medinr.jobs.simulated import measure_slices, measured_slices
from medinr.measurement import Measurement
from medinr.volume import Volume


def simulate(
    scan: Volume, task: str = "kspace", *, slices: Sequence[int] | None = None, **simulation: Any
) -> Measurement:
    """Simulate the measurement of a scan's slices.

    Parameters
    ----------
    scan : Volume
        Such as `medinr.load_scan` gives.
    task : str
        denoise, superres, kspace, ct.
    slices : sequence of int, optional
        All by default.
    **simulation
        Settings of the task's ``simulation`` section, such as ``acceleration=8.0, seed=1``.

    Returns
    -------
    Measurement
        For `medinr.reconstruct`.

    Raises
    ------
    InputError
        When the scan does not suit the task, or a setting is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> import medinr as mi
    >>> scan = mi.Volume(np.random.default_rng(0).random((2, 32, 32), np.float32), np.eye(4), "MR")
    >>> mi.simulate(scan, "kspace", acceleration=2.0)
    Measurement kspace, 2 slices, data (2, 16, 32), image 32 x 32 pixels
    """
    config = task_settings(task, {"simulation": simulation}, model=None, method=None, seed=0)
    whole = measured_slices(scan, config, "the scan")
    numbers = list(range(whole.shape[0]) if slices is None else slices)
    return measure_slices(whole, config, numbers)[0]
