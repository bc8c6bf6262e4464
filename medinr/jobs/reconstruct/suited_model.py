"""The model of a reconstruction: the one that was named, or (auto) the one that suits what was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from medinr.acquisition.base import Acquisition
from medinr.config import ReconstructConfig
from medinr.models.checkpoint import load_model_for
from medinr.models.model import Model
from medinr.models.suited import AUTO, GENERAL, SPECIAL
from medinr.solve.plug_and_play import plug_and_play

#: Iterations of plug-and-play after which an image can be compared with the training scans.
ITERATIONS = 12


@dataclass(frozen=True, eq=False)
class SuitedModel:
    """A model, its name, and why it was chosen.

    Attributes
    ----------
    name : str
    model : Model
    reason : str
        In words; empty where it was named.
    """

    name: str
    model: Model
    reason: str = ""


@torch.no_grad()
def suited_model(acquisition: Acquisition, config: ReconstructConfig) -> SuitedModel:
    """Load the configuration's model; of ``auto`` that for the usual scans of the modality, or the general one.

    A few iterations on the middle slice tell whether it is like the usual scans (`medinr.uncertainty.likeness`).

    Raises
    ------
    CheckpointError
        When it is missing, or of another modality.
    """
    measurement = acquisition.measurement
    if config.model != AUTO:
        return SuitedModel(config.model, load_model_for(config.model, measurement.modality))
    special = SPECIAL[measurement.modality]
    general = GENERAL.get(measurement.modality, special)
    model = load_model_for(special, measurement.modality)
    if special == general or model.family is None or model.prior is None:
        return SuitedModel(special, model, f"Model {special}: there is no other for this modality.")
    problem = acquisition.problem(measurement.slices // 2)
    settings = config.plug_and_play
    settings = replace(settings, iterations=min(ITERATIONS, settings.iterations))
    image = acquisition.export(problem.scale * plug_and_play(problem, model.prior, settings))
    seen = model.likeness(image, measurement.unit)
    if seen is None:
        return SuitedModel(special, model, f"Model {special}: the middle slice is nearly all air.")
    if seen.passed:
        return SuitedModel(special, model, f"Model {special}: the middle slice is {seen.words}.")
    reason = f"Model {general}: for {special} the middle slice is {seen.words}."
    return SuitedModel(general, load_model_for(general, measurement.modality), reason)
