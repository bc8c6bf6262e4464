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
from medinr.prior.straight_lines import HINTS, RADIUS, Hints, Place, lines_with_slopes
from medinr.prior.train import draw_number, draw_place, recontrasted, turned
from medinr.workers import Workers

#: Least noise level it is trained for: in turns that expect less it is not asked (`medinr.prior.companion`).
LOWEST = 0.008

#: Pixels around a patch that its hints depend on: two windows of the wide lines.
AROUND = 2 * RADIUS


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
    """Train a copy of a denoiser on noisy patches with hints, ``D(x + s n, s, h(x + s n)) ~ x``.

    Each patch is of an exam and a noise level of its own, and its hints are those that the whole noisy slice would have
    given. Loss as of `medinr.prior.train.train_prior`.

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
    large = [exam for exam in exams if min(exam.target.shape) >= settings.patch]
    if not large:
        raise ShapeError(f"No exam is as large as a patch of {settings.patch} pixels; choose a smaller patch.")
    workers = Workers()
    known = workers.map(_Known.of, large)
    spread = math.log(settings.highest / LOWEST)

    def draw(generator: torch.Generator) -> Patches:
        looks: list[_Look] = []
        levels = LOWEST * torch.exp(spread * torch.rand(settings.batch, generator=generator))
        while len(looks) < settings.batch:
            exam = known[draw_number(len(known), generator)]
            place = draw_place(exam.target, settings.patch, generator)
            if place is not None:
                wider, inside = _with_around(place)
                clean = recontrasted(exam.target[wider].unsqueeze(0), settings.contrast, generator)[0]
                noisy = clean + levels[len(looks)] * torch.randn(clean.shape, generator=generator)
                looks.append(_Look(clean, noisy, exam.hints, wider, inside))
        maps = [turned(part, generator) for part in workers.map(_Look.maps, looks)]
        clean, noisy, *rest = torch.stack(maps).unbind(1)
        return Patches(clean, noisy, levels, torch.stack(rest, 1))

    listener = listening(denoiser, HINTS, torch.Generator().manual_seed(settings.seed))
    optimiser = replace(settings.optimiser, muon_rate=settings.listener_rate)
    return train(listener, settings.listener_steps, draw, replace(settings, optimiser=optimiser), following)


@dataclass(frozen=True, eq=False)
class _Known:
    """An exam's slice and what explains it."""

    target: Tensor
    hints: Hints

    @classmethod
    def of(cls, exam: Exam) -> _Known:
        return cls(exam.target, Hints(lines_with_slopes(exam.companions, exam.through)).prepared())


@dataclass(frozen=True, eq=False)
class _Look:
    """A patch with what lies around it, and where in this it is."""

    clean: Tensor
    noisy: Tensor
    hints: Hints
    wider: Place
    inside: Place

    def maps(self) -> Tensor:
        """The patch, it with noise, and its hints, ``(2 + hints, y, x)``."""
        return torch.stack([self.clean, self.noisy, *self.hints.of(self.noisy, self.wider)])[:, *self.inside]


def _with_around(place: Place) -> tuple[Place, Place]:
    """A place and what lies `AROUND` it, cut off at the image's edge; and where in this the place lies."""
    starts = [max(0, part.start - AROUND) for part in place]
    y, x = (slice(start, part.stop + AROUND) for start, part in zip(starts, place, strict=True))
    rows, columns = (slice(p.start - start, p.stop - start) for start, p in zip(starts, place, strict=True))
    return (y, x), (rows, columns)
