"""The joint fit of a measurement's slices in groups; a killed run continues where it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from medinr.pipelines.record import load_guide, save_guide
from medinr.pipelines.slices import Start

from medinr.config import ReconstructConfig
from medinr.prior.local import ImagePrior
from medinr.solve.fit import FitSettings
from medinr.solve.joint import Guide, draw_guide, finish_slice, fits_jointly, require_joint, teach
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step

#: Slices that share a trunk, at most. More are learned less exactly and need more turns at the end; from 8 to 44 a
#: slice the imitation that is saved outweighs them.
GROUP = 64


def wants_joint(problems: Sequence[Problem], begin: Start, config: ReconstructConfig) -> bool:
    """Whether the slices of a measurement are fitted together.

    Raises
    ------
    ConfigError
        When they must be (``joint: always``) and cannot.
    """
    if config.joint == "always":
        require_joint(problems, begin.prior, config.fit)
        return True
    return config.joint == "auto" and len(problems) > 1 and fits_jointly(problems, begin.prior, config.fit)


def groups_of(slices: int) -> list[range]:
    """Positions that are fitted together: as few groups as possible, of nearly one size.

    Examples
    --------
    >>> groups_of(3), [len(group) for group in groups_of(100)]
    ([range(0, 3)], [50, 50])
    """
    count = math.ceil(slices / GROUP)
    edges = [round(k * slices / count) for k in range(count + 1)]
    return [range(start, stop) for start, stop in pairwise(edges)]


def joint_solutions(
    problems: Sequence[Problem],
    missing: Sequence[int],
    begin: Start,
    priors: Sequence[ImagePrior | None],
    settings: FitSettings,
    folder: Path,
    fingerprint: str,
    progress: Callable[[int, Step], None] | None = None,
) -> Iterator[tuple[int, Solution]]:
    """Fit slices together and give each one's position and solution as soon as it is finished.

    A group always learns the guides of all its slices, finished or not: a run that was killed then ends as one that
    was not.

    Parameters
    ----------
    problems : sequence of Problem
        Of all slices.
    missing : sequence of int
        Positions without a finished record.
    begin : Start
    priors : sequence of ImagePrior or None
        One per slice.
    settings : FitSettings
    folder : Path
        Keeps the guides while a group is unfinished.
    fingerprint : str
        Of settings, data and trunk.
    progress : callable, optional
        Called with the position among all slices and every `Step`, the first when its guide is there.
    """
    wanted = set(missing)
    for group in groups_of(len(problems)):
        if wanted.isdisjoint(group):
            continue
        files = [folder / f"guide_{position:04d}.safetensors" for position in group]
        guides = []
        for position, file in zip(group, files, strict=True):
            guide = load_guide(file, fingerprint)
            if guide is None:
                guide = draw_guide(problems[position], priors[position], settings, shared=len(group) > 1)
                save_guide(file, guide, fingerprint)
            guides.append(guide)
            if progress is not None:
                planned = settings.planned(guide.image.numel())
                progress(position, Step("guide", 0, planned, guide.seconds, guide.residual, math.nan, 1.0))
        for position, solution in _finished(problems, group, guides, wanted, begin, priors, settings, progress):
            yield position, solution
        for file in files:
            file.unlink(missing_ok=True)


def _finished(
    problems: Sequence[Problem],
    group: range,
    guides: Sequence[Guide],
    wanted: set[int],
    begin: Start,
    priors: Sequence[ImagePrior | None],
    settings: FitSettings,
    progress: Callable[[int, Step], None] | None,
) -> Iterator[tuple[int, Solution]]:
    watch = None if progress is None else (lambda at, step: progress(group[at], step))
    here = [problems[position] for position in group]
    taught = teach(here, guides, begin.trunk, begin.length_scale, settings, progress=watch)
    for position, problem, part in zip(group, here, taught, strict=True):
        if position in wanted:
            yield position, finish_slice(problem, part, priors[position], settings)
