import pytest
import torch

from medinr.errors import InputError, ShapeError
from medinr.operators import (
    Coils,
    Fourier,
    GaussianPSF,
    Identity,
    LineSampling,
    ParallelBeam,
    Space,
    Weighting,
    birdcage_maps,
    stack,
)


def _image(space, generator, batch=(), dtype=None):
    kind = "complex" if space.kind == "complex" else "real"
    dtype = dtype or {"complex": torch.complex128, "real": torch.float64}[kind]
    return torch.randn((*batch, *space.shape), dtype=dtype, generator=generator)


def _adjoint_error(operator, x, y):
    forward, backward = operator(x), operator.H(y)
    mismatch = (forward.conj() * y).sum() - (x.conj() * backward).sum()
    return float(mismatch.abs() / (torch.linalg.vector_norm(forward) * torch.linalg.vector_norm(y)))


def test_adjoint_in_double_precision(operator, generator, tolerance):
    x, y = _image(operator.domain, generator, (2,)), _image(operator.range, generator, (2,))
    assert _adjoint_error(operator, x, y) < tolerance


def test_adjoint_in_single_precision(operator, generator, tolerance):
    single = {"complex": torch.complex64, "real": torch.float32, "any": torch.float32}
    x = _image(operator.domain, generator, (2,), single[operator.domain.kind])
    y = _image(operator.range, generator, (2,), single[operator.range.kind])
    assert operator(x).dtype == y.dtype
    assert operator.H(y).dtype == x.dtype
    assert _adjoint_error(operator, x, y) < max(1e-5, tolerance)


def test_adjoint_is_the_conjugate_transpose(operator, dense, tolerance):
    torch.testing.assert_close(dense(operator.H), dense(operator).mH, rtol=0, atol=tolerance)


def test_derivative_is_the_adjoint(operator, generator, tolerance):
    x = _image(operator.domain, generator).requires_grad_()
    y = _image(operator.range, generator)
    (gradient,) = torch.autograd.grad(operator(x), x, y)
    torch.testing.assert_close(gradient, operator.H(y), rtol=tolerance, atol=tolerance)
    y.requires_grad_()
    (gradient,) = torch.autograd.grad(operator.H(y), y, x.detach())
    torch.testing.assert_close(gradient, operator(x.detach()), rtol=tolerance, atol=tolerance)


def test_norm_is_the_largest_singular_value(operator, dense):
    expected = float(torch.linalg.matrix_norm(dense(operator), 2))
    # From below; where two singular values are close it takes long.
    estimates = (operator.norm(iterations=count) for count in (60, 500))
    assert any(estimate == pytest.approx(expected, rel=1e-3) for estimate in estimates)


@pytest.mark.parametrize("batch", [(1,), (3,), (2, 3)])
def test_a_batch_gives_what_a_loop_gives(operator, generator, batch, tolerance):
    x = _image(operator.domain, generator, batch)
    result = operator(x)
    assert result.shape == (*batch, *operator.range.shape)
    one_by_one = torch.stack([operator(image) for image in x.reshape(-1, *operator.domain.shape)])
    torch.testing.assert_close(result.reshape(one_by_one.shape), one_by_one, rtol=tolerance, atol=tolerance)


def test_complex_images_pass_as_real_and_imaginary_part(operator, generator):
    if operator.domain.kind != "any":
        pytest.skip("takes complex images only")
    real, imaginary = (_image(operator.domain, generator) for _ in range(2))
    result = operator(torch.complex(real, imaginary))
    torch.testing.assert_close(result.real, operator(real))
    torch.testing.assert_close(result.imag, operator(imaginary))


def test_a_wrong_shape_is_named(operator):
    wrong = torch.zeros((*operator.domain.shape[:-1], operator.domain.shape[-1] + 1), dtype=torch.complex64)
    with pytest.raises(ShapeError) as caught:
        operator(wrong)
    assert str(tuple(wrong.shape)) in str(caught.value)
    assert ", ".join(map(str, operator.domain.shape)) in str(caught.value)


def test_too_few_dimensions_are_named(operator):
    with pytest.raises(ShapeError, match=r"wants \(\.\.\., .*got \(3,\)"):
        operator(torch.zeros(3))


def test_a_wrong_kind_is_named(operator):
    with pytest.raises(ShapeError, match=r"got torch\.int64"):
        operator(torch.zeros(operator.domain.shape, dtype=torch.int64))
    if operator.domain.kind == "complex":
        with pytest.raises(ShapeError, match=r"wants complex values; got torch\.float32"):
            operator(torch.zeros(operator.domain.shape))


def test_repr_shows_the_spaces(operator):
    assert ", ".join(map(str, operator.domain.shape)) in repr(operator)
    assert ", ".join(map(str, operator.range.shape)) in repr(operator)


