"""The patient's earlier scans, or other contrasts, as a prior: registered, put to the test, given to every slice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from medinr.pipelines.at_once import each_at_once
from medinr.pipelines.slices import exported
from numpy.typing import NDArray
from torch import Tensor

from medinr.data.rigid import Resampler, register_rigid
from medinr.errors import ConfigError
from medinr.io.scan import read_scan
from medinr.measurement import Measurement
from medinr.prior.companion import CompanionPrior
from medinr.prior.local import ImagePrior, LocalPrior
from medinr.prior.straight_lines import THROUGH_MM
from medinr.solve.contest import Prediction, gain_db, predict_held_out
from medinr.solve.fit import FitSettings
from medinr.solve.plug_and_play import PlugAndPlaySettings
from medinr.solve.problem import Problem
from medinr.volume import Affine, Volume
from medinr.workers import Workers

#: Slices that are reconstructed beforehand, to register to and to judge by; of a scan of fewer, some several times.
LOOKED_AT = 4

#: Companions are used when with them held-out measurements are predicted better by this much. What is reconstructed
#: from a part profits more than what has all: another person's scan gained up to 0.35 dB so, and was no help after all.
LEAST_GAIN_DB = 0.75

#: Where every one of the first trials gains more than this, or none gains at all, no further ones are made.
CLEAR_GAIN_DB = 2 * LEAST_GAIN_DB

#: Error, of brightness 0 to 1, at which a result says how much of the companions was believed.
TRUST_AT = 0.05


@dataclass(frozen=True, eq=False)
class Earlier:
    """What became of the earlier scans.

    Attributes
    ----------
    priors : tuple
        One per slice; without companions where they did not help.
    facts : dict
        For result.json: the motion of each scan (of the first to the measurement, of the others to the first), what
        held-out measurements said, whether they were used.
    """

    priors: tuple[CompanionPrior | LocalPrior, ...]
    facts: dict[str, Any]

    def sentence(self) -> str:
        """What was decided, and why, for a reader."""
        first, *others = (scan["registration"] for scan in self.facts["scans"])
        moved = f"moved by {first['millimetres']:.1f} mm and {first['degrees']:.1f} degrees"
        with_others = f", and {len(others)} more beside it" if others else ""
        verdict, them = "used" if self.facts["used"] else "left out", "them" if others else "it"
        gain = f"held-out measurements are predicted {self.facts['held_out_gain_db']:+.2f} dB better with {them}"
        return f"Earlier scan {moved}{with_others}; {verdict}: {gain}."

    def trusted(self, position: int, image: Tensor) -> float | None:
        """How much of the companions a slice's image ``(y, x)``, in network units, agrees with: 0 to 1."""
        prior = self.priors[position]
        if not isinstance(prior, CompanionPrior):
            return None
        body = image.abs() > TRUST_AT
        weight = prior.trusted(image, TRUST_AT)
        return round(float(weight[body].mean()), 3) if body.any() else 0.0


def open_earlier(paths: Sequence[Path], measurement: Measurement, **reading: Any) -> tuple[Volume, ...]:
    """Read the earlier scans.

    Raises
    ------
    ConfigError
        When they are of no use for this measurement.
    """
    if measurement.modality != "MR":
        raise ConfigError(f"--prior is for MR; this measurement is {measurement.modality}. Leave --prior out.")
    scans = tuple(read_scan(path, modality="MR", **reading) for path in paths)
    for scan, path in zip(scans, paths, strict=True):
        # Slices of air, as above many a head, are no harm: the scan is registered as a whole.
        scan.require_finite(path.name)
    return scans


