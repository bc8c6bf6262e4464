"""Simulated measurements: draw the parameters, then apply them; the drawn parameters are kept with the data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medinr.acquisition.ways import acquisition_class, acquisition_of
from medinr.errors import UnitError
from medinr.measurement import Measurement
from medinr.volume import Volume


def simulate(task: str, scan: Volume, settings: Any = None, *, level: float | None = None) -> Measurement:
    """Simulate the measurement of a scan's slices.

    Parameters
    ----------
    task : str
        Of `medinr.acquisition.ways.acquisitions`.
    scan : Volume
        Slices to measure, in standard orientation.
    settings : dataclass, optional
        The task's ``Simulation``, such as `medinr.acquisition.kspace.KspaceSimulation`; its defaults by default.
    level : float, optional
        99th percentile of the whole volume when ``scan`` is only part of it.

    Returns
    -------
    Measurement
        With every drawn parameter, so that the same measurement can be made again.

    Raises
    ------
    UnitError
        When the scan's modality does not go with the task.
    """
    return simulate_with_reference(task, scan, settings, level=level)[0]


def simulate_with_reference(
    task: str, scan: Volume, settings: Any = None, *, level: float | None = None
) -> tuple[Measurement, NDArray[np.float32] | None]:
    """Simulate as `simulate` does, and say what the best image is.

    Returns
    -------
    Measurement
    ndarray, shape (slices, y, x), or None
        The image without noise; None where it is the scan itself.
    """
    kind = acquisition_class(task)
    if scan.modality != kind.modality:
        raise UnitError(
            f"Task {task} simulates a {kind.modality} scanner; this scan is {scan.modality}. "
            f"Choose another task, or say --modality {kind.modality} if the file is one."
        )
    settings = kind.Simulation() if settings is None else settings
    if level is None:
        level = float(np.percentile(np.abs(scan.array), 99))
    parameters = {"simulated": True, "seed": settings.seed, "settings": asdict(settings)}
    parameters |= kind.draw(scan, level, settings)
    images = kind.images(scan, parameters)
    parameters |= kind.noise_facts(images, settings)
    blank = Measurement(
        task=task,
        data=torch.zeros(len(images), 1, 1),
        parameters=parameters,
        affine=scan.affine,
        image_shape=(scan.shape[1], scan.shape[2]),
        modality=scan.modality,
        unit=scan.unit,
        arrays=kind.arrays(scan, settings),
        provenance=scan.provenance,
    )
    spoiled = kind.spoiled(scan, level, settings)
    if spoiled is not None:
        return Measurement(**{**vars(blank), "data": torch.from_numpy(spoiled.array)}), spoiled.reference
    found = acquisition_of(blank)
    if found.shares_operator:
        clean = found.operator()(images)
    else:
        clean = torch.stack([found.operator(position)(image) for position, image in enumerate(images)])
    generator = torch.Generator().manual_seed(settings.seed + 1)
    if parameters.get("added_sigma") == 0.0 or parameters.get("sigma") == 0.0:
        data = clean
    else:
        data = found.noise.sample(clean, generator)
    return Measurement(**{**vars(blank), "data": data}), None
