"""What holds for projectors of any geometry: the two ways to compute, storage, precision, pickles, ellipses."""

import math
import pickle
import sys

import pytest
import torch

from medinr.errors import GeometryError
from medinr.operators import FanBeam, ParallelBeam, Projector
from medinr.operators.ct import joseph_matrices as matrices

SHAPE, SPACING = (45, 61), (1.3, 0.8)
ANGLES = torch.arange(23, dtype=torch.float64) * 0.31

GEOMETRIES = {
    "parallel": lambda **more: ParallelBeam(SHAPE, SPACING, ANGLES, 80, 0.9, centre=2.2, **more),
    "flat": lambda **more: FanBeam(SHAPE, SPACING, ANGLES, 90, 150, 60, 1.7, detector_offset=-4.0, **more),
    "curved": lambda **more: FanBeam(SHAPE, SPACING, ANGLES, 90, 150, 60, 1.7, curved=True, **more),
}


@pytest.fixture(params=GEOMETRIES)
def make(request):
    return GEOMETRIES[request.param]


def _draw(shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 3, 70])
def test_compiled_loops_and_matrices_agree(make, dtype, count):
    compiled, plain = make(compiled=True), make(compiled=False)
    x, y = _draw((count, *SHAPE), dtype), _draw((count, *plain.range.shape), dtype)
    tolerance = {"rtol": 1e-5, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(compiled(x), plain(x), **tolerance)
    torch.testing.assert_close(compiled.H(y), plain.H(y), **tolerance)


def test_results_repeat_bit_by_bit_on_any_number_of_threads():
    projector = ParallelBeam((64, 64), (1, 1), torch.arange(60) * 0.1, compiled=True)
    x, y = _draw((9, 64, 64), torch.float32), _draw((9, *projector.range.shape), torch.float32)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append((projector(x), projector.H(y), projector.H(y[0])))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(torch.equal(mine, first) for mine, first in zip(result, results[0], strict=True))


def test_matrices_that_do_not_fit_are_built_anew(make, monkeypatch):
    kept = make(compiled=False)
    x, y = _draw((2, *SHAPE)), _draw((2, *kept.range.shape))
    forward, backward = kept(x), kept.H(y)
    monkeypatch.setattr(matrices, "MOST_BYTES", 1000)
    monkeypatch.setattr(matrices, "_ENTRIES_PER_BLOCK", 30_000)  # several blocks
    streamed = make(compiled=False)
    torch.testing.assert_close(streamed(x), forward)
    torch.testing.assert_close(streamed.H(y), backward)
    way = streamed._way(torch.float64, torch.device("cpu"))
    assert not way.kept
    assert way.bytes_if_kept > 1000


def test_the_estimate_of_the_memory_is_what_the_matrices_take():
    projector = ParallelBeam((40, 40), (1, 1), ANGLES, compiled=False)
    way = projector._way(torch.float32, torch.device("cpu"))
    entries = sum(block._nnz() for block, _ in way._blocks)
    assert 0.9 * way.bytes_if_kept < 2 * entries * 8 <= way.bytes_if_kept


def test_allowed_memory_is_bounded(monkeypatch):
    assert 0 < matrices.allowed_bytes(torch.device("cpu")) <= matrices.MOST_BYTES
    monkeypatch.setattr(matrices.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, 1000), raising=False)
    assert matrices.allowed_bytes(torch.device("cpu")) == 500 * 4096


def test_without_numba_it_works_and_says_so_if_asked(monkeypatch):
    monkeypatch.setattr("medinr.operators.ct.projector.compiler_is_there", lambda: False)
    monkeypatch.setattr("medinr.operators.ct.projector._SMALL", 0)
    monkeypatch.setitem(sys.modules, "medinr.operators.ct.joseph_compiled", None)  # importing it would fail
    assert ParallelBeam((6, 6), (1, 1), [0.0])(torch.ones(6, 6)).max() == 6.0
    with pytest.raises(GeometryError, match="wants numba"):
        ParallelBeam((6, 6), (1, 1), [0.0], compiled=True)


def test_only_large_problems_are_compiled():
    from medinr.operators.ct.joseph_compiled import Compiled

    small, large = ParallelBeam((6, 6), (1, 1), [0.0]), ParallelBeam((128, 128), (1, 1), torch.arange(90) * 0.1)
    way = [p._way(torch.float32, torch.device("cpu")) for p in (small, large)]
    assert [isinstance(w, Compiled) for w in way] == [False, True]


