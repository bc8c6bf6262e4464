"""Adapters: the zoo through every library that is installed, and operators of others through the zoo's own test."""

import math
import pickle

import numpy as np
import pytest
import scipy.sparse
import sigpy
import torch
from scipy.sparse.linalg import LinearOperator as ScipyOperator
from scipy.sparse.linalg import aslinearoperator, eigsh, lsmr

from medinr.errors import ConfigError, LibraryError, MedinrError, ShapeError
from medinr.operators import (
    Fourier,
    GaussianPSF,
    Identity,
    LinearOperator,
    ParallelBeam,
    Space,
    from_callable,
    from_deepinv,
    from_scipy,
    from_sigpy,
    operator_report,
    to_deepinv,
    to_scipy,
    to_sigpy,
    undersampled_fourier,
)

RNG = np.random.default_rng(0)


def _draw(space: Space) -> np.ndarray:
    values = RNG.normal(size=space.shape)
    return values + 1j * RNG.normal(size=space.shape) if space.kind == "complex" else values


class _RealPart(LinearOperator):
    """Complex images, real data: the kind of operator whose adjoint is only one over the reals."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.domain, self.range = Space(shape, "complex"), Space(shape, "real")

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        return x.real

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return torch.complex(y, torch.zeros_like(y))


# --- SciPy


def test_scipy_has_the_operators_matrix(operator, dense):
    wrapped = to_scipy(operator)
    matrix = dense(operator).numpy()
    assert wrapped.shape == matrix.shape
    assert wrapped.dtype.kind == ("c" if operator.domain.kind == "complex" else "f")
    np.testing.assert_allclose(wrapped @ np.eye(matrix.shape[1]), matrix, atol=1e-12)
    np.testing.assert_allclose(wrapped.H @ np.eye(matrix.shape[0]), matrix.conj().T, atol=1e-12)
    x, y = (_draw(space).reshape(-1) for space in (operator.domain, operator.range))
    np.testing.assert_allclose(wrapped.matvec(x), matrix @ x, atol=1e-12)
    np.testing.assert_allclose(wrapped.rmatvec(y), matrix.conj().T @ y, atol=1e-12)


@pytest.mark.parametrize("make", [lambda: undersampled_fourier((6, 5), (0, 2, 3)), lambda: _RealPart((3, 4))])
def test_scipy_in_real_numbers(make):
    operator = make()
    wrapped = to_scipy(operator, np.float64)
    sizes = [math.prod(s.shape) * (2 if s.kind == "complex" else 1) for s in (operator.range, operator.domain)]
    assert wrapped.shape == tuple(sizes)
    matrix = wrapped @ np.eye(sizes[1])
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(wrapped.T @ np.eye(sizes[0]), matrix.T, atol=1e-14)
    x = _draw(operator.domain)
    data = operator(torch.from_numpy(x)).numpy()
    expected = data.reshape(-1).view(np.float64) if np.iscomplexobj(data) else data.reshape(-1)
    np.testing.assert_allclose(matrix @ x.reshape(-1).view(np.float64), expected, atol=1e-14)


def test_scipy_keeps_the_precision_asked_for():
    wrapped = to_scipy(ParallelBeam((5, 4), (1.0, 1.0), [0.0, 1.0]), "float32")
    assert (wrapped @ np.ones(20)).dtype == np.float32
    assert to_scipy(_RealPart((2, 2))).dtype == np.float64


def test_scipy_dtypes_that_cannot_be():
    with pytest.raises(ShapeError, match="is not complex"):
        to_scipy(_RealPart((2, 2)), complex)
    with pytest.raises(ShapeError, match="int64"):
        to_scipy(Identity((2, 2)), np.int64)


@pytest.mark.parametrize("dtype", [None, np.float64], ids=["complex", "pairs"])
def test_lsmr_solves_what_the_operator_measured(dtype):
    operator = undersampled_fourier((6, 5), range(6)) @ GaussianPSF((6, 5), (1.0, 1.0), 1.2)
    image = _draw(operator.domain)
    data = operator(torch.from_numpy(image)).numpy().reshape(-1)
    found = lsmr(to_scipy(operator, dtype), data if dtype is None else data.view(dtype), atol=1e-13, btol=1e-13)[0]
    np.testing.assert_allclose(found.view(np.complex128).reshape(6, 5), image, atol=1e-8)


def test_scipy_finds_the_norm():
    operator = ParallelBeam((8, 7), (1.0, 1.0), [0.0, 0.8, 2.0])
    (largest,) = eigsh(to_scipy(operator.normal), k=1, return_eigenvectors=False)
    assert operator.norm(300) == pytest.approx(math.sqrt(largest), rel=1e-6)


def test_a_scipy_operator_survives_pickling_before_use():
    wrapped = to_scipy(Fourier((3, 2)))
    again = pickle.loads(pickle.dumps(wrapped))
    np.testing.assert_array_equal(again @ np.ones(6), wrapped @ np.ones(6))


@pytest.mark.parametrize("kind", ["real", "complex"])
def test_a_sparse_matrix_is_an_operator(kind, dense):
    matrix = scipy.sparse.random(6, 20, 0.4, rng=0).tocsr()
    if kind == "complex":
        matrix = matrix * (1 - 2j)
    operator = from_scipy(matrix, (5, 4), (2, 3))
    assert operator.domain == Space((5, 4), "any" if kind == "real" else "complex")
    report = operator_report(operator)
    assert report.ok, str(report)
    np.testing.assert_allclose(dense(operator), matrix.toarray(), atol=1e-14)
    assert operator(torch.zeros(0, 5, 4, dtype=dense(operator).dtype)).shape == (0, 2, 3)
    assert from_scipy(matrix, (5, 4)).range.shape == (6,)


def test_there_and_back_is_the_same_operator(operator, dense):
    again = from_scipy(to_scipy(operator), operator.domain.shape, operator.range.shape)
    torch.testing.assert_close(dense(again), dense(operator))
    torch.testing.assert_close(dense(again.H), dense(operator.H))


def test_a_scipy_operator_with_its_own_functions():
    stretch = ScipyOperator((4, 4), matvec=lambda v: 2 * v, rmatvec=lambda v: 2 * v, dtype=np.float64)
    assert operator_report(from_scipy(stretch, (2, 2))).ok
    with pytest.raises(ConfigError, match="rmatvec"):
        from_scipy(ScipyOperator((4, 4), matvec=lambda v: 2 * v, dtype=np.float64), (2, 2))
    with pytest.raises(ShapeError, match=r"6 x 4.*\(3, 3\)"):
        from_scipy(aslinearoperator(np.ones((6, 4))), (3, 3))


# --- SigPy


def test_sigpy_computes_what_the_operator_computes(operator):
    wrapped = to_sigpy(operator)
    x, y = _draw(operator.domain), _draw(operator.range)
    np.testing.assert_array_equal(wrapped(x), operator(torch.from_numpy(x)).numpy())
    np.testing.assert_array_equal(wrapped.H(y), operator.H(torch.from_numpy(y)).resolve_conj().numpy())
    assert np.vdot(wrapped(x), y) == pytest.approx(np.vdot(x, wrapped.H(y)), rel=1e-10)


def test_sigpy_composes_pickles_and_shows_its_shapes():
    wrapped = to_sigpy(undersampled_fourier((6, 5), [0, 2, 3]))
    x = _draw(Space((6, 5), "complex"))
    np.testing.assert_allclose((2.0 * wrapped.N)(x), 2.0 * wrapped.H(wrapped(x)))
    assert "[3, 5]x[6, 5]" in repr(wrapped)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(wrapped)).H.H(x), wrapped(x))


def test_a_sigpy_app_solves_what_the_operator_measured():
    operator = GaussianPSF((6, 5), (1.0, 1.0), 1.2)
    image = _draw(operator.domain)
    data = operator(torch.from_numpy(image)).numpy()
    app = sigpy.app.LinearLeastSquares(to_sigpy(operator), data, max_iter=200, show_pbar=False)
    np.testing.assert_allclose(app.run(), image, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: sigpy.linop.FFT((4, 5)), "complex"),
        (lambda: sigpy.linop.Resize((3, 7), (4, 5)), "any"),
        (lambda: sigpy.linop.FiniteDifference((4, 5)), "real"),
        (lambda: to_sigpy(Fourier((4, 5))), "complex"),
    ],
    ids=["fft", "resize", "difference", "ours"],
)
def test_a_sigpy_operator_is_an_operator(make, kind):
    operator = from_sigpy(make(), kind)
    report = operator_report(operator)
    assert report.ok, str(report)
    assert operator.domain == Space((4, 5), kind)


def test_sigpys_fft_is_ours():
    x = torch.from_numpy(_draw(Space((2, 4, 5), "complex")))
    torch.testing.assert_close(from_sigpy(sigpy.linop.FFT((4, 5)))(x), Fourier((4, 5))(x))


def test_only_a_linop_comes_from_sigpy():
    with pytest.raises(ShapeError, match="ndarray"):
        from_sigpy(np.ones((3, 3)))


# --- your own functions


def _difference(x):
    return x.diff(dim=-1)


def _spectrum(x):
    return torch.fft.fft(x, norm="ortho")


def _through_numpy(x):
    return torch.from_numpy(np.cumsum(x.detach().numpy(), axis=-1))


def _through_numpy_back(y):
    return torch.from_numpy(np.cumsum(y.detach().numpy()[..., ::-1], axis=-1)[..., ::-1].copy())


CALLABLES = {
    "adjoint derived": lambda: from_callable(_difference, (4, 5)),
    "complex, adjoint derived": lambda: from_callable(_spectrum, Space((4, 5), "complex")),
    "complex, adjoint given": lambda: from_callable(
        _spectrum, Space((4, 5), "complex"), adjoint=lambda y: torch.fft.ifft(y, norm="ortho")
    ),
    "real to complex": lambda: from_callable(_spectrum, Space((4, 5), "real"), Space((4, 5), "complex")),
    "real to complex, found": lambda: from_callable(_spectrum, Space((4, 5), "real")),
    "complex to real": lambda: from_callable(torch.real, Space((4, 5), "complex")),
    "image by image": lambda: from_callable(lambda x: x.T, (4, 5), batched=False),
    "through numpy": lambda: from_callable(
        _through_numpy, (4, 5), (4, 5), _through_numpy_back, differentiable=False, batched=False
    ),
}


@pytest.mark.parametrize("make", CALLABLES.values(), ids=CALLABLES)
def test_functions_make_an_operator(make):
    operator = make()
    report = operator_report(operator)
    assert report.ok, str(report)


def test_ranges_are_found():
    assert from_callable(_difference, (4, 5)).range == Space((4, 4))
    assert from_callable(_difference, Space((4, 5), "real")).range == Space((4, 4), "real")
    assert from_callable(_spectrum, Space((5,), "complex")).range == Space((5,), "complex")
    assert from_callable(torch.real, Space((5,), "complex")).range == Space((5,), "real")
    with pytest.raises(ShapeError, match="'complex'"):
        from_callable(_spectrum, (4, 5))


def test_a_derived_adjoint_is_differentiable_and_batched():
    operator = from_callable(lambda x: (3.0 * x).diff(dim=-1), (5,))
    y = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    image = operator.H(y)
    assert image.shape == (2, 3, 5)
    direction = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(image, y, direction)
    torch.testing.assert_close(gradient, operator(direction))
    with torch.no_grad():
        torch.testing.assert_close(operator.H(y), image)


def test_parameters_inside_a_function_can_be_learned():
    weight = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    operator = from_callable(lambda x: weight * x, (3,))
    operator(torch.ones(3)).sum().backward()
    torch.testing.assert_close(weight.grad, torch.ones(3))


def test_a_function_that_torch_cannot_differentiate_wants_its_adjoint():
    with pytest.raises(ConfigError, match="adjoint"):
        from_callable(_through_numpy, (3,), differentiable=False)
    with pytest.raises(MedinrError, match=r"_through_numpy.*differentiable=False"):
        from_callable(_through_numpy, (3,)).H(torch.ones(3))


def test_a_wrong_function_is_told_in_words():
    wrong = from_callable(_difference, (4, 5), (4, 4), lambda y: y, name="Mine")
    report = operator_report(wrong)
    assert not report.ok
    assert "A.H of float64 (2, 3, 4, 4) gives float64 (2, 3, 4, 4), not float64 (2, 3, 4, 5)" in str(report)
    assert "Mine: (4, 5) -> (4, 4)" in str(report)
    alone = from_callable(lambda x: torch.nn.functional.conv2d(x, torch.ones(1, 1, 1, 1)), (1, 4, 5))
    assert "raises RuntimeError" in str(operator_report(alone))
    assert "gives NoneType" in str(operator_report(from_callable(lambda _: None, (3,), (3,))))


def test_functions_do_not_move():
    operator = from_callable(_difference, (4, 5))
    assert operator.to("cpu") is operator
    with pytest.raises(ConfigError, match="device='meta'"):
        operator.to("meta")
    assert from_callable(lambda x: x, (3,), (3,), device="meta").device.type == "meta"


def test_functions_with_a_name_can_be_pickled():
    operator = pickle.loads(pickle.dumps(from_callable(torch.neg, (4, 5))))
    torch.testing.assert_close(operator(torch.ones(4, 5)), -torch.ones(4, 5))


def test_functions_join_the_algebra():
    operator = 2.0 * from_callable(_difference, (4, 5)) @ GaussianPSF((4, 5), (1.0, 1.0), 2.0)
    assert operator_report(operator).ok


# --- libraries that are not there


@pytest.mark.parametrize(
    ("module", "package", "call"),
    [
        ("scipy", "scipy", lambda: to_scipy(Identity((2,)))),
        ("scipy", "scipy", lambda: from_scipy(np.eye(2), (2,))),
        ("sigpy", "sigpy", lambda: to_sigpy(Identity((2,)))),
        ("sigpy", "sigpy", lambda: from_sigpy(None)),
        ("deepinv", "deepinv", lambda: to_deepinv(Identity((2,)))),
        ("deepinv", "deepinv", lambda: from_deepinv(None, (2,))),
    ],
)
def test_a_missing_library_is_named_with_the_remedy(module, package, call, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(LibraryError, match=f"needs {package}.*pip install {package}"):
        call()


def test_an_error_inside_a_library_is_not_taken_for_its_absence(monkeypatch):
    def broken(_):
        raise ModuleNotFoundError("No module named 'numba'", name="numba")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="numba"):
        to_sigpy(Identity((2,)))
