"""Auxiliary scans of the patient, earlier ones or other contrasts: registered, compared, given to every slice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.acquisition.base import Acquisition
from medinr.data.registration import Resampler, register_rigid
from medinr.errors import ConfigError
from medinr.io.scan import read_scan
from medinr.jobs.side_by_side import each_side_by_side
from medinr.measurement import Measurement
from medinr.priors.auxiliary_scan import AuxiliaryScanPrior
from medinr.priors.denoiser_prior import DenoiserPrior, ImagePrior
from medinr.priors.guided_filter import THROUGH_PLANE_MM
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.held_out_comparison import Prediction, gain_db, predict_held_out
from medinr.solve.problem import Problem
from medinr.volume import Affine, Volume
from medinr.workers import Workers

#: Slices that are reconstructed beforehand, to register to and to judge by; of a scan of fewer, some several times.
TRIAL_SLICES = 4

#: Auxiliary scans are used when with them held-out measurements are predicted better by this much. What is
#: reconstructed from a part profits more than what has all: another person's scan gained up to 0.35 dB so, and was no
#: help after all.
LEAST_GAIN_DB = 0.75

#: Where every one of the first trials gains more than this, or none gains at all, no further ones are made.
CLEAR_GAIN_DB = 2 * LEAST_GAIN_DB

#: Error, of brightness 0 to 1, at which a result says how far the auxiliary scans agree with it.
AGREEMENT_AT = 0.05


@dataclass(frozen=True, eq=False)
class AuxiliaryScans:
    """What became of the auxiliary scans.

    Attributes
    ----------
    priors : tuple
        One per slice; the denoiser alone where they did not help.
    facts : dict
        For result.json: the motion of each scan (of the first to the measurement, of the others to the first), what
        held-out measurements said, whether they were used.
    """

    priors: tuple[AuxiliaryScanPrior | DenoiserPrior, ...]
    facts: dict[str, Any]

    def sentence(self) -> str:
        """What was decided, and why, for a reader."""
        first, *others = (scan["registration"] for scan in self.facts["scans"])
        moved = f"moved by {first['millimetres']:.1f} mm and {first['degrees']:.1f} degrees"
        with_others = f", and {len(others)} more beside it" if others else ""
        verdict, them = "used" if self.facts["used"] else "left out", "them" if others else "it"
        gain = f"held-out measurements are predicted {self.facts['held_out_gain_db']:+.2f} dB better with {them}"
        return f"Auxiliary scan {moved}{with_others}; {verdict}: {gain}."

    def agreement(self, position: int, image: Tensor) -> float | None:
        """How far the auxiliary scans agree with a slice's image ``(y, x)``, in solver units: 0 to 1."""
        prior = self.priors[position]
        if not isinstance(prior, AuxiliaryScanPrior):
            return None
        body = image.abs() > AGREEMENT_AT
        weight = prior.agreement(image, AGREEMENT_AT)
        return round(float(weight[body].mean()), 3) if body.any() else 0.0


def open_auxiliary(paths: Sequence[Path], measurement: Measurement) -> tuple[Volume, ...]:
    """Read auxiliary scans.

    Raises
    ------
    ConfigError
        When they are of no use for this measurement.
    """
    if measurement.modality != "MR":
        raise ConfigError(f"--prior is for MR; this measurement is {measurement.modality}. Leave --prior out.")
    scans = tuple(read_scan(path, modality="MR") for path in paths)
    for scan, path in zip(scans, paths, strict=True):
        # Slices of air, as above many a head, are no harm: the scan is registered as a whole.
        scan.require_finite(path.name)
    return scans


