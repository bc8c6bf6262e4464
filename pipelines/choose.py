"""Which trunk suits a measurement: held-out measurements say so in seconds, without any fit and any reference.

Every trunk's features stay as they are. The head is solved in closed form through the operator on most of the
measurement, and the rest is predicted. The noise model is replaced by its quadratic at the data.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from medinr.pipelines.measure import open_measurement
from medinr.pipelines.slices import Start, open_trunk, problem_for
from rich.table import Table
from torch import Tensor

from medinr.config import ReconstructConfig
from medinr.errors import CheckpointError, InputError
from medinr.inr.coordinates import plane_coordinates
from medinr.io.raw import is_raw
from medinr.io.scan import read_scan
from medinr.measurement import Measurement
from medinr.solve.head import ProjectedFeatures, generalised_cross_validation, project_features, solve_head
from medinr.solve.problem import Problem
from medinr.trunks.checkpoint import find_trunk, read_card, shipped_trunks

#: Share of the lines, angles or pixels that is predicted, and how often another share is drawn.
FRACTION, DRAWS = 0.05, 8

#: Slices of a measurement file that are looked at, evenly spread.
SLICES_AT_MOST = 3

#: What is held out together.
GROUPS = {"kspace": "lines", "ct": "angles", "denoise": "pixels", "superres": "pixels"}


@dataclass(frozen=True)
class Candidate:
    """How well one trunk predicts what was held out.

    Attributes
    ----------
    name : str
    modality : str
        Of its training scans; ``any`` for random weights.
    suits : bool
        Whether that is the measurement's; `medinr reconstruct` takes no other.
    residuals : tuple of float
        Root-mean-square error of each draw in units of the noise (1: as well as noise allows). Draw for draw the
        same measurements are held out for every trunk.
    seconds : float
    """

    name: str
    modality: str
    suits: bool
    residuals: tuple[float, ...] = field(repr=False)
    seconds: float

    @property
    def mean(self) -> float:
        """Mean residual over the draws."""
        return statistics.fmean(self.residuals)

    @property
    def spread(self) -> float:
        """Standard deviation over the draws."""
        return statistics.stdev(self.residuals)


def distinguishable(better: Candidate, worse: Candidate) -> bool:
    """Whether two trunks differ by more than the spread of their difference over the draws.

    The draws are common to both, so their differences are compared, not their residuals. Draws overlap in what is
    fitted, therefore the spread is not divided by the root of their number: the corrected t-test of Nadeau & Bengio
    (Machine Learning 2003, section 3) asks for ``2.36 sqrt(1/8 + 0.05/0.95) = 1.0`` standard deviations at 5 %.
    """
    differences = [b - a for a, b in zip(better.residuals, worse.residuals, strict=True)]
    return abs(statistics.fmean(differences)) > statistics.stdev(differences)


def choose(
    source: Path,
    config: ReconstructConfig,
    *,
    trunks: Sequence[str] = (),
    slices: Sequence[int] | None = None,
    sidecar: Path | None = None,
    announce: Callable[[str], None] = lambda line: None,
    **reading: Any,
) -> tuple[Measurement, tuple[Candidate, ...]]:
    """Rank the shipped trunks, others, and random weights as control, for a measurement.

    Parameters
    ----------
    source : Path
        Measurement (.safetensors), raw data, or a scan (NIfTI file, DICOM folder) that is measured first.
    config : ReconstructConfig
        Its task, simulation and seed.
    trunks : sequence of str
        Files to rank beside the shipped trunks.
    slices : sequence of int, optional
        Of the scan; its middle one by default. Of a measurement up to `SLICES_AT_MOST` are looked at.
    sidecar : Path, optional
        What a raw file does not say itself.
    announce : callable, optional
        Called with the name of every trunk before it is tried.
    **reading
        ``index``, ``series`` and ``modality``, see `medinr.io.scan.read_scan`.

    Returns
    -------
    Measurement
    tuple of Candidate
        Best first.

    Raises
    ------
    ConfigError
        When the measurement is of another task.
    CheckpointError
        When a trunk is missing, damaged or not one for slices.
    InputError
        When nothing can be held out.
    """
    names = list(dict.fromkeys([*shipped_trunks(), *trunks, "random"]))
    cards = {name: read_card(find_trunk(name)) for name in names if name != "random"}
    for name, card in cards.items():
        if card.architecture.inputs != 2:
            raise CheckpointError(
                f"Trunk {name!r} wants {card.architecture.inputs} coordinates per point; slices have 2. Leave it out."
            )
    measurement = _measurement(source, config, slices, sidecar, reading)
    count = min(SLICES_AT_MOST, measurement.slices) if slices is None else measurement.slices
    positions = sorted({round(i) for i in np.linspace(0, measurement.slices - 1, count + 2)[1:-1]})
    problems = [problem_for(measurement, position) for position in positions]
    held = [_draws(problem, config.fit.seed + position) for problem, position in zip(problems, positions, strict=True)]
    found = []
    for name in names:
        announce(name)
        modality = cards[name].modality if name in cards else measurement.modality
        start, started = open_trunk(name, modality), time.perf_counter()
        errors = torch.stack([held_out_errors(*each, start) for each in zip(problems, held, strict=True)])
        residuals = errors.square().mean(dim=0).sqrt()
        found.append(
            Candidate(
                name,
                modality if name in cards else "any",
                modality == measurement.modality,
                tuple(residuals.tolist()),
                time.perf_counter() - started,
            )
        )
    return measurement, tuple(sorted(found, key=lambda candidate: candidate.mean))


def _measurement(
    source: Path,
    config: ReconstructConfig,
    slices: Sequence[int] | None,
    sidecar: Path | None,
    reading: dict[str, Any],
) -> Measurement:
    if slices is None and source.suffix != ".safetensors" and not is_raw(source):
        # One slice tells trunks apart; simulating a whole volume would take longer than all the rest.
        slices = [read_scan(source, **reading).shape[0] // 2]
    measurement: Measurement = open_measurement(source, config, slices=slices, sidecar=sidecar, **reading)[0]
    return measurement


def _draws(problem: Problem, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    held = [problem.draw_held_out(FRACTION, generator) for _ in range(DRAWS)]
    if not all(mask.any() for mask in held):
        raise InputError(
            "Nothing of this measurement can be held out to compare trunks by: it is too small, or every line of it "
            "is a central one. Measure more lines, or choose a trunk by its card (medinr trunks)."
        )
    return held


@torch.no_grad()
def held_out_errors(problem: Problem, held: Sequence[Tensor], start: Start) -> Tensor:
    """Whitened root-mean-square error of what each mask holds out, by the head that suits the rest best.

    Parameters
    ----------
    problem : Problem
    held : sequence of Tensor of bool, shape of the data
    start : Start
        Trunk and its coordinate scale.

    Returns
    -------
    Tensor, shape (masks,)
        For complex data per real and imaginary part.
    """
    features = start.trunk.features(plane_coordinates(problem.shape, problem.spacing, start.length_scale))
    projected = project_features(problem, features)
    target, precision = (part.reshape(-1) for part in problem.noise.surrogate(problem.data, problem.data))
    matrix, right, energy = projected.normal_equations(target, precision)
    errors = []
    for mask in held:
        out = mask.reshape(-1)
        rows = ProjectedFeatures(projected.values[out], projected.image_is_real)
        # What is held out is taken from the normal equations of everything: twenty times less work than anew.
        its_matrix, its_right, its_energy = rows.normal_equations(target[out], precision[out])
        fitted, sought = matrix - its_matrix, right - its_right
        nothing = torch.zeros_like(fitted)
        ridge = generalised_cross_validation(fitted, sought, energy - its_energy, nothing, int((~out).sum()))
        head = solve_head(fitted, sought, ridge)
        error = (rows.values @ head.to(rows.values.dtype)).squeeze(1) - target[out]
        squared = precision[out] * error.abs().square()
        errors.append((squared.mean() / (2 if target.is_complex() else 1)).sqrt().double())
    return torch.stack(errors)


def ranking(measurement: Measurement, candidates: Sequence[Candidate]) -> Table:
    """Draw the table, best first."""
    title = (
        f"{measurement.task}, slice {', '.join(map(str, measurement.slice_numbers))}: prediction of held-out "
        f"{GROUPS[measurement.task]} ({100 * FRACTION:g} %, {DRAWS} draws)"
    )
    table = Table(title=title)
    for column in ("trunk", "modality"):
        table.add_column(column)
    for column in ("residual / noise", "seconds"):
        table.add_column(column, justify="right")
    for candidate in candidates:
        table.add_row(
            candidate.name,
            candidate.modality if candidate.suits else f"{candidate.modality}, not this scan's",
            f"{candidate.mean:.3f} ± {candidate.spread:.3f}",
            f"{candidate.seconds:.1f}",
        )
    return table


def verdict(measurement: Measurement, candidates: Sequence[Candidate]) -> str:
    """Say in sentences which trunk it is, or that the measurement cannot tell."""
    best, second = candidates[:2]
    lines = [
        f"{better.name} and {worse.name} are not distinguishable: they differ by less than the spread of their "
        f"difference over {DRAWS} draws."
        for better, worse in pairwise(candidates)
        if not distinguishable(better, worse)
    ]
    if distinguishable(best, second):
        lines.insert(0, f"{best.name} predicts the held-out {GROUPS[measurement.task]} best.")
    if best.name == "random":
        lines.append("No trunk predicts better than random weights.")
    if not best.suits:
        lines.append(
            f"{best.name} was trained on {best.modality}; medinr reconstruct refuses it for {measurement.modality}."
        )
    return "\n".join(lines)
