"""What a finished reconstruction says of itself: checks slice by slice, warnings, and which image is the better one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medinr.jobs.reconstruct.context import ReconstructionJob
from medinr.jobs.reconstruct.uncertainty_maps import uncertainty_facts
from medinr.jobs.record import SliceRecord
from medinr.jobs.reference import Reference
from medinr.jobs.reference_noise import OwnNoise
from medinr.solve.checks import Check

#: Images that a held-out part is predicted with beside medinr's, by the name of the check.
OTHERS = {"held_out_direct": "input", "held_out_tv": "TV"}

#: What follows where an image is unlike the training scans.
UNLIKE = (
    "structure that the measurement did not determine may be invented or missing, and the uncertainty may be too small"
)

#: Share of the body that a 90 % interval has to cover.
COVERED = 0.8


@dataclass(frozen=True)
class Judgement:
    """What a reconstruction says of itself.

    Attributes
    ----------
    image : str
        Key of `SliceRecord.images` that is written: ``"medinr"``, or what takes its place.
    facts : tuple of dict
        Of every slice for result.json: ``checks``, and ``uncertainty`` where there are maps.
    warnings : tuple of str
        Of the checks that failed.
    """

    image: str
    facts: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


def judge_result(
    job: ReconstructionJob, records: Sequence[SliceRecord], reference: Reference | None, fallback: bool
) -> Judgement:
    """Judge all slices.

    Parameters
    ----------
    job : ReconstructionJob
    records : sequence of SliceRecord
    reference : Reference or None
        For the coverage of the intervals alone.
    fallback : bool
        Whether another image takes the place of medinr's where it predicts held-out measurements better.
    """
    facts, warnings = [], []
    own_noise = _own_noise(reference, records)
    for position, record in enumerate(records):
        known = None if reference is None else reference.images[position]
        uncertain = uncertainty_facts(record, known, job.config, own_noise[position])
        checks = (*record.checks, *_checks_of_image(job, record, uncertain.get("uncertainty", {})))
        number = job.acquisition.measurement.slice_numbers[position]
        warnings += [f"slice {number}: {check.words}" for check in checks if not check.passed]
        facts.append(uncertain | {"checks": [asdict(check) for check in checks]})
    if words := job.acquisition.noise_warning:
        warnings.append(f"{words}.")
    better = better_image(records)
    if better != "medinr":
        warnings.append(_instead({"input": job.acquisition.direct_words, "TV": "total variation"}[better], fallback))
    return Judgement(better if fallback else "medinr", tuple(facts), tuple(warnings))


def _own_noise(reference: Reference | None, records: Sequence[SliceRecord]) -> list[float]:
    """Variance of the reference's own noise in the body of each slice; 0 where it is not known, or not needed."""
    count = len(records)
    if reference is None or "uncertainty" not in records[0].images:
        return count * [0.0]
    found = OwnNoise.found(reference.scan, lambda volume: volume)
    return [found.by_region(reference, list(range(count)), position)[0].get("body", 0.0) for position in range(count)]


def better_image(records: Sequence[SliceRecord]) -> str:
    """Name the image that predicts held-out measurements best, over the slices where that was looked at.

    Returns
    -------
    str
        Key of `SliceRecord.images`.
    """
    gains = {
        image: [
            math.log(check.value / check.limit) for record in records for check in record.checks if check.name == name
        ]
        for name, image in OTHERS.items()
    }
    mean = {image: sum(values) / len(values) for image, values in gains.items() if values}
    best = max(mean, key=lambda image: mean[image], default="medinr")
    return best if mean.get(best, 0.0) > 0 else "medinr"


def _checks_of_image(job: ReconstructionJob, record: SliceRecord, uncertain: Mapping[str, float]) -> list[Check]:
    """Whether a slice is like the training scans, and what its 90 % interval covers."""
    found, seen = [], job.model.likeness(record.images["medinr"], job.acquisition.measurement.unit)
    if seen is not None:
        words = f"the image is {seen.words}"
        words += "" if seen.passed else f": {UNLIKE}"
        found.append(Check("likeness", seen.score, seen.limit, seen.passed, f"{words}."))
    if (covered := uncertain.get("covered_with_reference_noise")) is not None:
        words = f"the 90 % interval covers {100 * covered:.0f} % of the body"
        if covered < COVERED:
            words += f", where {100 * COVERED:.0f} % are wanted at least: the uncertainty is too small"
        found.append(Check("coverage", covered, COVERED, covered >= COVERED, f"{words}."))
    return found


def _instead(other: str, fallback: bool) -> str:
    """Say which image is better than the reconstruction, and whether it was written."""
    if fallback:
        return f"{other} was written in place of medinr's image: it predicts held-out measurements better."
    return f"{other} predicts held-out measurements better than medinr; --fallback writes that image instead."
