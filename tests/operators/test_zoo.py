"""What every operator of the package does, and that every operator of the package is asked."""

import inspect
import math
import pickle
import types

import pytest
import torch

import medinr.operators
from medinr.errors import ShapeError
from medinr.operators import LinearOperator

#: Exported functions that give operators of the caller's own making, and classes that hold such.
FOREIGN = {"FromCallable", "from_callable", "from_scipy", "from_sigpy", "from_deepinv"}


#: Operators with kernels outside torch, which cannot say a shape without computing.
COMPILED = {"Projector", "NonUniformFourier"}


def _parts(operator):
    """The operator and everything it is made of."""
    yield operator
    for value in vars(operator).values():
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, LinearOperator):
                yield from _parts(part)


def _names(code, scope):
    """Names used by a piece of code, and by the functions of the same module that it calls."""
    for name in code.co_names:
        yield name
        called = scope.get(name)
        if isinstance(called, types.FunctionType) and called.__globals__ is scope:
            yield from _names(called.__code__, scope)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant, scope)


def _gives_an_operator(function):
    annotation = inspect.signature(function).return_annotation
    found = getattr(medinr.operators, annotation, None) if isinstance(annotation, str) else annotation
    return inspect.isclass(found) and issubclass(found, LinearOperator)


def test_every_exported_operator_is_in_the_zoo(zoo):
    exported = {name: getattr(medinr.operators, name) for name in medinr.operators.__all__ if name not in FOREIGN}
    classes = {
        name
        for name, value in exported.items()
        if inspect.isclass(value) and issubclass(value, LinearOperator) and not inspect.isabstract(value)
    }
    met = {type(part).__name__ for make in zoo.values() for part in _parts(make())}
    assert not classes - met, f"Add to ZOO: {sorted(classes - met)}"

    factories = {n for n, value in exported.items() if inspect.isfunction(value) and _gives_an_operator(value)}
    used = {name for make in zoo.values() for name in _names(make.__code__, make.__globals__)}
    assert {"stack", "downsampling"} <= factories
    assert not factories - used, f"Add to ZOO: {sorted(factories - used)}"


def _draw(space, generator, batch=(), single=False):
    wide = torch.complex128 if space.kind == "complex" else torch.float64
    narrow = torch.complex64 if space.kind == "complex" else torch.float32
    return torch.randn((*batch, *space.shape), dtype=wide, generator=generator).to(narrow if single else wide)


def _close(a, b, tolerance):
    """Relative to the larger of the two."""
    scale = max(float(torch.linalg.vector_norm(v)) for v in (a, b))
    assert float(torch.linalg.vector_norm(a - b)) <= tolerance * max(scale, 1e-300)


def test_the_matrix_is_the_operator(operator, dense, generator, tolerance):
    x = _draw(operator.domain, generator)
    matrix = dense(operator)
    assert matrix.shape == (math.prod(operator.range.shape), math.prod(operator.domain.shape))
    _close((matrix @ x.flatten()).reshape(operator.range.shape), operator(x), tolerance)
    _close(dense(operator.normal), matrix.mH @ matrix, tolerance)


def test_a_second_derivative_is_the_normal_operator(operator, generator, tolerance):
    """The gradient of |A x|^2 / 2 is A.H A x; its derivative along v is A.H A v."""
    x, v = _draw(operator.domain, generator).requires_grad_(), _draw(operator.domain, generator)
    loss = 0.5 * operator(x).abs().square().sum()
    (slope,) = torch.autograd.grad(loss, x, create_graph=True)
    _close(slope.detach(), operator.normal(x.detach()), tolerance)
    (curvature,) = torch.autograd.grad(slope, x, v)
    _close(curvature, operator.normal(v), tolerance)


def test_the_derivative_of_the_adjoint_can_be_derived_again(operator, generator, tolerance):
    y, v = _draw(operator.range, generator).requires_grad_(), _draw(operator.range, generator)
    loss = 0.5 * operator.H(y).abs().square().sum()
    (slope,) = torch.autograd.grad(loss, y, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, y, v)
    _close(curvature, operator(operator.H(v)), tolerance)


def test_jacobian_products_run_through(operator, generator, tolerance):
    """Forward derivatives by two backward ones, which need no forward mode of a kernel."""
    x, v = _draw(operator.domain, generator), _draw(operator.domain, generator)
    value, along = torch.autograd.functional.jvp(operator, x, v)
    _close(value, operator(x), tolerance)
    _close(along, operator(v), tolerance)


def test_a_pickled_operator_is_the_same(operator, generator):
    copied = pickle.loads(pickle.dumps(operator))
    x, y = _draw(operator.domain, generator), _draw(operator.range, generator)
    assert repr(copied) == repr(operator)
    assert torch.equal(copied(x), operator(x))
    assert torch.equal(copied.H(y), operator.H(y))


def test_inputs_stay_as_they_are(operator, generator):
    x, y = _draw(operator.domain, generator, (2,)), _draw(operator.range, generator, (2,))
    before = x.clone(), y.clone()
    state = {key: value.clone() for key, value in vars(operator).items() if isinstance(value, torch.Tensor)}
    operator(x), operator.H(y), operator.norm(iterations=2)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert all(torch.equal(getattr(operator, key), value) for key, value in state.items())


def test_views_give_what_copies_give(operator, generator, tolerance):
    """Inputs whose memory runs the other way, or repeats."""
    x = _draw(operator.domain, generator, (2,))
    turned = x.movedim(0, -1).contiguous().movedim(-1, 0)
    assert turned.shape == x.shape
    _close(operator(turned), operator(x), tolerance)
    _close(
        operator(x[:1].expand(3, *operator.domain.shape)), operator(x[:1]).expand(3, *operator.range.shape), tolerance
    )


def test_shapes_can_be_asked_without_memory(operator):
    if {kind.__name__ for part in _parts(operator) for kind in type(part).__mro__} & COMPILED:
        pytest.skip("its compiled kernel computes on data only")
    kind = torch.complex64 if operator.domain.kind == "complex" else torch.float32
    elsewhere = operator.to("meta")
    result = elsewhere(torch.empty((2, *operator.domain.shape), dtype=kind, device="meta"))
    assert (result.device.type, tuple(result.shape)) == ("meta", (2, *operator.range.shape))
    backward = elsewhere.H(result)
    assert (backward.device.type, tuple(backward.shape)) == ("meta", (2, *operator.domain.shape))


def test_moving_leaves_the_original(operator):
    before = operator.device
    operator.to("meta")
    assert operator.device == before


def test_the_adjoint_checks_its_input_too(operator):
    wrong = torch.zeros((*operator.range.shape[:-1], operator.range.shape[-1] + 1), dtype=torch.complex64)
    with pytest.raises(ShapeError, match=r"got \("):
        operator.H(wrong)
    with pytest.raises(ShapeError, match=r"got torch\.int64"):
        operator.H(torch.zeros(operator.range.shape, dtype=torch.int64))
