import numpy as np
import pytest
import sigpy

from medinr.baselines.sigpy_parts import FieldBending, ForwardDifference, GradientGap, GroupBall

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


@pytest.mark.parametrize("shape", [(1, 6), (5, 7), (3, 4, 5)])
@pytest.mark.parametrize("kind", [GradientGap, FieldBending])
def test_parts_of_generalised_variation_have_their_adjoints_and_norms(kind, shape) -> None:
    part = kind(shape)
    packed, p = _draw((1 + len(shape), *shape), "complex"), _draw(tuple(part.oshape), "complex")
    assert np.vdot(part(packed), p) == pytest.approx(np.vdot(packed, part.H(p)), rel=1e-12)
    largest = sigpy.app.MaxEig(part.N, dtype=complex, show_pbar=False).run()
    assert largest <= 4 * len(shape) + (kind is GradientGap)


def test_an_affine_image_has_a_field_without_gap_and_bending() -> None:
    y, x = np.mgrid[:5, :7].astype(float)
    packed = np.stack([2 + 3 * y - x, 3 + 0 * y, -1 + 0 * y])
    for part in (GradientGap((5, 7)), FieldBending((5, 7))):
        np.testing.assert_allclose(part(packed), 0, atol=1e-12)


def test_bending_is_the_symmetrised_derivative() -> None:
    y, x = np.mgrid[:6, :6].astype(float)
    # The gradient of a y^2 + b x y: second derivatives 2 a and b.
    packed = np.stack([0 * y, 2 * 0.3 * y + 0.7 * x, 0.7 * y])
    inner = FieldBending((6, 6))(packed)[:, 1:, 1:]
    for entry, wanted in zip(inner, (0.6, 0.7, 0.7, 0.0), strict=True):
        np.testing.assert_allclose(entry, wanted, atol=1e-12)


def test_ball_couples_axes_and_phase_and_is_idempotent() -> None:
    p = np.array([[3.0 + 0j, 0.3], [4.0j, 0.4]])
    ball = GroupBall(p.shape, radius=1.0)
    projected = ball(1.0, p)
    np.testing.assert_allclose(projected, [[0.6, 0.3], [0.8j, 0.4]])
    np.testing.assert_allclose(ball(1.0, projected), projected)
