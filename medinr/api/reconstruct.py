"""Arrays in, `Solution` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from medinr.api.arrays import (
    Array,
    image_from_arrays,
    kspace_from_arrays,
    sinogram_from_arrays,
)
from medinr.api.checked import checked
from medinr.api.own_operator import reconstruct_with_operator
from medinr.api.settings import Settings, task_settings
from medinr.config import ReconstructConfig
from medinr.devices import open_device
from medinr.errors import ConfigError
from medinr.jobs.prepared import prepare_raw
from medinr.jobs.reconstruct.prepare import prepare_job
from medinr.jobs.reconstruct.solve import solve_slices
from medinr.measurement import Measurement
from medinr.models.model import Model
from medinr.operators import LinearOperator, NoiseModel
from medinr.raw import RawMeasurement
from medinr.solve.solution import Solution, Step
from medinr.volume import Affine, Volume

#: What is done with scans instead.
_SCANS = (
    "mi.denoise(scan) and mi.superres(scan, ...) treat a scan as it was acquired; mi.simulate(scan, task) makes a "
    "measurement of it, to test a method on."
)


def reconstruct(
    data: Array | Measurement | RawMeasurement,
    *,
    operator: LinearOperator | None = None,
    noise: NoiseModel | float | None = None,
    mask: Array | None = None,
    lines: Sequence[int] | None = None,
    line_count: int | None = None,
    coil_maps: Array | None = None,
    angles: Array | None = None,
    detector_spacing: float | None = None,
    source_origin: float | None = None,
    source_detector: float | None = None,
    centre: float | None = 0.0,
    photons: float | None = None,
    factor: int | Sequence[int] | None = None,
    sigma: float | None = None,
    spacing: Sequence[float] | None = None,
    affine: Affine | None = None,
    scale: float | None = None,
    model: str | Model | None = None,
    method: str | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[int, Step], None] | None = None,
) -> Solution:
    """Reconstruct arrays, without touching a file.

    What ``data`` are is told by what comes with them: an ``operator`` of your own; ``angles``: a sinogram; complex
    values: k-space; a ``factor``: a coarse image; ``sigma`` alone: a noisy image. What else is not given (coil maps,
    noise, scale) is estimated from the data; settings are those of the task's configuration file.

    A scan, or an image of which nothing is said, is refused: `medinr.denoise` and `medinr.superres` treat a scan as it
    was acquired, and find its noise themselves.

    Parameters
    ----------
    data : array, Measurement or RawMeasurement
        k-space, complex (ky, kx), (coil, ky, kx) or (slice, coil, ky, kx), zero frequency at index ``n // 2``;
        sinogram, real (angle, detector) or (slice, angle, detector), line integrals; magnitude image, real (y, x) or
        (slice, y, x); or whatever ``operator`` gives.
    operator : LinearOperator, optional
        From the image (y, x) or (z, y, x) to ``data``; `medinr.operators.from_callable` and its neighbours make one.
    noise : NoiseModel or float, optional
        With ``operator``: noise model, or standard deviation of Gaussian noise.
    mask, lines, line_count, coil_maps : optional
        Of k-space, see `medinr.api.arrays.kspace_from_arrays`.
    angles, detector_spacing, source_origin, source_detector, centre, photons : optional
        Of sinograms, see `medinr.api.arrays.sinogram_from_arrays`; angles in radians, lengths in mm.
    factor : int or (int, int), optional
        How many times coarser an image is than the one that is wanted.
    sigma : float, optional
        Standard deviation of the noise; of a noisy image that of Rician noise.
    spacing : sequence of float, optional
        Of the image that is wanted, (y, x) or (z, y, x) in mm.
    affine : ndarray, shape (4, 4), optional
        Of that image, index (x, y, z) to RAS mm; goes into the solution.
    scale : float, optional
        With ``operator``: brightness of the image's bright parts; from the data by default.
    model : str or Model, optional
        Shipped model, .safetensors file, ``"auto"`` for the one that suits what was measured, or what
        `medinr.load_model` gave; the task's by default.
    method : str, optional
        ``"plug-and-play"`` (default), ``"inr"``, ``"strainer"``, ``"tv"``, or another of
        `medinr.jobs.methods.registry.METHODS`.
    settings : mapping or ReconstructConfig, optional
        What differs from the task's configuration, such as ``{"plug_and_play": {"iterations": 40}}``.
    seed : int
    device : str
        ``"cpu"``; others are refused for now.
    progress : callable, optional
        Called with the number of a slice and every `medinr.solve.solution.Step`.

    Returns
    -------
    Solution
        ``image`` is a tensor, ``array`` the same as NumPy array: complex for k-space, attenuation in 1/mm for
        sinograms; (y, x), or (slice, y, x) where data have slices. ``checks`` say whether its residual is that of a
        right model; where it is not, a warning is given too.

    Raises
    ------
    InputError
        When what was given does not go together, or is a scan, in words.

    Examples
    --------
    k-space of your own, with zeros where nothing was measured:

    >>> import numpy as np, torch
    >>> import medinr as mi
    >>> kspace = mi.operators.Fourier((48, 48))(mi.operators.birdcage_maps((48, 48), 1)[0]).numpy()
    >>> kspace[1:16:2] = 0
    >>> solution = mi.reconstruct(kspace, spacing=(4.0, 4.0), sigma=1e-3, settings={"plug_and_play": {"iterations": 4}})
    >>> solution.array.shape, solution.array.dtype, solution.reason
    ((48, 48), dtype('complex64'), 'all 4 iterations of plug-and-play were done')

    A sinogram, here of a disc with a radius of 10 mm:

    >>> angles, detector = np.arange(12) * np.pi / 12, np.arange(32) - 15.5
    >>> sinogram = np.tile(2 * np.sqrt(np.maximum(100 - detector**2, 0)), (12, 1))
    >>> sinogram = sinogram + 0.2 * np.random.default_rng(0).standard_normal((12, 32))
    >>> image = mi.reconstruct(sinogram, angles=angles, settings={"plug_and_play": {"iterations": 2}}).array

    An operator of your own:

    >>> A = mi.operators.downsampling((48, 48), (1.0, 1.0), 2)
    >>> image = mi.reconstruct(A(torch.rand(48, 48)), operator=A, noise=0.01, method="tv").array
    """
    if isinstance(data, Volume):
        raise ConfigError(f"A scan is no measurement to be reconstructed. {_SCANS}")
    _require_cpu(device)
    if operator is not None:
        return reconstruct_with_operator(
            data, operator, noise, spacing, affine, scale, model, method, settings, seed, progress
        )
    if noise is not None or scale is not None:
        raise ConfigError("noise and scale go with an operator of your own; give sigma or photons otherwise.")
    measurement, config = _measurement(
        data,
        model,
        method,
        settings,
        seed,
        kspace={"mask": mask, "lines": lines, "line_count": line_count, "coil_maps": coil_maps},
        sinogram={
            "angles": angles,
            "detector_spacing": detector_spacing,
            "source_origin": source_origin,
            "source_detector": source_detector,
            "photons": photons,
        },
        centre=centre,
        factor=factor,
        sigma=sigma,
        spacing=spacing,
        affine=affine,
    )
    return reconstruct_measurement(measurement, config, model if isinstance(model, Model) else None, progress)


def reconstruct_measurement(
    measurement: Measurement,
    config: ReconstructConfig,
    model: Model | None = None,
    progress: Callable[[int, Step], None] | None = None,
) -> Solution:
    """Reconstruct all slices of a measurement, in memory.

    Parameters
    ----------
    measurement : Measurement
    config : ReconstructConfig
    model : Model, optional
        In place of the configuration's.
    progress : callable, optional

    Returns
    -------
    Solution
        Of one slice, or of all as a volume: seconds are those of all, the residual is the root mean square.
    """
    job = prepare_job(measurement, config, model=model)
    solved = solve_slices(job, range(measurement.slices), lambda _, solution, __: solution, progress)
    found: dict[int, Solution] = dict(solved)
    solutions = [checked(found[at], f"slice {number}: ") for at, number in enumerate(measurement.slice_numbers)]
    first = solutions[0]
    if len(solutions) == 1:
        return replace(first, affine=measurement.affine)
    return replace(
        first,
        image=torch.stack([solution.image for solution in solutions]),
        seconds=sum(solution.seconds for solution in solutions),
        residual=float(np.sqrt(np.mean([solution.residual**2 for solution in solutions]))),
        affine=measurement.affine,
    )


def _measurement(
    data: Array | Measurement | RawMeasurement,
    model: str | Model | None,
    method: str | None,
    settings: Settings | None,
    seed: int,
    *,
    kspace: Mapping[str, Any],
    sinogram: Mapping[str, Any],
    centre: float | None,
    factor: int | Sequence[int] | None,
    sigma: float | None,
    spacing: Sequence[float] | None,
    affine: Affine | None,
) -> tuple[Measurement, ReconstructConfig]:
    def config_of(task: str) -> ReconstructConfig:
        return task_settings(task, settings, model=model, method=method, seed=seed)

    if isinstance(data, Measurement):
        return data, config_of(data.task)
    if not isinstance(data, RawMeasurement):
        given = {key for part in (kspace, sinogram) for key, value in part.items() if value is not None}
        if sinogram["angles"] is not None:
            _refuse(given & kspace.keys(), "a sinogram")
            data = sinogram_from_arrays(data, **sinogram, centre=centre, sigma=sigma)
        elif _is_complex(data):
            _refuse(given & sinogram.keys() | ({"factor"} if factor is not None else set()), "complex k-space")
            in_plane = None if spacing is None else spacing[-2:]
            data = kspace_from_arrays(data, **kspace, spacing=in_plane, sigma=sigma)
        else:
            _refuse(given, "a real image without angles")
            if factor is None and sigma is None:
                raise ConfigError(
                    f"An image was given, and nothing says how it was measured. {_SCANS} (mi.Volume makes a scan of an "
                    "array.) Or say what the array is: noisy (sigma), coarse (factor), a sinogram (angles)."
                )
            measurement = image_from_arrays(data, spacing=spacing, affine=affine, sigma=sigma, factor=factor)
            return measurement, config_of(measurement.task)
    config = config_of("kspace" if data.kind == "kspace" else "ct")
    measurement, _ = prepare_raw(data, config, range(data.slices))
    return measurement if affine is None else replace(measurement, affine=np.asarray(affine, np.float64)), config


def _is_complex(data: Array) -> bool:
    return data.is_complex() if isinstance(data, torch.Tensor) else np.iscomplexobj(data)


def _refuse(given: set[str], what: str) -> None:
    if given:
        raise ConfigError(f"{', '.join(sorted(given))} do not go with {what}. Leave them out, or check the data.")


def _require_cpu(device: str) -> None:
    if open_device(device).type != "cpu":
        raise ConfigError(f"Reconstruction on {device} is not there yet; leave device out.")
