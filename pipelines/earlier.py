"""The patient's earlier scan, or another contrast, as a prior: registered, put to the test, given to every slice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from medinr.pipelines.at_once import each_at_once
from medinr.pipelines.slices import exported
from torch import Tensor

from medinr.data.rigid import register_rigid, resample_rigid
from medinr.errors import ConfigError
from medinr.io.scan import read_scan
from medinr.measurement import Measurement
from medinr.prior.companion import CompanionPrior
from medinr.prior.local import ImagePrior, LocalPrior
from medinr.solve.contest import Prediction, gain_db, predict_held_out
from medinr.solve.fit import FitSettings
from medinr.solve.plug_and_play import PlugAndPlaySettings
from medinr.solve.problem import Problem
from medinr.volume import Volume

#: Slices that are reconstructed beforehand, to register to and to judge by; of a scan of fewer, some several times.
LOOKED_AT = 4

#: A companion is used when with it held-out measurements are predicted better by this much. What is reconstructed from
#: a part profits more than what has all: another person's scan gained up to 0.35 dB so, and was no help in the end.
LEAST_GAIN_DB = 0.75

#: Error, of brightness 0 to 1, at which a result says how much of the companion was believed.
TRUST_AT = 0.05


@dataclass(frozen=True, eq=False)
class Earlier:
    """What became of the earlier scan.

    Attributes
    ----------
    priors : tuple
        One per slice; without the companion where it did not help.
    facts : dict
        For result.json: the motion found, what held-out measurements said, whether it was used.
    """

    priors: tuple[CompanionPrior | LocalPrior, ...]
    facts: dict[str, Any]

    def sentence(self) -> str:
        """What was decided, and why, for a reader."""
        motion, gain = self.facts["registration"], self.facts["held_out_gain_db"]
        moved = f"moved by {motion['millimetres']:.1f} mm and {motion['degrees']:.1f} degrees"
        verdict = "used" if self.facts["used"] else "left out"
        return f"Earlier scan {moved}; {verdict}: held-out measurements are predicted {gain:+.2f} dB better with it."

    def trusted(self, position: int, image: Tensor) -> float | None:
        """How much of the companion a slice's image ``(y, x)``, in network units, agrees with: 0 to 1."""
        prior = self.priors[position]
        if not isinstance(prior, CompanionPrior):
            return None
        body = image.abs() > TRUST_AT
        weight = prior.trusted(image, TRUST_AT)
        return round(float(weight[body].mean()), 3) if body.any() else 0.0


def open_earlier(path: Path, measurement: Measurement, **reading: Any) -> Volume:
    """Read the earlier scan.

    Raises
    ------
    ConfigError
        When it is of no use for this measurement.
    """
    if measurement.modality != "MR":
        raise ConfigError(f"--prior is for MR; this measurement is {measurement.modality}. Leave --prior out.")
    scan = read_scan(path, modality="MR", **reading)
    # Slices of air, as above many a head, are no harm: the scan is registered as a whole.
    scan.require_finite(path.name)
    return scan


def hear_earlier(
    scan: Volume, measurement: Measurement, problems: Sequence[Problem], prior: LocalPrior | None, settings: FitSettings
) -> Earlier:
    """Register an earlier scan to a measurement, and let held-out measurements say whether it helps.

    A few slices are reconstructed without it, each from a part of its measurement. The earlier scan is registered to
    those images, and they are made again with it. It is used when it predicts the rest clearly better.

    Parameters
    ----------
    scan : Volume
        Magnitude.
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
    chosen = list(range(0, len(problems), math.ceil(len(problems) / LOOKED_AT)))
    rounds = math.ceil(LOOKED_AT / len(chosen))
    trials = [(position, settings.seed + seed) for seed in range(rounds) for position in chosen]
    without = _predictions(problems, trials, [prior] * len(trials), guide)
    seen = np.stack(
        [
            exported(measurement, shown.image * problems[position].scale)
            for position, shown in zip(chosen, without[: len(chosen)], strict=True)
        ]
    )
    grid = measurement.volume(np.zeros((measurement.slices, *measurement.image_shape), np.float32))
    motion = register_rigid(scan, grid.select(chosen).with_array(seen))
    found = torch.from_numpy(resample_rigid(scan, motion, grid))
    found = found / max(float(torch.quantile(found[chosen].flatten(), 0.99)), 1e-6)
    companions = [CompanionPrior(prior, image) for image in found]
    given = _predictions(problems, trials, [companions[position] for position, _ in trials], guide)
    gain = gain_db(without, given)
    facts = {
        "sha256": scan.provenance.sha256,
        "registration": motion.summary(),
        "held_out_gain_db": round(gain, 3),
        "trials": len(trials),
        "used": gain > LEAST_GAIN_DB,
    }
    return Earlier(tuple(companions) if gain > LEAST_GAIN_DB else (prior,) * len(problems), facts)


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
