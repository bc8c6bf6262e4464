"""Uncertainty and null space beside each image."""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.config import ReconstructConfig
from medinr.config.schema import DEFAULT_METHOD
from medinr.errors import ConfigError, IntensityError
from medinr.jobs.reconstruct.context import ReconstructionJob
from medinr.jobs.record import SliceRecord
from medinr.metrics.image_quality import body_mask
from medinr.models.model import Model
from medinr.uncertainty.bootstrap import NORMAL_90, uncertainty
from medinr.uncertainty.null_space import null_space_part
from medinr.units import hu_from_attenuation

#: Names of the maps among a slice's images, and of their files.
MAPS = ("uncertainty", "null_space")

#: Methods whose plug-and-play reconstruction is repeated.
REPEATED = (DEFAULT_METHOD, "inr")

Image = NDArray[np.float32]


def require_uncertainty(model: Model, config: ReconstructConfig) -> None:
    """Refuse maps of uncertainty where the reconstruction cannot be repeated (raises `ConfigError`)."""
    if not config.uncertainty.repeats:
        return
    if config.method.lower() not in REPEATED:
        raise ConfigError(
            f"Uncertainty is found by repeating plug-and-play; method {config.method} does without it. Choose --method "
            f"{' or '.join(REPEATED)}, or leave --uncertainty out."
        )
    if model.prior is None:
        raise ConfigError(
            f"The model {config.model!r} has no denoiser, and uncertainty is found by repeating plug-and-play. "
            "Choose a model with a denoiser (medinr models), or leave --uncertainty out."
        )


def uncertainty_maps(job: ReconstructionJob, position: int, image: Tensor) -> tuple[dict[str, Image], float]:
    """Find the maps of a slice, in the unit of the exported image, and the seconds they took; none when not asked for.

    ``uncertainty`` is a standard deviation. ``null_space`` is what of the exported image the measurement did not
    decide: for complex images the part along the image's phase, so that image and part can be subtracted.
    """
    problem, config = job.problems[position], job.config
    if job.model.prior is None or not config.uncertainty.repeats:
        return {}, 0.0
    started = time.perf_counter()
    scaled = image / problem.scale
    spread = uncertainty(problem, scaled, job.model.prior, config.plug_and_play, config.uncertainty, config.seed)
    unseen = null_space_part(problem, image)
    if unseen.is_complex():
        unseen = (unseen * torch.polar(torch.ones_like(image.real), -image.angle())).real
    # A difference of attenuations is one of Hounsfield units without the offset.
    factor = hu_from_attenuation(1.0) - hu_from_attenuation(0.0) if job.acquisition.measurement.unit == "HU" else 1.0
    maps = {
        "uncertainty": (factor * problem.scale * spread).numpy().astype(np.float32),
        "null_space": (factor * unseen).numpy().astype(np.float32),
    }
    return maps, time.perf_counter() - started


def uncertainty_facts(
    record: SliceRecord, reference: Image | None, config: ReconstructConfig, reference_variance: float = 0.0
) -> dict[str, dict[str, float]]:
    """What result.json keeps of a slice's uncertainty, predicted beside actual error; nothing without maps.

    The actual error holds the reference's own noise, of `reference_variance` in the body, which no interval for the
    image without noise covers: it is added where predicted and actual errors are compared.
    """
    if "uncertainty" not in record.images:
        return {}
    return {"uncertainty": _errors(record, reference, config.uncertainty.mean_error, reference_variance)}


def _errors(
    record: SliceRecord, reference: Image | None, mean_error: float, reference_variance: float
) -> dict[str, float]:
    image, spread, unseen = (record.images[name] for name in ("medinr", *MAPS))
    body = _body(image)
    found = {
        "predicted_mean_error": mean_error * float(spread[body].mean()),
        "null_space_share": float(np.linalg.norm(unseen[body])) / max(float(np.linalg.norm(image[body])), 1e-30),
    }
    if reference is not None:
        error = np.abs(image - reference)[body]
        found["actual_mean_error"] = float(error.mean())
        found["reference_noise"] = math.sqrt(reference_variance)
        both = np.sqrt(spread[body] ** 2 + reference_variance)
        found["predicted_mean_error_with_reference_noise"] = mean_error * float(both.mean())
        found["covered_by_90_percent_interval"] = float((error <= NORMAL_90 * spread[body]).mean())
        found["covered_with_reference_noise"] = float((error <= NORMAL_90 * both).mean())
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def _body(image: Image) -> NDArray[np.bool_]:
    try:
        return body_mask(image)
    except IntensityError:
        return np.ones(image.shape, dtype=np.bool_)
