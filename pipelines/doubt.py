"""What a reader should doubt: uncertainty and null space beside each image, and whether it looks familiar."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from medinr.pipelines.record import SliceRecord
from medinr.pipelines.slices import Start
from numpy.typing import NDArray
from torch import Tensor

from medinr.config import ReconstructConfig
from medinr.errors import ConfigError, IntensityError
from medinr.evaluate.metrics import body_mask
from medinr.measurement import Measurement
from medinr.solve.familiarity import Familiarity, surprise
from medinr.solve.null_space import null_space_part
from medinr.solve.problem import Problem
from medinr.solve.uncertainty import NORMAL_90, uncertainty
from medinr.units import attenuation_from_hu, hu_from_attenuation

#: Names of the maps among a slice's images, and of their files.
MAPS = ("uncertainty", "null_space")

Image = NDArray[np.float32]


def require_prior(begin: Start, config: ReconstructConfig) -> None:
    """Refuse maps of uncertainty without the prior that they question (raises `ConfigError`)."""
    if config.uncertainty.repeats and begin.prior is None:
        raise ConfigError(
            f"The trunk {config.trunk!r} has no local prior, and uncertainty is found by repeating its guide. "
            "Choose a trunk with a prior (medinr trunks), or leave --uncertainty out."
        )


def doubt_maps(
    measurement: Measurement, problem: Problem, image: Tensor, begin: Start, config: ReconstructConfig
) -> tuple[dict[str, Image], float]:
    """Find the maps of a slice, in the unit of the exported image, and the seconds they took; none when not asked for.

    ``uncertainty`` is a standard deviation. ``null_space`` is what of the exported image the measurement did not
    decide: for complex images the part along the image's phase, so that image and part can be subtracted.
    """
    if begin.prior is None or not config.uncertainty.repeats:
        return {}, 0.0
    started = time.perf_counter()
    spread = uncertainty(problem, image / problem.scale, begin.prior, config.fit.guide, config.uncertainty)
    unseen = null_space_part(problem, image)
    if unseen.is_complex():
        unseen = (unseen * torch.polar(torch.ones_like(image.real), -image.angle())).real
    # A difference of attenuations is one of Hounsfield units without the offset.
    factor = hu_from_attenuation(1.0) - hu_from_attenuation(0.0) if measurement.unit == "HU" else 1.0
    maps = {
        "uncertainty": (factor * problem.scale * spread).numpy().astype(np.float32),
        "null_space": (factor * unseen).numpy().astype(np.float32),
    }
    return maps, time.perf_counter() - started


def familiarity(measurement: Measurement, image: Image, begin: Start) -> Familiarity | None:
    """Compare an exported image with the training scans; None when the trunk's card does not know them."""
    known = begin.card.results.get("surprise") if begin.card is not None else None
    if begin.prior is None or known is None:
        return None
    low, high = known
    try:
        return Familiarity(surprise(_as_trained(measurement, image), begin.prior), low, high)
    except IntensityError:
        return None


def _as_trained(measurement: Measurement, image: Image) -> Tensor:
    """Scale an image as training slices are: attenuation over water's, or magnitude over its 99th percentile."""
    if measurement.unit == "HU":
        water = attenuation_from_hu(0.0)
        return torch.from_numpy(np.asarray(attenuation_from_hu(image) / water, np.float32)).clamp_min(0.0)
    level = float(np.percentile(image, 99))
    return torch.from_numpy(image / level if level > 0 else image)


def doubt_summary(
    measurement: Measurement, record: SliceRecord, truth: Image | None, begin: Start, config: ReconstructConfig
) -> dict[str, Any]:
    """Say in numbers and words what result.json keeps of a slice: predicted beside actual error, familiarity."""
    image = record.images["medinr"]
    summary: dict[str, Any] = {}
    seen = familiarity(measurement, image, begin)
    if seen is not None:
        summary["familiarity"] = {
            "surprise": round(seen.surprise, 4),
            "training_scans": [round(seen.low, 4), round(seen.high, 4)],
            "warning": seen.warning,
        }
    if "uncertainty" in record.images:
        summary["doubt"] = _errors(record, truth, config.uncertainty.mean_error)
    return summary


def _errors(record: SliceRecord, truth: Image | None, mean_error: float) -> dict[str, float]:
    image, spread, unseen = (record.images[name] for name in ("medinr", *MAPS))
    body = _body(image)
    found = {
        "predicted_mean_error": mean_error * float(spread[body].mean()),
        "null_space_share": float(np.linalg.norm(unseen[body])) / max(float(np.linalg.norm(image[body])), 1e-30),
    }
    if truth is not None:
        error = np.abs(image - truth)[body]
        found["actual_mean_error"] = float(error.mean())
        found["covered_by_90_percent_interval"] = float((error <= NORMAL_90 * spread[body]).mean())
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def _body(image: Image) -> NDArray[np.bool_]:
    try:
        return body_mask(image)
    except IntensityError:
        return np.ones(image.shape, dtype=np.bool_)


def warnings_of(summaries: Sequence[dict[str, Any]], numbers: Sequence[int]) -> list[str]:
    """Collect the warnings of all slices, with their numbers."""
    return [
        f"slice {number}: {summary['familiarity']['warning']}"
        for number, summary in zip(numbers, summaries, strict=True)
        if summary.get("familiarity", {}).get("warning")
    ]
