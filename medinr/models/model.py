"""A pretrained model: denoisers, a network's trunk, and the card that says what they have seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from medinr.errors import IntensityError
from medinr.models.card import ModelCard
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.uncertainty.likeness import Family, Likeness, as_trained

if TYPE_CHECKING:
    from medinr.network.trunk import Trunk

#: Name of a model with random weights, and millimetres per unit of its coordinates.
RANDOM, RANDOM_LENGTH_SCALE = "random", 115.0


@dataclass(frozen=True, eq=False)
class Model:
    """What one pretraining learned.

    Attributes
    ----------
    prior : DenoiserPrior or None
    card : ModelCard or None
        None for random weights.
    length_scale : float
        Millimetres per unit of network coordinate.
    make_trunk : callable
        Builds the trunk; asked once, when `trunk` is first wanted: plug-and-play does without.
    """

    prior: DenoiserPrior | None
    card: ModelCard | None
    length_scale: float
    make_trunk: Callable[[], Trunk] = field(repr=False)

    @classmethod
    def of(cls, trunk: Trunk, prior: DenoiserPrior | None, card: ModelCard) -> Model:
        """Put together what was trained."""
        return cls(prior, card, card.length_scale, lambda: trunk)

    @classmethod
    def random(cls) -> Model:
        """A trunk with random weights and nothing else, as a control."""

        def make() -> Trunk:
            import torch

            from medinr.network.trunk import Trunk, TrunkSettings

            return Trunk(TrunkSettings(), torch.Generator().manual_seed(0))

        return cls(None, None, RANDOM_LENGTH_SCALE, make)

    @cached_property
    def trunk(self) -> Trunk:
        """The network's pretrained trunk."""
        return self.make_trunk()

    @cached_property
    def family(self) -> Family | None:
        """What is usual among the training scans; None where the card does not say."""
        return None if self.card is None else Family.from_facts(self.card.results.get("likeness"))

    def likeness(self, image: NDArray[Any], unit: str) -> Likeness | None:
        """Compare an image ``(y, x)`` with the training scans; None where nobody knows, or it is air alone."""
        if self.family is None:
            return None
        try:
            return self.family.likeness(as_trained(image, unit)[0])
        except IntensityError:
            return None

    def __repr__(self) -> str:
        if self.card is None:
            return "Model with random weights"
        denoiser = "no denoiser" if self.prior is None else repr(self.prior)
        return f"Model {self.card.name}: {self.card.modality}, {len(self.card.subjects)} training subjects, {denoiser}"
