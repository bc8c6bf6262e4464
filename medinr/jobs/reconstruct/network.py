"""Coordinate networks fitted to the slices of a measurement, one by one or with one trunk; a killed run continues."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from medinr.jobs.reconstruct.context import Progress, ReconstructionJob
from medinr.jobs.reconstruct.unfinished import load_target, save_target
from medinr.network.fit import fit
from medinr.network.joint_fit import Target, fit_shared_trunk, fits_jointly, make_target, refine_slice, require_joint
from medinr.network.settings import FitSettings
from medinr.solve.solution import Solution, Step

#: Slices that share a trunk, at most. More are learned less exactly and need more iterations at the end; from 8 to 44 a
#: slice the fit that is saved outweighs them.
GROUP = 64


def network_solutions(
    job: ReconstructionJob, missing: Sequence[int], progress: Progress | None = None
) -> Iterator[tuple[int, Solution, bool]]:
    """Fit networks to slices; give position, solution, and whether the trunk was shared, as each is there.

    Parameters
    ----------
    job : ReconstructionJob
    missing : sequence of int
        Positions that are wanted.
    progress : callable, optional
    """
    settings = job.config.fit
    if wants_shared_trunk(job, settings):
        for position, solution in _joint(job, missing, settings, progress):
            yield position, solution, True
        return
    # The large products of a network keep all threads busy by themselves.
    for position in missing:
        watch = None if progress is None else (lambda step, at=position: progress(at, step))
        problem, prior = job.problems[position], job.priors[position]
        yield (
            position,
            fit(problem, job.model.trunk, job.model.length_scale, settings, prior=prior, progress=watch),
            False,
        )


def wants_shared_trunk(job: ReconstructionJob, settings: FitSettings) -> bool:
    """Whether the slices of a measurement share a trunk.

    Raises
    ------
    ConfigError
        When they must (``network.shared_trunk: always``) and cannot.
    """
    if settings.shared_trunk == "always":
        require_joint(job.problems, job.model.prior, settings)
        return True
    several = settings.shared_trunk == "auto" and len(job.problems) > 1
    return several and fits_jointly(job.problems, job.model.prior, settings)


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


def _joint(
    job: ReconstructionJob, missing: Sequence[int], settings: FitSettings, progress: Progress | None
) -> Iterator[tuple[int, Solution]]:
    """Fit slices in groups. A group learns all its slices, finished or not: a killed run ends as one that was not."""
    problems, priors, wanted = job.problems, job.priors, set(missing)
    for group in groups_of(len(problems)):
        if wanted.isdisjoint(group):
            continue
        targets = []
        for position in group:
            target = _target(job, position, settings, shared=len(group) > 1)
            targets.append(target)
            if progress is not None:
                planned = settings.planned(target.image.numel())
                step = Step("plug_and_play", 0, planned, target.seconds, target.residual, math.nan, 1.0)
                progress(position, step)
        watch = None if progress is None else (lambda at, step, of=group: progress(of[at], step))
        here, model = [problems[position] for position in group], job.model
        fitted = fit_shared_trunk(here, targets, model.trunk, model.length_scale, settings, progress=watch)
        for position, problem, part in zip(group, here, fitted, strict=True):
            if position in wanted:
                yield position, refine_slice(problem, part, priors[position], settings)
        if job.folder is not None:
            for position in group:
                (job.folder / target_file(position)).unlink(missing_ok=True)


def target_file(position: int) -> str:
    """Name of the file that keeps what the network learns of a slice while its group is unfinished."""
    return f"unfinished_{position:04d}.safetensors"


def _target(job: ReconstructionJob, position: int, settings: FitSettings, shared: bool) -> Target:
    file = None if job.folder is None else job.folder / target_file(position)
    kept = None if file is None else load_target(file, job.fingerprint)
    if kept is not None:
        return kept
    target = make_target(job.problems[position], job.priors[position], settings, shared=shared)
    if file is not None:
        save_target(file, target, job.fingerprint)
    return target
