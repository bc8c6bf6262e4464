"""The slices of a reconstruction, each solved and put beside its peers: together, one by one, or side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medinr.pipelines.at_once import each_at_once
from medinr.pipelines.doubt import doubt_maps
from medinr.pipelines.earlier import Earlier
from medinr.pipelines.joint import joint_solutions, wants_joint
from medinr.pipelines.record import SliceRecord
from medinr.pipelines.slices import Start, exported, naive_image, tv_image
from medinr.pipelines.stack import stack_solutions, wants_stack
from torch import Tensor

from medinr.config import ReconstructConfig
from medinr.measurement import Measurement
from medinr.solve.fit import fit
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step

Progress = Callable[[int, Step], None]


@dataclass(frozen=True, eq=False)
class Job:
    """What the slices of a reconstruction have in common.

    Attributes
    ----------
    measurement : Measurement
    problems : sequence of Problem
        One per slice.
    begin : Start
    heard : Earlier or None
        What became of the earlier scan, if one was given.
    config : ReconstructConfig
    folder : Path
        Keeps what an unfinished run goes on from.
    fingerprint : str
        Of settings, data, trunk and earlier scan.
    """

    measurement: Measurement
    problems: Sequence[Problem]
    begin: Start
    heard: Earlier | None
    config: ReconstructConfig
    folder: Path
    fingerprint: str


def solve_slices(
    job: Job, missing: Sequence[int], progress: Progress | None = None
) -> Generator[tuple[int, SliceRecord]]:
    """Solve slices, whichever way is quickest.

    Parameters
    ----------
    job : Job
    missing : sequence of int
        Positions of those that are wanted.
    progress : callable, optional
        Called with the position among all slices and every `Step`.

    Yields
    ------
    position : int
    record : SliceRecord
        As soon as it is there.
    """
    problems, begin, config = job.problems, job.begin, job.config
    priors = [begin.prior] * len(problems) if job.heard is None else list(job.heard.priors)

    def solve(position: int, proceed: Callable[[], None]) -> SliceRecord:
        def watch(step: Step) -> None:
            proceed()
            if progress is not None:
                progress(position, step)

        start = begin.trunk, begin.length_scale
        solution = fit(problems[position], *start, config.fit, prior=priors[position], progress=watch)
        return _record(job, position, solution, joint=False)

    if wants_stack(job.measurement, begin, config):
        known = [prior for prior in priors if prior is not None]
        stacked = problems, missing, begin, known, config, job.folder, job.fingerprint, progress
        for position, solution in stack_solutions(*stacked):
            yield position, _record(job, position, solution, joint=True)
    elif wants_joint(problems, begin, config):
        together = problems, missing, begin, priors, config.fit, job.folder, job.fingerprint, progress
        for position, solution in joint_solutions(*together):
            yield position, _record(job, position, solution, joint=True)
    elif config.fit.planned(math.prod(problems[0].shape)) > 0:
        # The large products of a network keep all threads busy by themselves.
        for position in missing:
            yield position, solve(position, lambda: None)
    else:
        yield from each_at_once(missing, solve, len(problems))


def _record(job: Job, position: int, solution: Solution, joint: bool) -> SliceRecord:
    """Put the peers beside a solution, and what there is to doubt about it."""
    measurement, problem, config = job.measurement, job.problems[position], job.config
    images = {"medinr": exported(measurement, solution.image)}
    seconds = {"medinr": solution.seconds}
    maps, spent = doubt_maps(measurement, problem, solution.image, job.begin, config)
    if maps:
        images |= maps
        seconds["uncertainty"] = spent
    peers: dict[str, Callable[[], Tensor]] = {"input": lambda: naive_image(measurement, problem)}
    if config.peer.tv_weight > 0:
        peers["TV"] = lambda: tv_image(problem, config.peer.tv_weight, config.peer.iterations)
    for name, make in peers.items():
        before = time.perf_counter()
        images[name] = exported(measurement, make())
        seconds[name] = time.perf_counter() - before
    record = SliceRecord.of(solution, images, seconds, joint)
    if job.heard is None:
        return record
    return replace(record, trusted=job.heard.trusted(position, solution.image / problem.scale))
