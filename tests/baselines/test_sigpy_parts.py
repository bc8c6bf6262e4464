import numpy as np
import pytest
import sigpy

from medinr.baselines.sigpy_parts import ForwardDifference, GroupBall

RNG = np.random.default_rng(0)


def _draw(shape: tuple[int, ...], kind: str) -> np.ndarray:
    x = RNG.normal(size=shape)
    return x + 1j * RNG.normal(size=shape) if kind == "complex" else x


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
