"""A self-test for any linear operator; run it on your own operators before reconstructing with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from medinr.operators.base import LinearOperator, Space

#: Largest relative error due to rounding, in either precision.
DOUBLE_TOLERANCE, SINGLE_TOLERANCE = 1e-10, 1e-5

_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


@dataclass(frozen=True)
class Finding:
    """One property of the operator, and how far it is from holding.

    Attributes
    ----------
    claim : str
        The property in words.
    error : float
        Relative error, the worst over real and complex inputs.
    limit : float
        Largest error that passes; 0 for a property that holds or does not.
    detail : str
        What was found instead, where there is no number.
    """

    claim: str
    error: float
    limit: float
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether the property holds to within the limit; a NaN does not."""
        return self.error <= self.limit

    def __str__(self) -> str:
        verdict = "holds" if self.ok else "FAILS"
        measured = f": relative error {self.error:.1e}, limit {self.limit:.0e}" if self.limit > 0 else ""
        return f"{verdict}  {self.claim}{measured}{f': {self.detail}' if self.detail else ''}"


@dataclass(frozen=True)
class OperatorReport:
    """What `operator_report` found; printing it gives one line per property.

    Attributes
    ----------
    operator : str
        Name and spaces.
    norm : float
        Estimated largest singular value.
    findings : tuple of Finding
    """

    operator: str
    norm: float
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every property holds."""
        return all(finding.ok for finding in self.findings)

    def __str__(self) -> str:
        failed = sum(not finding.ok for finding in self.findings)
        verdict = "All properties hold." if self.ok else f"{failed} of {len(self.findings)} properties fail."
        lines = [self.operator, f"norm   {self.norm:.6g}", *map(str, self.findings), verdict]
        return "\n".join(lines)


def operator_report(operator: LinearOperator, seed: int = 0, tolerance: float | None = None) -> OperatorReport:
    """Test an operator on random inputs.

    Parameters
    ----------
    operator : LinearOperator
    seed : int
        For the random inputs.
    tolerance : float, optional
        Largest relative error in float64, `DOUBLE_TOLERANCE` if not given. In float32 the limit is
        `SINGLE_TOLERANCE`, or the tolerance where that is larger.

    Returns
    -------
    OperatorReport

    Examples
    --------
    >>> from medinr.operators import Fourier
    >>> print(operator_report(Fourier((4, 5))).ok)
    True
    """
    double = DOUBLE_TOLERANCE if tolerance is None else tolerance
    single = max(SINGLE_TOLERANCE, double)
    generator = torch.Generator().manual_seed(seed)
    fields = ("real", "complex") if operator.domain.kind == "any" else (operator.domain.kind,)
    probes = {
        dtype: [_Probe(operator, field, dtype, generator) for field in fields]
        for dtype in (torch.float64, torch.float32)
    }
    in_double, in_single = probes[torch.float64], probes[torch.float32]
    wrong = next(filter(None, (p.mismatch() for p in in_double + in_single)), "")
    claim = "results have the declared shape and kind, and the precision of the input"
    faithful = Finding(claim, float(bool(wrong)), 0.0, wrong)
    if not faithful.ok:
        # The other tests would fail on the wrong tensors.
        return OperatorReport(repr(operator), float("nan"), (faithful,))
    findings = (
        faithful,
        Finding("A(a x + b z) = a A(x) + b A(z)", max(p.nonlinearity() for p in in_double), double),
        Finding("<A x, y> = <x, A.H y> in float64", max(p.adjoint_error() for p in in_double), double),
        Finding("<A x, y> = <x, A.H y> in float32", max(p.adjoint_error() for p in in_single), single),
        Finding("the derivative of A is A, its transpose A.H", max(p.gradient_error() for p in in_double), double),
        Finding("a batch gives what its images give one by one", max(p.batch_error() for p in in_double), double),
        Finding("float32 gives what float64 gives", max(p.rounding_error() for p in in_single), single),
    )
    return OperatorReport(repr(operator), operator.norm(seed=seed), findings)


class _Probe:
    """Random inputs of one field (real or complex) and precision, in batches of 2 x 3."""

    def __init__(self, operator: LinearOperator, field: str, dtype: torch.dtype, generator: torch.Generator) -> None:
        self.operator = operator
        self.x, self.z = (self._draw(operator.domain, field, dtype, generator) for _ in range(2))
        self.y = self._draw(operator.range, field, dtype, generator)

    def _draw(self, space: Space, field: str, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
        kind = field if space.kind == "any" else space.kind
        dtype = _COMPLEX[dtype] if kind == "complex" else dtype
        return torch.randn((2, 3, *space.shape), generator=generator, dtype=dtype).to(self.operator.device)

    def mismatch(self) -> str:
        """What is not as declared, in words; empty when all is."""
        for symbol, operator, value, wanted in (
            ("A", self.operator, self.x, self.y),
            ("A.H", self.operator.H, self.y, self.x),
        ):
            asked = f"{symbol} of {_described(value)}"
            try:
                result = cast("object", operator(value))
            # Any error of an unknown operator is a finding.
            except Exception as error:
                return f"{asked} raises {type(error).__name__}: {error}"
            if not isinstance(result, Tensor):
                return f"{asked} gives {type(result).__name__}, not a tensor"
            if (result.shape, result.dtype) != (wanted.shape, wanted.dtype):
                return f"{asked} gives {_described(result)}, not {_described(wanted)}"
        return ""

    def nonlinearity(self) -> float:
        first, second = 0.7, -1.9
        whole = self.operator(first * self.x + second * self.z)
        return _relative(whole, first * self.operator(self.x) + second * self.operator(self.z))

    def adjoint_error(self) -> float:
        forward, backward = self.operator(self.x), self.operator.H(self.y)
        mismatch = abs(_inner(forward, self.y) - _inner(self.x, backward))
        return mismatch / max(_length(forward) * _length(self.y), _length(self.x) * _length(backward), _TINY)

    def gradient_error(self) -> float:
        x = self.x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.operator(x), x, self.y)
        return _relative(gradient, self.operator.H(self.y))

    def batch_error(self) -> float:
        forward = torch.stack([torch.stack([self.operator(x) for x in row]) for row in self.x])
        backward = torch.stack([torch.stack([self.operator.H(y) for y in row]) for row in self.y])
        return max(_relative(self.operator(self.x), forward), _relative(self.operator.H(self.y), backward))

    def rounding_error(self) -> float:
        wide = torch.complex128 if self.x.is_complex() else torch.float64
        return _relative(self.operator(self.x), self.operator(self.x.to(wide)))


_TINY = torch.finfo(torch.float64).tiny


def _inner(a: Tensor, b: Tensor) -> float:
    """Real part of the inner product, summed in double precision."""
    product = a.conj() * b
    return float(product.real.double().sum())


def _described(a: Tensor) -> str:
    return f"{str(a.dtype).removeprefix('torch.')} {tuple(a.shape)}"


def _length(a: Tensor) -> float:
    return float(torch.linalg.vector_norm(a.detach()))


def _relative(a: Tensor, b: Tensor) -> float:
    scale = max(_length(a), _length(b))
    return _length(a - b) / scale if scale > 0 else 0.0
