"""The volumes of a scan treated one after the other, each kept as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from medinr.jobs.scan.kept import KeptVolumes
from medinr.jobs.scan.methods import Progress
from medinr.jobs.scan.source import ScanSource
from medinr.solve.unfinished import Unfinished
from medinr.volume import Volume

#: Gives the values of a treated volume, and a few numbers.
Treat = Callable[[Volume, Progress, Unfinished], tuple[NDArray[Any], dict[str, float]]]


def treat_volumes(
    source: ScanSource, kept: KeptVolumes, steps: int, treat: Treat, progress: Progress | None = None
) -> None:
    """Treat every volume that is not kept yet; one that was stopped goes on where it was.

    Parameters
    ----------
    source : ScanSource
    kept : KeptVolumes
    steps : int
        Of a progress bar per volume.
    treat : callable
    progress : callable, optional
        Called with steps done and steps in all, over all volumes.
    """
    for number, volume in enumerate(source.volumes()):
        if kept.load(number) is None:

            def report(done: int, total: int, before: int = number) -> None:
                if progress is not None:
                    progress(round(steps * (before + done / total)), steps * source.count)

            kept.save(number, *treat(volume, report, kept.unfinished(number)))
        if progress is not None:
            progress(steps * (number + 1), steps * source.count)