def test_moving_keeps_the_operator(operator, generator):
    x = _image(operator.domain, generator)
    torch.testing.assert_close(operator.to("cpu")(x), operator(x))
    assert operator.device == torch.device("cpu")


def test_algebra_is_that_of_the_matrices(dense):
    shape = (4, 3)
    fourier, psf = Fourier(shape), GaussianPSF(shape, (1, 1), 2.0)
    lines = LineSampling(shape, (0, 2))
    F, G, L = (dense(op).to(torch.complex128) for op in (fourier, psf, lines))
    for operator, matrix in [
        (lines @ fourier @ psf, L @ F @ G),
        (fourier + psf, F + G),
        (fourier - psf, F - G),
        (-fourier, -F),
        (2 * fourier, 2 * F),
        (2j * psf, 2j * G),
        ((lines @ fourier).H, (L @ F).mH),
        ((lines @ fourier).normal, (L @ F).mH @ L @ F),
        (stack([fourier, fourier]), torch.cat([F, F])),
    ]:
        torch.testing.assert_close(dense(operator).to(torch.complex128), matrix, rtol=0, atol=1e-12)


def test_adjoint_of_the_adjoint_is_the_operator(operator):
    assert operator.H.H is operator or repr(operator.H.H) == repr(operator)


@pytest.mark.parametrize(
    ("outer", "inner", "domain", "range_"),
    [
        ("any", "any", "any", "any"),
        ("complex", "any", "complex", "complex"),
        ("any", "complex", "complex", "complex"),
    ],
)
def test_composition_joins_the_kinds(outer, inner, domain, range_):
    def weights(kind):
        return Weighting(torch.ones(2, 2, dtype=torch.complex64 if kind == "complex" else torch.float32))

    product = weights(outer) @ weights(inner)
    assert (product.domain.kind, product.range.kind) == (domain, range_)


def test_mismatched_algebra_is_refused():
    fourier, small = Fourier((4, 3)), Identity((2, 2))
    with pytest.raises(ShapeError, match=r"gives \(4, 3\) complex but Identity wants \(2, 2\)"):
        small @ fourier
    with pytest.raises(ShapeError, match="cannot be added"):
        fourier + small
    with pytest.raises(ShapeError, match="cannot be stacked"):
        stack([fourier, small])
    with pytest.raises(ShapeError, match="at least one operator"):
        stack([])


def test_norm_of_zero_is_zero():
    assert Weighting(torch.zeros(3, 2)).norm() == 0.0


def test_real_spaces_refuse_complex_values():
    with pytest.raises(ShapeError, match=r"wants real values; got torch\.complex64"):
        Space((2,), "real").check(torch.zeros(2, dtype=torch.complex64), "it")


def test_all_errors_are_input_errors():
    assert issubclass(ShapeError, InputError)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own, in jvp
def test_gradients_of_gradients_pass_through_the_projector():
    projector = ParallelBeam((4, 3), (1, 1), [0.0, 1.0])
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda v: projector(v).square().sum(), x)
    _, tangent = torch.func.jvp(projector, (x.detach(),), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, projector(torch.ones_like(x.detach())))


def test_coil_maps_may_be_single_precision_for_double_images():
    coils = Coils(birdcage_maps((4, 3), 2))
    assert coils(torch.ones(4, 3, dtype=torch.complex128)).dtype == torch.complex128


class _Witness(Identity):
    """An identity that remembers how many images it was given at a time."""

    def __init__(self, shape):
        super().__init__(shape)
        self.seen = []

    def _apply(self, x):
        self.seen.append(x[..., 0, 0, 0].numel())
        return x

    _adjoint = _apply


def test_a_product_takes_a_large_batch_in_parts(generator, monkeypatch):
    shape, batch = (9, 7), (2, 5)
    maps = birdcage_maps(shape, 3, dtype=torch.complex128)
    witness = _Witness((3, *shape))
    product = LineSampling((3, *shape), (0, 2, 5)) @ Fourier((3, *shape)) @ witness @ Coils(maps)
    x = _image(product.domain, generator, batch).requires_grad_()
    whole = product(x)
    (gradient,) = torch.autograd.grad((whole.abs() ** 2).sum(), x)
    # Room for the coils' images of two images, 16 bytes a value, but not of three.
    monkeypatch.setattr("medinr.operators.base._TOGETHER", 8 * 9 * 7 * 16)
    witness.seen.clear()
    parts = product(x)
    assert witness.seen == [2] * 5
    assert torch.allclose(parts, whole, rtol=1e-13, atol=1e-13)
    (again,) = torch.autograd.grad((parts.abs() ** 2).sum(), x)
    assert torch.allclose(again, gradient, rtol=1e-13, atol=1e-13)
    witness.seen.clear()
    assert torch.allclose(product.H(whole), 0.5 * gradient, rtol=1e-12, atol=1e-12)
    assert witness.seen == [2] * 5
    assert product(x[:, :0]).shape == (2, 0, *product.range.shape)
