"""Which model suits a measurement: held-out measurements say so in seconds, without any fit and any reference.

Every trunk's features stay as they are. The head is solved in closed form through the operator on most of the
measurement, and the rest is predicted. The noise model is replaced by its quadratic at the data.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from medinr.acquisition.ways import acquisition_of
from medinr.errors import CheckpointError, InputError
from medinr.measurement import Measurement
from medinr.models.card import ModelCard
from medinr.models.checkpoint import find_model, load_model, read_card, shipped_models
from medinr.models.model import RANDOM, Model
from medinr.network.coordinates import plane_coordinates
from medinr.network.head import ProjectedFeatures, generalised_cross_validation, project_features, solve_head
from medinr.solve.problem import Problem

#: Share of the lines, angles or pixels that is predicted, and how often another share is drawn.
FRACTION, DRAWS = 0.05, 8

#: Slices of a measurement file that are used, evenly spread.
SLICES_AT_MOST = 3


@dataclass(frozen=True)
class Candidate:
    """How well one model predicts what was held out.

    Attributes
    ----------
    name : str
    modality : str
        Of its training scans; ``any`` for random weights.
    suits : bool
        Whether that is the measurement's; `medinr reconstruct` takes no other.
    residuals : tuple of float
        Root-mean-square error of each draw in units of the noise (1: as well as noise allows). Draw for draw the
        same measurements are held out for every model.
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
    """Whether two models differ by more than the spread of their difference over the draws.

    The draws are common to both, so their differences are compared, not their residuals. Draws overlap in what is
    fitted, therefore the spread is not divided by the root of their number: the corrected t-test of Nadeau & Bengio
    (Machine Learning 2003, section 3) asks for ``2.36 sqrt(1/8 + 0.05/0.95) = 1.0`` standard deviations at 5 %.
    """
    differences = [b - a for a, b in zip(better.residuals, worse.residuals, strict=True)]
    return abs(statistics.fmean(differences)) > statistics.stdev(differences)


def candidate_models(models: Sequence[str]) -> dict[str, ModelCard | None]:
    """Cards of the shipped models, of others, and None for random weights, the control.

    Raises
    ------
    CheckpointError
        When a model is missing, damaged or not one for slices.
    """
    names = list(dict.fromkeys([*shipped_models(), *models, RANDOM]))
    cards = {name: None if name == RANDOM else read_card(find_model(name)) for name in names}
    for name, card in cards.items():
        if card is not None and card.trunk_settings.inputs != 2:
            raise CheckpointError(
                f"Model {name!r} wants {card.trunk_settings.inputs} coordinates per point; slices have 2. Leave it out."
            )
    return cards


def judged_slices(measurement: Measurement, all_of_them: bool) -> list[int]:
    """Positions of the slices that models are judged by."""
    count = measurement.slices if all_of_them else min(SLICES_AT_MOST, measurement.slices)
    return sorted({round(i) for i in np.linspace(0, measurement.slices - 1, count + 2)[1:-1]})


def rank_models(
    measurement: Measurement,
    cards: Mapping[str, ModelCard | None],
    positions: Sequence[int],
    seed: int,
    announce: Callable[[str], None] = lambda line: None,
) -> tuple[Candidate, ...]:
    """Rank models by how well they predict a held-out part of a measurement.

    Parameters
    ----------
    measurement : Measurement
    cards : mapping of str to ModelCard
        See `candidate_models`.
    positions : sequence of int
        Slices to judge by.
    seed : int
        Of what is held out.
    announce : callable, optional
        Called with the name of every model before it is tried.

    Returns
    -------
    tuple of Candidate
        Best first.

    Raises
    ------
    InputError
        When nothing can be held out.
    """
    acquisition = acquisition_of(measurement)
    problems = [acquisition.problem(position) for position in positions]
    held = [_draws(problem, seed + position) for problem, position in zip(problems, positions, strict=True)]
    found = []
    for name, card in cards.items():
        announce(name)
        model, started = load_model(name), time.perf_counter()
        errors = torch.stack([held_out_errors(*each, model) for each in zip(problems, held, strict=True)])
        residuals = errors.square().mean(dim=0).sqrt()
        modality = measurement.modality if card is None else card.modality
        found.append(
            Candidate(
                name,
                "any" if card is None else modality,
                modality == measurement.modality,
                tuple(residuals.tolist()),
                time.perf_counter() - started,
            )
        )
    return tuple(sorted(found, key=lambda candidate: candidate.mean))


def _draws(problem: Problem, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    held = [problem.draw_held_out(FRACTION, generator) for _ in range(DRAWS)]
    if not all(mask.any() for mask in held):
        raise InputError(
            "Nothing of this measurement can be held out to compare models by: it is too small, or every line of it "
            "is a central one. Measure more lines, or choose a model by its card (medinr models)."
        )
    return held


@torch.no_grad()
def held_out_errors(problem: Problem, held: Sequence[Tensor], model: Model) -> Tensor:
    """Whitened root-mean-square error of what each mask holds out, by the head that suits the rest best.

    Parameters
    ----------
    problem : Problem
    held : sequence of Tensor of bool, shape of the data
    model : Model
        Trunk and its coordinate scale.

    Returns
    -------
    Tensor, shape (masks,)
        For complex data per real and imaginary part.
    """
    features = model.trunk.features(plane_coordinates(problem.shape, problem.spacing, model.length_scale))
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
        f"{acquisition_of(measurement).groups} ({100 * FRACTION:g} %, {DRAWS} draws)"
    )
    table = Table(title=title)
    for column in ("model", "modality"):
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
    """Say in sentences which model it is, or that the measurement cannot tell."""
    best, second = candidates[:2]
    lines = [
        f"{better.name} and {worse.name} are not distinguishable: they differ by less than the spread of their "
        f"difference over {DRAWS} draws."
        for better, worse in pairwise(candidates)
        if not distinguishable(better, worse)
    ]
    if distinguishable(best, second):
        lines.insert(0, f"{best.name} predicts the held-out {acquisition_of(measurement).groups} best.")
    if best.name == "random":
        lines.append("No model predicts better than random weights.")
    if not best.suits:
        lines.append(
            f"{best.name} was trained on {best.modality}; medinr reconstruct refuses it for {measurement.modality}."
        )
    return "\n".join(lines)
