import numpy as np
import pytest
import torch

from medinr.errors import ConfigError, ShapeError
from medinr.operators import (
    Fourier,
    GaussianPSF,
    Identity,
    LineSampling,
    ParallelBeam,
    Weighting,
    block_diagonal,
    concatenate,
    stack,
)

SHAPE = (4, 3)


@pytest.mark.parametrize(
    ("scaled", "factor"),
    [
        (lambda A: A * 2, 2),
        (lambda A: A / 4, 0.25),
        (lambda A: np.float64(3) * A, 3),
        (lambda A: A * np.float32(0.5), 0.5),
        (lambda A: 2 * A * 3 / 4, 1.5),
        (lambda A: -A / 2j, 0.5j),
    ],
)
def test_scaling_from_either_side(scaled, factor, dense):
    fourier = Fourier(SHAPE)
    operator = scaled(fourier)
    torch.testing.assert_close(dense(operator), factor * dense(fourier))
    torch.testing.assert_close(dense(operator.H), np.conj(factor) * dense(fourier).mH)


def test_a_real_factor_keeps_real_images_real():
    assert (Identity(SHAPE) * np.int64(2)).domain.kind == "any"
    assert (Identity(SHAPE) * np.complex64(2)).domain.kind == "complex"


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (lambda A: A * float("nan"), "got nan"),
        (lambda A: float("inf") * A, "got inf"),
        (lambda A: A * torch.tensor(2.0), "got Tensor"),
        (lambda A: torch.ones(3) * A, "got Tensor"),
        (lambda A: np.ones(3) * A, "got ndarray"),
        (lambda A: A * A, "A @ B"),
        (lambda A: A / 0, "other than 0; got 0"),
        (lambda A: A / "x", "got str"),
    ],
)
def test_factors_that_are_not_numbers_are_refused(bad, named):
    with pytest.raises(ConfigError, match=named):
        bad(Identity(SHAPE))


def test_a_complex_factor_needs_a_complex_operator():
    real = Weighting(torch.ones(2))
    real.domain = real.range = type(real.domain)((2,), "real")
    with pytest.raises(ShapeError, match="cannot be scaled by the complex number"):
        real * 1j


def test_block_matrices(dense):
    first, second = Fourier(SHAPE), 2.0 * Fourier(SHAPE)
    F, G = dense(first), dense(second)
    lines = LineSampling(SHAPE, (0, 2)) @ first
    torch.testing.assert_close(dense(stack([first, second])), torch.cat([F, G]))
    torch.testing.assert_close(dense(concatenate([lines, second])), torch.cat([dense(lines), G]))
    torch.testing.assert_close(dense(block_diagonal([first, second])), torch.block_diag(F, G))
    torch.testing.assert_close(dense(block_diagonal([lines, lines])), torch.block_diag(dense(lines), dense(lines)))


def test_a_block_diagonal_of_one_operator_is_a_batch(generator):
    projector = ParallelBeam(SHAPE, (1, 1), [0.0, 1.0])
    x = torch.randn(5, 2, *SHAPE, generator=generator)
    torch.testing.assert_close(block_diagonal([projector, projector])(x), projector(x))


def test_concatenated_measurements_come_apart_and_together(generator):
    scans = [LineSampling(SHAPE, (0, 3)), LineSampling(SHAPE, (1,)), GaussianPSF(SHAPE, (1, 1), 2.0)]
    both = concatenate(scans)
    x = torch.randn(2, 5, *SHAPE, generator=generator)
    parts = both.split(both(x))
    for part, scan in zip(parts, scans, strict=True):
        assert torch.equal(part, scan(x))
    assert torch.equal(both.join(parts), both(x))


def test_names_say_what_is_combined():
    one = Identity(SHAPE)
    assert repr(stack([one, 2 * one])) == "Stack(Identity, 2 * Identity): (4, 3) -> (2, 4, 3)"
    assert repr(block_diagonal([one] * 5)) == (
        "BlockDiagonal(Identity, Identity, Identity, and 2 more): (5, 4, 3) -> (5, 4, 3)"
    )
    assert (
        repr(concatenate([Fourier(SHAPE), one])) == "Concatenation(Fourier, Identity): (4, 3) complex -> (24) complex"
    )


def test_blocks_that_do_not_fit_are_refused():
    one, other = Identity(SHAPE), Identity((2, 2))
    with pytest.raises(ShapeError, match="cannot be concatenated"):
        concatenate([one, other])
    with pytest.raises(ShapeError, match="cannot be put in one block diagonal"):
        block_diagonal([one, LineSampling(SHAPE, (0,))])
    for combine in (concatenate, block_diagonal):
        with pytest.raises(ShapeError, match="at least one operator; got none"):
            combine([])
    both = concatenate([one, LineSampling(SHAPE, (0,))])
    with pytest.raises(ShapeError, match="joins 2 measurements; got 1"):
        both.join([torch.zeros(SHAPE)])
    with pytest.raises(ShapeError, match=r"LineSampling measurement wants \(\.\.\., 1, 3\); got \(2, 3\)"):
        both.join([torch.zeros(SHAPE), torch.zeros(2, 3)])
    with pytest.raises(ShapeError, match=r"samples wants \(\.\.\., 15\); got \(14,\)"):
        both.split(torch.zeros(14))
