"""Neighbouring slices of a measurement solved together; a killed run goes on where it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from medinr.pipelines.record import load_turn, save_turn
from medinr.pipelines.slices import Start

from medinr.config import ReconstructConfig
from medinr.data.acquisition import factors, shares_lines
from medinr.data.orient import THICKEST
from medinr.errors import ConfigError
from medinr.measurement import Measurement
from medinr.prior.local import ImagePrior
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step
from medinr.solve.stack import FEWEST, Stack

#: Name of the file that a killed run goes on from.
FILE = "guide_stack.safetensors"


def wants_stack(measurement: Measurement, begin: Start, config: ReconstructConfig) -> bool:
    """Whether the slices of a measurement are solved together.

    Unless told otherwise, where it was measured to help: slices that were sampled each in its own way; about cubic
    voxels, but for super-resolution within slices; no CT.

    Raises
    ------
    ConfigError
        When they must be (``stack: always``) and cannot.
    """
    if config.stack == "never":
        return False
    obstacle = _obstacle(measurement, begin, config)
    if config.stack == "always" and obstacle:
        raise ConfigError(f"stack: always, but {obstacle}. Solve slice by slice (stack: auto).")
    if obstacle or config.stack == "always":
        return not obstacle
    apart = math.dist(measurement.affine[:3, 2], (0, 0, 0))
    known = measurement.parameters.get("voxels_known", True)
    cubic = known and apart <= THICKEST * min(measurement.spacing)
    if measurement.task == "superres":
        down, right = factors(measurement)
        return cubic and down != right
    return measurement.task != "ct" and (cubic or not shares_lines(measurement))


def _obstacle(measurement: Measurement, begin: Start, config: ReconstructConfig) -> str:
    if begin.prior is None:
        return "the trunk has no local prior to look across slices with"
    if config.fit.planned(math.prod(measurement.image_shape)) > 0:
        return "a network is asked for, which has one slice or shares its trunk (fit.imitation.passes, fit.steps)"
    if measurement.slices < FEWEST:
        return f"a stack has {FEWEST} slices or more and there are {measurement.slices}"
    if any(abs(after - before) != 1 for before, after in pairwise(measurement.slice_numbers)):
        return "the slices are not neighbours"
    return ""


def stack_solutions(
    problems: Sequence[Problem],
    missing: Sequence[int],
    begin: Start,
    priors: Sequence[ImagePrior],
    config: ReconstructConfig,
    folder: Path,
    fingerprint: str,
    progress: Callable[[int, Step], None] | None = None,
) -> Iterator[tuple[int, Solution]]:
    """Solve a stack and give the position and solution of each slice without a finished record.

    Parameters
    ----------
    problems : sequence of Problem
        Of all slices.
    missing : sequence of int
        Positions that are wanted.
    begin : Start
        With a local prior.
    priors : sequence of ImagePrior
        One per slice.
    config : ReconstructConfig
    folder : Path
        Keeps what an unfinished run goes on from.
    fingerprint : str
        Of settings, data and trunk.
    progress : callable, optional
        Called with every slice's position and `Step` after every turn.
    """
    assert begin.prior is not None
    if not missing:
        return
    stack = Stack(problems, priors, begin.prior, config.fit)
    file = folder / FILE
    done = begun = load_turn(file, fingerprint)
    for done in stack.turns(begun):
        for position, steps in enumerate(done.rows):
            if progress is not None:
                share = done.seconds / len(problems)
                residual = steps[-1].residual if steps else math.nan
                progress(position, Step("guide", done.turn, stack.planned, share, residual, math.nan, 1.0))
        if done.looked:
            save_turn(file, done, fingerprint)
    assert done is not None
    solutions = stack.solutions(done)
    yield from ((position, solutions[position]) for position in missing)