@pytest.mark.parametrize("compiled", [False, True])
def test_other_precisions_are_computed_in_single(make, compiled):
    projector = make(compiled=compiled)
    x = _draw(SHAPE, torch.float32).bfloat16()
    assert torch.equal(projector(x), projector(x.float()).bfloat16())


@pytest.mark.parametrize("compiled", [False, True])
def test_complex_views_conjugated_or_not(make, compiled):
    projector = make(compiled=compiled)
    x = torch.complex(_draw(SHAPE), _draw(SHAPE, seed=1))
    torch.testing.assert_close(projector(x.conj()), projector(x).conj())
    torch.testing.assert_close(projector(x.mT.contiguous().mT), projector(x))


@pytest.mark.parametrize("compiled", [False, True])
def test_pickles_are_small_and_independent(make, compiled):
    projector = make(compiled=compiled)
    image = _draw(SHAPE)
    sinogram = projector(image)
    pickled = pickle.dumps(projector)
    assert len(pickled) < 5000
    assert torch.equal(pickle.loads(pickled)(image), sinogram)


@pytest.mark.parametrize("compiled", [False, True])
def test_empty_batches_and_blind_detectors(compiled):
    projector = ParallelBeam((5, 6), (1, 1), [0.0, 0.9], 4, 1.0, centre=100.0, compiled=compiled)
    assert not projector(torch.ones(2, 5, 6)).any()
    assert not projector.H(torch.ones(2, 2, 4)).any()
    assert projector(torch.ones(0, 5, 6)).shape == (0, 2, 4)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own, in jvp
def test_gradients_of_both_orders_and_tangents(make):
    projector = make(compiled=True)
    x, y = _draw(SHAPE).requires_grad_(), _draw(projector.range.shape)
    (gradient,) = torch.autograd.grad((projector(x) ** 2).sum(), x, create_graph=True)
    torch.testing.assert_close(gradient, 2 * projector.H(projector(x)))
    (curvature,) = torch.autograd.grad((gradient * x.detach()).sum(), x)
    torch.testing.assert_close(curvature, gradient.detach())
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(y, y)
        tangent = torch.autograd.forward_ad.unpack_dual(projector.H(dual)).tangent
    torch.testing.assert_close(tangent, projector.H(y))


def _ellipse(projector: Projector, centre, axes, turn):
    """Chord of each ray through an ellipse, from its line (Kak & Slaney 1988, eq. 3.5), as its area shares image."""
    phi, s = projector.lines()
    s = s - (centre[0] * phi.cos() - centre[1] * phi.sin())
    reach = (axes[0] * (phi - turn).cos()) ** 2 + (axes[1] * (phi - turn).sin()) ** 2
    chord = 2 * axes[0] * axes[1] * (reach - s**2).clamp(min=0).sqrt() / reach
    return chord, s.abs() / reach.sqrt()


@pytest.mark.parametrize("geometry", ["parallel", "flat", "curved"])
@pytest.mark.parametrize("compiled", [False, True])
def test_an_ellipse_has_the_chords_of_the_book(geometry, compiled):
    shape, spacing, angles = (150, 130), (0.5, 0.6), torch.arange(11, dtype=torch.float64) * 0.61
    projector = {
        "parallel": lambda: ParallelBeam(shape, spacing, angles, centre=1.0, compiled=compiled),
        "flat": lambda: FanBeam(shape, spacing, angles, 80, 130, 150, 1.1, detector_offset=3.0, compiled=compiled),
        "curved": lambda: FanBeam(shape, spacing, angles, 80, 130, 150, 1.1, curved=True, compiled=compiled),
    }[geometry]()
    centre, axes, turn, mu = (5.0, -8.0), (22.0, 13.0), 0.5, 0.02
    y, x = (
        (torch.arange(8 * n, dtype=torch.float64) - (8 * n - 1) / 2) * d / 8
        for n, d in zip(shape, spacing, strict=True)
    )
    x, y = x - centre[0], y[:, None] - centre[1]
    # The first half axis points along (cos turn, -sin turn): counterclockwise as seen.
    along, across = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
    fine = ((along / axes[0]) ** 2 + (across / axes[1]) ** 2 < 1).double()
    image = mu * torch.nn.functional.avg_pool2d(fine[None], 8)[0]
    chord, depth = _ellipse(projector, centre, axes, turn)
    error = (projector(image) - mu * chord).abs() / (mu * chord.max())
    assert float(error.mean()) < 2e-3
    assert float(error[depth < 0.9].max()) < 0.02
    assert int((depth < 0.9).sum()) > 300
