"""Muon on the hidden matrices, Adam on the rest, one decaying schedule; or Adam alone, as published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medinr.errors import CheckpointError, ConfigError

OPTIMISERS = ("muon", "adam")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class OptimiserSettings:
    """How weights move.

    Attributes
    ----------
    kind : {"muon", "adam"}
        ``"muon"``: orthogonalised momentum (Jordan et al. 2024; for coordinate networks arXiv 2512.14366) on
        the square hidden matrices, Adam on everything else. ``"adam"``: Adam on everything.
    muon_rate, adam_rate : float
        Peak step sizes.
    momentum : float
        Of Muon; short fits like less of it than long trainings.
    schedule : {"cosine", "constant"}
        Cosine decays to ``final`` times the peak over the planned steps.
    warmup : int
        Steps over which the step size rises linearly; keeps the first orthogonalised steps, which have full
        length however small the gradient is, from undoing the start.
    final : float
        Fraction of the peak step size at the last step.
    """

    kind: str = "muon"
    muon_rate: float = 3e-3
    adam_rate: float = 1e-3
    momentum: float = 0.95
    schedule: str = "cosine"
    warmup: int = 0
    final: float = 0.01

    def __post_init__(self) -> None:
        if self.kind not in OPTIMISERS:
            raise ConfigError(f"Optimiser {self.kind!r} is not one of {', '.join(OPTIMISERS)}.")
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"Schedule {self.schedule!r} is not one of {', '.join(SCHEDULES)}.")

    def factor(self, step: int, steps: int) -> float:
        """Step-size factor at ``step`` of ``steps``.

        Examples
        --------
        >>> OptimiserSettings(final=0.0).factor(50, 100)
        0.5
        """
        rise = min(1.0, (step + 1) / (self.warmup + 1))
        if self.schedule == "constant":
            return rise
        fall = 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(1, steps))))
        return rise * (self.final + (1.0 - self.final) * fall)


class Optimiser:
    """One or two torch optimisers stepped together.

    Parameters
    ----------
    settings : OptimiserSettings
    matrices : sequence of Parameter
        Square hidden matrices.
    others : sequence of Parameter
        Everything else that moves.
    """

    def __init__(
        self, settings: OptimiserSettings, matrices: Sequence[nn.Parameter], others: Sequence[nn.Parameter]
    ) -> None:
        self.settings = settings
        self._parts: list[torch.optim.Optimizer] = []
        if settings.kind == "muon" and matrices:
            self._parts.append(
                torch.optim.Muon(list(matrices), lr=settings.muon_rate, momentum=settings.momentum, weight_decay=0.0)
            )
            adam = list(others)
        else:
            adam = [*matrices, *others]
        if adam:
            self._parts.append(torch.optim.Adam(adam, lr=settings.adam_rate))
        self._rates = [float(part.param_groups[0]["lr"]) for part in self._parts]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def step(self, factor: float) -> None:
        """Move the weights with the peak step sizes times ``factor``."""
        for part, rate in zip(self._parts, self._rates, strict=True):
            part.param_groups[0]["lr"] = rate * factor
            part.step()

    def forget(self, parameter: nn.Parameter) -> None:
        """Drop the momentum of a parameter that was set by other means."""
        for part in self._parts:
            part.state.pop(parameter, None)

    def state_tensors(self) -> dict[str, Tensor]:
        """Everything needed to continue, as named tensors."""
        tensors = {}
        for p, part in enumerate(self._parts):
            for index, state in part.state_dict()["state"].items():
                for key, value in state.items():
                    tensors[f"optimiser.{p}.{index}.{key}"] = torch.as_tensor(value).detach().clone()
        return tensors

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Continue from `state_tensors` (raises `CheckpointError` when they belong to other settings)."""
        for p, part in enumerate(self._parts):
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                kind, number, index, key = (*name.split("."), "", "", "")[:4]
                if kind == "optimiser" and number == str(p):
                    state.setdefault(int(index), {})[key] = value
            full = part.state_dict()
            expected = len(full["param_groups"][0]["params"])
            if state and len(state) != expected:
                raise CheckpointError(
                    f"The checkpoint holds optimiser state for {len(state)} weights; this network has {expected}. "
                    "Start again with --overwrite."
                )
            full["state"] = state
            part.load_state_dict(full)
