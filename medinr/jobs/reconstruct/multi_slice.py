"""Joint multi-slice reconstruction of a measurement; a killed run goes on where it was."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from medinr.acquisition.base import Acquisition
from medinr.config import ReconstructConfig
from medinr.errors import ConfigError
from medinr.jobs.reconstruct.context import Progress, ReconstructionJob
from medinr.jobs.reconstruct.unfinished import load_state, save_state
from medinr.priors.denoiser_prior import ImagePrior
from medinr.solve.multi_slice import FEWEST, MultiSlice
from medinr.solve.solution import Solution, Step
from medinr.volume import THICKEST

#: Name of the file that a killed run goes on from.
FILE = "unfinished_slices.safetensors"


def wants_multi_slice(acquisition: Acquisition, config: ReconstructConfig) -> bool:
    """Whether the slices of a measurement are reconstructed jointly.

    Unless told otherwise, where it was measured to help (`Acquisition.gains_from_neighbours`).

    Raises
    ------
    ConfigError
        When they must be (``multi_slice: always``) and cannot.
    """
    if config.multi_slice == "never":
        return False
    obstacle = _obstacle(acquisition)
    if config.multi_slice == "always" and obstacle:
        raise ConfigError(f"multi_slice: always, but {obstacle}. Solve slice by slice (multi_slice: auto).")
    if obstacle or config.multi_slice == "always":
        return not obstacle
    measurement = acquisition.measurement
    apart = math.dist(measurement.affine[:3, 2], (0, 0, 0))
    known = measurement.parameters.get("voxels_known", True)
    return acquisition.gains_from_neighbours(bool(known and apart <= THICKEST * min(measurement.spacing)))


def _obstacle(acquisition: Acquisition) -> str:
    measurement = acquisition.measurement
    if measurement.slices < FEWEST:
        return f"it takes {FEWEST} slices or more and there are {measurement.slices}"
    if any(abs(after - before) != 1 for before, after in pairwise(measurement.slice_numbers)):
        return "the slices are not neighbours"
    return ""


def multi_slice_solutions(
    job: ReconstructionJob, missing: Sequence[int], priors: Sequence[ImagePrior], progress: Progress | None = None
) -> Iterator[tuple[int, Solution]]:
    """Solve all slices jointly and give the position and solution of each that is wanted.

    Parameters
    ----------
    job : ReconstructionJob
    missing : sequence of int
        Positions that are wanted.
    priors : sequence of ImagePrior
        One per slice.
    progress : callable, optional
        Called with every slice's position and `Step` after every iteration.
    """
    if not missing:
        return
    slices = MultiSlice(job.problems, priors, job.denoiser, job.config.plug_and_play)
    file = None if job.folder is None else job.folder / FILE
    done = resumed = None if file is None else load_state(file, job.fingerprint)
    for done in slices.iterations(resumed):
        for position, steps in enumerate(done.rows):
            if progress is not None:
                share = done.seconds / len(job.problems)
                residual = steps[-1].residual if steps else math.nan
                step = Step("plug_and_play", done.iteration, slices.planned, share, residual, math.nan, 1.0)
                progress(position, step)
        if file is not None and slices.can_go_on_from(done):
            save_state(file, done, job.fingerprint)
    assert done is not None
    solutions = slices.solutions(done)
    yield from ((position, solutions[position]) for position in missing)