def hear_earlier(
    scans: Sequence[Volume],
    measurement: Measurement,
    problems: Sequence[Problem],
    prior: LocalPrior | None,
    settings: FitSettings,
) -> Earlier:
    """Register earlier scans to a measurement, and let held-out measurements say whether they help.

    A few slices are reconstructed without them, each from a part of its measurement. The first scan is registered to
    those images, the others to the first, and the images are made again with all. They are used when with them the
    rest is predicted clearly better.

    Parameters
    ----------
    scans : sequence of Volume
        Magnitudes; the first is the one that is most like what is being reconstructed.
    measurement : Measurement
    problems : sequence of Problem
        Of all slices.
    prior : LocalPrior or None
        What came with the trunk.
    settings : FitSettings

    Raises
    ------
    ConfigError
        When there is no prior, or the fit asks none, so that a companion could not speak.
    GeometryError
        When the scans do not overlap.
    """
    if prior is None:
        raise ConfigError("--prior needs a trunk with a local prior. Choose another --trunk, or leave --prior out.")
    if settings.steps > 0 and settings.imitation.passes == 0 and settings.finish == 0:
        raise ConfigError(
            "--prior is not heard when a network learns from the measurement alone: with fit.steps it needs "
            "fit.imitation.passes or fit.finish above 0. Choose another --task, or leave --prior out."
        )
    # As many turns as the reconstruction itself: from fewer, a companion looks more useful than it is in the end.
    guide = settings.guide
    if settings.imitation.passes > 0:
        guide = replace(guide, iterations=min(guide.iterations, settings.joint_guide))
    first, further = _trials(len(problems), settings.seed)
    without = _predictions(problems, first, [prior] * len(first), guide)
    images = {position: shown.image for (position, _), shown in zip(first, without, strict=True)}
    seen = {k: exported(measurement, image * problems[k].scale) for k, image in images.items()}
    found, facts = _registered(scans, measurement, seen)
    heard = tuple(CompanionPrior(prior, *both) for both in found)
    given = _predictions(problems, first, [heard[position] for position, _ in first], guide)
    gains = [gain_db([one], [other]) for one, other in zip(without, given, strict=True)]
    if max(gains) >= 0 and min(gains) <= CLEAR_GAIN_DB:
        without += _predictions(problems, further, [prior] * len(further), guide)
        given += _predictions(problems, further, [heard[position] for position, _ in further], guide)
    gain = gain_db(without, given)
    used = gain > LEAST_GAIN_DB
    verdict = {"scans": facts, "held_out_gain_db": round(gain, 3), "trials": len(given), "used": used}
    return Earlier(heard if used else (prior,) * len(problems), verdict)


def _trials(slices: int, seed: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Slices and seeds to try at first, two or more, and those to try where these disagree."""
    chosen = range(0, slices, math.ceil(slices / LOOKED_AT))
    trials = [(k, seed + turn) for turn in range(math.ceil(LOOKED_AT / len(chosen))) for k in chosen]
    first = max(2, len(chosen))
    return trials[:first], trials[first:]


def _registered(
    scans: Sequence[Volume], measurement: Measurement, seen: Mapping[int, NDArray[np.float32]]
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Bring scans onto the grid of a measurement, by what was seen of some of its slices.

    Returns
    -------
    companions : Tensor, shape (slices, 2, scans, y, x)
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
            torch.from_numpy(ready.onto(_raised(grid, height), matrix)) for height in (-THROUGH_MM, 0.0, THROUGH_MM)
        )
        brightness = max(float(torch.quantile(image[known].flatten(), 0.99)), 1e-6)
        return torch.stack([image, (above - below) / 2], 1) / brightness

    companions = workers.map(bring, list(zip(scans, matrices, strict=True)))
    return torch.stack(companions, 2), facts


def _raised(grid: Volume, height: float) -> Volume:
    """A grid, moved along its normal by a height in mm."""
    affine = grid.affine.copy()
    affine[:3, 3] += height * affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    return replace(grid, affine=affine)


def _predictions(
    problems: Sequence[Problem],
    trials: Sequence[tuple[int, int]],
    priors: Sequence[ImagePrior],
    guide: PlugAndPlaySettings,
) -> list[Prediction]:
    """Predictions of trials ``(slice, seed)``, each with its own prior, side by side."""

    def predict(number: int, proceed: Callable[[], None]) -> Prediction:
        position, seed = trials[number]
        return predict_held_out(problems[position], priors[number], guide, seed, lambda *_: proceed())

    found = dict(each_at_once(range(len(trials)), predict, len(trials)))
    return [found[number] for number in range(len(trials))]
