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

#: Coefficients of x, x x^T x and (x x^T)^2 x.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


@dataclass(frozen=True)
class OptimiserSettings:
    """Settings of an optimiser.

    Attributes
    ----------
    kind : {"muon", "adam"}
        ``"muon"``: orthogonalised momentum (`Muon`; for coordinate networks arXiv 2512.14366) on the hidden
        matrices, Adam on everything else. ``"adam"``: Adam on everything.
    muon_rate, adam_rate : float
        Peak step sizes.
    momentum : float
        Of Muon; short fits need less than long trainings.
    schedule : {"cosine", "constant"}
        Cosine decays to ``final`` times the peak over the planned steps.
    warmup : int
        Steps over which the step size rises linearly. The first orthogonalised steps have full length however small
        the gradient is, and would otherwise destroy the initial weights.
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


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum: all directions of a matrix get steps of equal length (Jordan et al. 2024).

    The steps are those of torch's own `Muon`, with products in float32. torch's are bfloat16, and take fifty times as
    long on processors without fast bfloat16.

    Parameters
    ----------
    matrices : sequence of Parameter
        Each of shape (rows, columns).
    lr : float
        Step size; times ``sqrt(rows / columns)`` for tall matrices.
    momentum : float
        Nesterov's.
    """

    def __init__(self, matrices: Sequence[nn.Parameter], lr: float, momentum: float) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the matrices that have gradients."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix)
                mean = state["momentum_buffer"]
                mean.lerp_(matrix.grad, 1 - group["momentum"])
                direction = orthogonalised(matrix.grad.lerp(mean, group["momentum"]))
                rows, columns = matrix.shape
                matrix.sub_(direction, alpha=group["lr"] * max(1.0, rows / columns) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Bring all singular values of a matrix near 1, keeping its singular vectors.

    Five steps of a Newton-Schulz iteration whose coefficients trade exactness for speed: singular values end between
    about 0.7 and 1.2, which suffices (Jordan et al. 2024).
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Optimiser:
    """One or two torch optimisers stepped together.

    Parameters
    ----------
    settings : OptimiserSettings
    matrices : sequence of Parameter
        Hidden matrices.
    others : sequence of Parameter
        Other weights to be optimised.
    """

    def __init__(
        self, settings: OptimiserSettings, matrices: Sequence[nn.Parameter], others: Sequence[nn.Parameter]
    ) -> None:
        self.settings = settings
        self._parts: list[torch.optim.Optimizer] = []
        if settings.kind == "muon" and matrices:
            self._parts.append(Muon(matrices, settings.muon_rate, settings.momentum))
            adam = list(others)
        else:
            adam = [*matrices, *others]
        if adam:
            self._parts.append(torch.optim.Adam(adam, lr=settings.adam_rate))
        self._rates = [float(part.param_groups[0]["lr"]) for part in self._parts]

    def zero_grad(self) -> None:
        """Delete the gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def step(self, factor: float) -> None:
        """Update the weights with the peak step sizes times ``factor``."""
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
