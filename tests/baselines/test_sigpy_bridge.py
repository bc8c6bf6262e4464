import numpy as np
import pytest
import sigpy
import torch

from medinr.baselines import to_sigpy
from medinr.baselines.sigpy_bridge import ForwardDifference, GroupBall
from medinr.operators import Identity, ParallelBeam, Weighting, downsampling, undersampled_fourier

RNG = np.random.default_rng(0)
OPERATORS = [
    Identity((5, 7)),
    Weighting(torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]], dtype=torch.float64)),
    undersampled_fourier((6, 5), [0, 2, 3]),
    downsampling((8, 6), (1.0, 1.0), 2),
    ParallelBeam((5, 7), (1.0, 2.0), [0.0, 0.7, 1.9]),
]


def _draw(shape: tuple[int, ...], kind: str) -> np.ndarray:
    x = RNG.normal(size=shape)
    return x + 1j * RNG.normal(size=shape) if kind == "complex" else x


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_bridge_computes_what_the_operator_computes(operator) -> None:
    A = to_sigpy(operator)
    x, y = (
        _draw(operator.domain.shape, operator.domain.kind),
        _draw(operator.range.shape, operator.range.kind),
    )
    np.testing.assert_array_equal(A(x), operator(torch.from_numpy(x)).numpy())
    np.testing.assert_array_equal(A.H(y), operator.H(torch.from_numpy(y)).resolve_conj().numpy())
    assert np.vdot(A(x), y) == pytest.approx(np.vdot(x, A.H(y)), rel=1e-10)


def test_bridge_composes_with_sigpy_and_shows_its_shapes() -> None:
    A = to_sigpy(undersampled_fourier((6, 5), [0, 2, 3]))
    x = _draw((6, 5), "complex")
    np.testing.assert_allclose((2.0 * A.N)(x), 2.0 * A.H(A(x)))
    assert "[3, 5]x[6, 5]" in repr(A)
    assert A.H.H(x).shape == (3, 5)


@pytest.mark.parametrize("shape", [(1, 6), (5, 7), (3, 4, 5)])
def test_forward_difference_is_exact_and_has_its_adjoint(shape) -> None:
    gradient = ForwardDifference(shape)
    x, p = _draw(shape, "complex"), _draw((len(shape), *shape), "complex")
    for axis in range(len(shape)):
        last = np.take(x, [-1], axis)
        np.testing.assert_allclose(gradient(x)[axis], np.diff(x, axis=axis, append=last))
    assert np.vdot(gradient(x), p) == pytest.approx(np.vdot(x, gradient.H(p)), rel=1e-12)
    largest = sigpy.app.MaxEig(gradient.N, dtype=complex, show_pbar=False).run()
    assert largest <= 4 * len(shape)


def test_ball_couples_axes_and_phase_and_is_idempotent() -> None:
    p = np.array([[3.0 + 0j, 0.3], [4.0j, 0.4]])
    ball = GroupBall(p.shape, radius=1.0)
    projected = ball(1.0, p)
    np.testing.assert_allclose(projected, [[0.6, 0.3], [0.8j, 0.4]])
    np.testing.assert_allclose(ball(1.0, projected), projected)
