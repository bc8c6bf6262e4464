"""The slices of a measurement, each solved by the method that was asked for: jointly, one by one, or side by side."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from medinr.config.schema import DEFAULT_METHOD
from medinr.jobs.reconstruct.context import Progress, ReconstructionJob, Then
from medinr.jobs.reconstruct.multi_slice import multi_slice_solutions, wants_multi_slice
from medinr.jobs.side_by_side import each_side_by_side
from medinr.solve.plug_and_play import plug_and_play_solution
from medinr.solve.solution import Step

#: The method that fits a coordinate network with the toolkit's own settings.
NETWORK_METHOD = "inr"


def solve_slices(
    job: ReconstructionJob, missing: Sequence[int], then: Then, progress: Progress | None = None
) -> Generator[tuple[int, Any]]:
    """Solve slices, whichever way is quickest.

    Parameters
    ----------
    job : ReconstructionJob
    missing : sequence of int
        Positions of those that are wanted.
    then : callable
        Makes something of each solution, in the thread that solved it.
    progress : callable, optional

    Yields
    ------
    position : int
    made : object
        What ``then`` returned.
    """
    method = job.config.method.lower()
    if method == DEFAULT_METHOD:
        yield from _plug_and_play(job, missing, then, progress)
    elif method == NETWORK_METHOD:
        # Only here, so that reconstructions without a network do not load its part.
        from medinr.jobs.reconstruct.network import network_solutions

        for position, solution, joint in network_solutions(job, missing, progress):
            yield position, then(position, solution, joint)
    else:
        from medinr.jobs.reconstruct.other_methods import method_solution

        def solve(position: int, proceed: Callable[[], None]) -> Any:
            proceed()
            return then(position, method_solution(job, position), False)

        yield from each_side_by_side(missing, solve, len(job.problems))


def _plug_and_play(
    job: ReconstructionJob, missing: Sequence[int], then: Then, progress: Progress | None
) -> Generator[tuple[int, Any]]:
    denoiser, settings = job.denoiser, job.config.plug_and_play
    priors = [prior or denoiser for prior in job.priors]
    if wants_multi_slice(job.acquisition, job.config):
        for position, solution in multi_slice_solutions(job, missing, priors, progress):
            yield position, then(position, solution, True)
        return

    def solve(position: int, proceed: Callable[[], None]) -> Any:
        def watch(step: Step) -> None:
            proceed()
            if progress is not None:
                progress(position, step)

        solution = plug_and_play_solution(job.problems[position], priors[position], settings, progress=watch)
        return then(position, solution, False)

    yield from each_side_by_side(missing, solve, len(job.problems))