def select_auxiliary(
    scans: Sequence[Volume],
    acquisition: Acquisition,
    problems: Sequence[Problem],
    denoiser: DenoiserPrior,
    settings: PlugAndPlaySettings,
    seed: int,
) -> AuxiliaryScans:
    """Register auxiliary scans to a measurement, and let held-out measurements say whether they help.

    A few slices are reconstructed without them, each from a part of its measurement. The first scan is registered to
    those images, the others to the first, and the images are made again with all. They are used when with them the
    rest is predicted clearly better.

    Parameters
    ----------
    scans : sequence of Volume
        Magnitudes; the first is the one that is most like what is being reconstructed.
    acquisition : Acquisition
    problems : sequence of Problem
        Of all slices.
    denoiser : DenoiserPrior
        Of the model.
    settings : PlugAndPlaySettings
        Those of the reconstruction: after fewer iterations auxiliary scans look more useful than they are in the end.
    seed : int
        Of what is held out.

    Raises
    ------
    GeometryError
        When the scans do not overlap.
    """
    first, further = _trials(len(problems), seed)
    without = _predictions(problems, first, [denoiser] * len(first), settings)
    images = {position: made.image for (position, _), made in zip(first, without, strict=True)}
    seen = {k: acquisition.export(image * problems[k].scale) for k, image in images.items()}
    found, facts = _registered(scans, acquisition.measurement, seen)
    selected = tuple(AuxiliaryScanPrior(denoiser, *both) for both in found)
    given = _predictions(problems, first, [selected[position] for position, _ in first], settings)
    gains = [gain_db([one], [other]) for one, other in zip(without, given, strict=True)]
    if max(gains) >= 0 and min(gains) <= CLEAR_GAIN_DB:
        without += _predictions(problems, further, [denoiser] * len(further), settings)
        given += _predictions(problems, further, [selected[position] for position, _ in further], settings)
    gain = gain_db(without, given)
    used = gain > LEAST_GAIN_DB
    verdict = {"scans": facts, "held_out_gain_db": round(gain, 3), "trials": len(given), "used": used}
    return AuxiliaryScans(selected if used else (denoiser,) * len(problems), verdict)


def _trials(slices: int, seed: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Slices and seeds to try at first, two or more, and those to try where these disagree."""
    chosen = range(0, slices, math.ceil(slices / TRIAL_SLICES))
    trials = [(k, seed + draw) for draw in range(math.ceil(TRIAL_SLICES / len(chosen))) for k in chosen]
    first = max(2, len(chosen))
    return trials[:first], trials[first:]


def _registered(
    scans: Sequence[Volume], measurement: Measurement, seen: Mapping[int, NDArray[np.float32]]
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Bring scans onto the grid of a measurement, by images of some of its slices.

    Returns
    -------
    images : Tensor, shape (slices, 2, scans, y, x)
        Scaled to about 0 to 1, and their slopes through the plane.
    facts : list of dict
        Of each scan, for a record.
    """
    grid = measurement.volume(np.zeros((measurement.slices, *measurement.image_shape), np.float32))
    known = sorted(seen)
    images = grid.select(known).with_array(np.stack([seen[k] for k in known]))
    # The others to the first and not to the images: a whole scan says more of where it is than a few slices.
    pairs = [(scans[0], images), *((scan, scans[0]) for scan in scans[1:])]
    workers = Workers()
    motion, *further = motions = workers.map(lambda pair: register_rigid(*pair), pairs)
    matrices = [motion.matrix, *(other.matrix @ motion.matrix for other in further)]
    facts = [
        {"sha256": scan.provenance.sha256, "registration": found.summary()}
        for scan, found in zip(scans, motions, strict=True)
    ]

    def bring(job: tuple[Volume, Affine]) -> Tensor:
        scan, matrix = job
        ready = Resampler(scan, grid)
        below, image, above = (
            torch.from_numpy(ready.onto(_raised(grid, height), matrix))
            for height in (-THROUGH_PLANE_MM, 0.0, THROUGH_PLANE_MM)
        )
        brightness = max(float(torch.quantile(image[known].flatten(), 0.99)), 1e-6)
        return torch.stack([image, (above - below) / 2], 1) / brightness

    brought = workers.map(bring, list(zip(scans, matrices, strict=True)))
    return torch.stack(brought, 2), facts


def _raised(grid: Volume, height: float) -> Volume:
    """A grid, moved along its normal by a height in mm."""
    affine = grid.affine.copy()
    affine[:3, 3] += height * affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    return replace(grid, affine=affine)


def _predictions(
    problems: Sequence[Problem],
    trials: Sequence[tuple[int, int]],
    priors: Sequence[ImagePrior],
    settings: PlugAndPlaySettings,
) -> list[Prediction]:
    """Predictions of trials ``(slice, seed)``, each with its own prior, side by side."""

    def predict(number: int, proceed: Callable[[], None]) -> Prediction:
        position, seed = trials[number]
        return predict_held_out(problems[position], priors[number], settings, seed, lambda *_: proceed())

    found = dict(each_side_by_side(range(len(trials)), predict, len(trials)))
    return [found[number] for number in range(len(trials))]
