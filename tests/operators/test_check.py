import torch

from medinr.operators import Fourier, LinearOperator, Space, Weighting, operator_report


def test_every_operator_passes(operator, tolerance):
    report = operator_report(operator, tolerance=tolerance)
    assert report.ok, str(report)


class _Broken(LinearOperator):
    """Claims to be linear with itself as adjoint."""

    def __init__(self, apply, adjoint):
        self.domain = self.range = Space((3, 2))
        self._forward, self._backward = apply, adjoint

    def _apply(self, x):
        return self._forward(x)

    def _adjoint(self, y):
        return self._backward(y)


def _failed(apply, adjoint):
    return [finding.claim for finding in operator_report(_Broken(apply, adjoint)).findings if not finding.ok]


def test_a_wrong_adjoint_is_found():
    failed = _failed(lambda x: 2 * x, lambda y: 2.001 * y)
    assert [claim[:14] for claim in failed] == ["<A x, y> = <x,", "<A x, y> = <x,", "the derivative"]


def test_a_missing_conjugate_is_found():
    broken = Weighting(torch.full((3, 2), 1 + 1j))
    broken._adjoint = broken._apply
    assert [finding.ok for finding in operator_report(broken).findings].count(False) == 3


def test_an_undeclared_result_is_found():
    assert "declared" in _failed(lambda x: (1 + 1j) * x, lambda y: (1 - 1j) * y)[0]
    assert "declared" in _failed(lambda x: x[..., :1], lambda y: y)[0]
    assert "declared" in _failed(lambda x: x.double() if not x.is_complex() else x, lambda y: y)[0]


def test_a_constant_is_found():
    assert any("a A(x)" in claim for claim in _failed(lambda x: x + 1, lambda y: y))


def test_mixing_the_batch_is_found():
    assert any("batch" in claim for claim in _failed(lambda x: x + x.flip(0) * (x.ndim > 2), lambda y: y))


def test_losing_precision_is_found():
    failed = _failed(lambda x: x.to(torch.complex64 if x.is_complex() else torch.float32).to(x.dtype), lambda y: y)
    assert failed


def test_nan_does_not_pass():
    assert _failed(lambda x: x * float("nan"), lambda y: y)


def test_the_report_reads_well():
    text = str(operator_report(Fourier((4, 3))))
    assert text.startswith("Fourier: (4, 3) complex -> (4, 3) complex\nnorm   1\nholds")
    assert text.endswith("All properties hold.")
    broken = str(operator_report(_Broken(lambda x: 2 * x, lambda y: y)))
    assert "FAILS" in broken
    assert "3 of 7 properties fail." in broken


def test_the_tolerance_can_be_loosened():
    almost = _Broken(lambda x: x, lambda y: (1 + 1e-7) * y)
    assert not operator_report(almost).ok
    assert operator_report(almost, tolerance=1e-6).ok
