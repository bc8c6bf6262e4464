"""One of several repeats of an acquisition as a file gives it; the mean of the others is what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medinr.acquisition.acquired_image import AcquiredImage
from medinr.errors import ConfigError
from medinr.measurement import Measurement
from medinr.volume import Volume


@dataclass(frozen=True)
class RepeatSimulation:
    """Which repeat is given; nothing is added to it.

    Attributes
    ----------
    seed : int
    """

    seed: int = 0

    def drawn_from(self, count: int) -> int:
        """Number of the repeat that is given, from 0, of so many."""
        return int(np.random.default_rng(self.seed).integers(count))


class AcquiredRepeat(AcquiredImage):
    """Denoising of one repeat of which only the file is given; all slices are measured."""

    task = "acquired_repeats"
    title = "denoising of one of several repeats, noise estimated"
    Simulation = RepeatSimulation
    whole_scan = True

    @classmethod
    def given(cls, upright: Volume, parameters: dict[str, Any]) -> Measurement:
        """Make the measurement of a repeat: its magnitude as it is.

        Parameters
        ----------
        upright : Volume
            Slices of the repeat, in standard orientation.
        parameters : dict
            Plain values that are stored with it.
        """
        _, y, x = upright.shape
        return Measurement(
            task=cls.task,
            data=torch.from_numpy(np.ascontiguousarray(np.abs(upright.array), np.float32)),
            parameters=parameters,
            affine=upright.affine,
            image_shape=(y, x),
            modality=upright.modality,
            unit=upright.unit,
            provenance=upright.provenance,
        )

    @classmethod
    def draw(cls, scan: Volume, level: float, settings: Any) -> dict[str, Any]:
        """Refuse: of one volume nothing can be simulated (raises `ConfigError`)."""
        raise ConfigError(
            f"Task {cls.task} simulates nothing: one repeat of a 4D scan is compared with the others; one volume was "
            f"given. Name the 4D scan in a manifest: medinr evaluate MANIFEST --tasks {cls.task}. To denoise one "
            "volume: medinr denoise SCAN."
        )
