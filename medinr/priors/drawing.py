"""Random choices that trainings of denoisers share."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_number(count: int, generator: torch.Generator) -> int:
    """Draw one of 0 to ``count - 1``."""
    return int(torch.randint(count, (1,), generator=generator))


def with_random_orientation(maps: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate by quarter turns and flip square maps ``(..., y, x)`` at random."""
    maps = torch.rot90(maps, draw_number(4, generator), (-2, -1))
    return maps.flip(-2) if draw_number(2, generator) else maps
