"""Training a local prior to hear companions: other scans of the same anatomy, which agree almost everywhere.

It is given what straight lines of the companions make of the noisy image (`medinr.prior.straight_lines.Hints`) and
learns, from exams of which it is known what they should have said, where these are to be believed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.prior.denoiser import LocalDenoiser, listening
from medinr.prior.loop import Following, Patches, train
from medinr.prior.settings import PriorSettings
from medinr.prior.straight_lines import HINTS, Hints, lines_with_slopes
from medinr.prior.train import cut_patch, recontrasted

#: Least noise level it is trained for: in turns that expect less it is not asked (`medinr.prior.companion`).
LOWEST = 0.008

#: Exams that the patches of a step are cut from, each at a noise level of its own.
EXAMS_AT_ONCE = 2


@dataclass(frozen=True, eq=False)
class Exam:
    """A slice and what is known of its anatomy from elsewhere.

    Attributes
    ----------
    target : Tensor, shape (y, x)
        What a denoiser should find; scaled to about 0 to 1.
    companions : Tensor, shape (c, y, x)
        On its grid, of any contrast, scaled to about 0 to 1.
    through : Tensor, shape (c, y, x)
        Slope of each companion through the plane.
    """

    target: Tensor
    companions: Tensor
    through: Tensor


def train_listener(
    denoiser: LocalDenoiser, exams: Sequence[Exam], settings: PriorSettings, following: Following | None = None
) -> LocalDenoiser:
    """Train a copy of a denoiser on noisy slices with hints, ``D(x + s n, s, h(x + s n)) ~ x``.

    Noise is added to whole slices, as the windows of the hints are wider than many a patch is far from its edge; then
    patches are cut. Loss as of `medinr.prior.train.train_prior`.

    Parameters
    ----------
    denoiser : LocalDenoiser
        Stays as it is.
    exams : sequence of Exam
    settings : PriorSettings
    following : Following, optional

    Returns
    -------
    LocalDenoiser
        With `medinr.prior.straight_lines.HINTS` hints.

    Raises
    ------
    ShapeError
        When no exam is as large as a patch.
    ConfigError
        When no noise level is high enough.
    """
    if settings.highest <= LOWEST:
        raise ConfigError(f"A listener learns from noise above {LOWEST}; prior.highest is {settings.highest}.")
    known = [
        (exam.target, Hints(lines_with_slopes(exam.companions, exam.through)))
        for exam in exams
        if min(exam.target.shape) >= settings.patch
    ]
    if not known:
        raise ShapeError(f"No exam is as large as a patch of {settings.patch} pixels; choose a smaller patch.")
    spread = math.log(settings.highest / LOWEST)

    def draw(generator: torch.Generator) -> Patches:
        parts: list[Tensor] = []
        levels: list[Tensor] = []
        each = math.ceil(settings.batch / EXAMS_AT_ONCE)
        for _ in range(EXAMS_AT_ONCE):
            target, hints = known[int(torch.randint(len(known), (1,), generator=generator))]
            clean = recontrasted(target.unsqueeze(0), settings.contrast, generator)[0]
            level = LOWEST * torch.exp(spread * torch.rand(1, generator=generator))
            noisy = clean + level * torch.randn(clean.shape, generator=generator)
            maps = torch.stack([clean, noisy, *hints.of(noisy)])
            wanted = len(parts) + each
            while len(parts) < wanted:
                patch = cut_patch(maps, settings.patch, generator)
                parts += [] if patch is None else [patch]
            levels += [level.expand(each)]
        clean, noisy, *rest = torch.stack(parts).unbind(1)
        return Patches(clean, noisy, torch.cat(levels), torch.stack(rest, 1))

    listener = listening(denoiser, HINTS, torch.Generator().manual_seed(settings.seed))
    optimiser = replace(settings.optimiser, muon_rate=settings.listener_rate)
    return train(listener, settings.listener_steps, draw, replace(settings, optimiser=optimiser), following)
