import math

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from medinr.errors import GeometryError, ShapeError
from medinr.operators import AffineResampling, Decimation, SliceProfile, decimated_affine

DOUBLE = torch.float64


def _affine(generator, spacing, spread=0.4):
    """A turned, sheared, shifted grid."""
    turn = torch.eye(3, dtype=DOUBLE) + spread * torch.randn(3, 3, dtype=DOUBLE, generator=generator)
    affine = torch.eye(4, dtype=DOUBLE)
    affine[:3, :3] = turn @ torch.diag(torch.tensor(spacing, dtype=DOUBLE))
    affine[:3, 3] = torch.randn(3, dtype=DOUBLE, generator=generator)
    return affine


@pytest.mark.parametrize("target_shape", [(4, 5, 6), (9, 2, 3)])
def test_agrees_with_scipy(target_shape, generator):
    source, target = _affine(generator, (1.0, 1.3, 0.8)), _affine(generator, (0.9, 0.7, 1.1))
    volume = torch.rand(7, 6, 5, dtype=DOUBLE, generator=generator)
    ours = AffineResampling(volume.shape, source, target_shape, target)(volume)
    # SciPy maps indices in array order (z, y, x).
    between = np.linalg.solve(source.numpy(), target.numpy())
    matrix, offset = between[2::-1, 2::-1], between[2::-1, 3]
    options = {"output_shape": target_shape, "order": 1}
    expected = affine_transform(volume.numpy(), matrix, offset, mode="grid-constant", **options)
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-12)
    assert not np.allclose(ours.numpy(), affine_transform(volume.numpy(), matrix, offset, mode="constant", **options))


def test_one_grid_is_the_identity(generator):
    affine = _affine(generator, (1.0, 1.3, 0.8))
    volume = torch.rand(4, 3, 5, dtype=DOUBLE, generator=generator)
    assert torch.equal(AffineResampling(volume.shape, affine, volume.shape, affine)(volume), volume)


def test_a_field_linear_in_space_stays_what_it_is(generator):
    """Values a + b . position are read right on any grid inside the source."""
    slope = torch.randn(3, dtype=DOUBLE, generator=generator)
    source = torch.diag(torch.tensor([0.5, 0.7, 0.9, 1.0], dtype=DOUBLE))
    target = torch.eye(4, dtype=DOUBLE)
    target[:3, :3] = 0.5 * torch.linalg.qr(torch.randn(3, 3, dtype=DOUBLE, generator=generator)).Q
    target[:3, 3] = torch.tensor([5.0, 5.0, 5.0])

    def field(shape, affine):
        zyx = torch.meshgrid(*(torch.arange(n, dtype=DOUBLE) for n in shape), indexing="ij")
        homogeneous = torch.stack([*reversed(zyx), torch.ones(shape, dtype=DOUBLE)], dim=-1)
        return 3.0 + (homogeneous @ affine.T)[..., :3] @ slope

    shape = (16, 20, 24)
    resampled = AffineResampling(shape, source, (4, 5, 3), target)(field(shape, source))
    torch.testing.assert_close(resampled, field((4, 5, 3), target))


def test_a_marked_voxel_stays_where_it_is(generator):
    """A turn by a quarter and a shift, worked out by hand: index (x, y) of the target is (y, 4 - x) of the source."""
    image = torch.zeros(5, 6, dtype=DOUBLE)
    image[3, 1] = 1.0
    quarter = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 4], [0, 0, 1, 0], [0, 0, 0, 1]])
    turned = AffineResampling((5, 6), np.eye(4), (6, 5), quarter)(image)
    assert turned.nonzero().tolist() == [[1, 1]]


def test_agrees_with_the_other_coarse_grids(generator):
    """On the grid of a decimation it is the decimation; on that of thick slices their centres."""
    affine = _affine(generator, (1.0, 1.2, 0.9))
    volume = torch.rand(7, 6, 8, dtype=DOUBLE, generator=generator)
    decimation = Decimation(volume.shape, (2, 1, 3))
    resampling = AffineResampling(volume.shape, affine, decimation.range.shape, decimated_affine(affine, decimation))
    torch.testing.assert_close(resampling(volume), decimation(volume))
    thick = SliceProfile(volume.shape, 0.9, 0.9, 1.8, "rect", first=0.9)
    resampling = AffineResampling(volume.shape, affine, thick.range.shape, thick.affine(affine))
    torch.testing.assert_close(resampling(volume), thick(volume))


def test_outside_is_zero_and_the_rim_falls_linearly():
    shifted = np.eye(4)
    shifted[0, 3] = -1.75
    row = AffineResampling((1, 3), np.eye(4), (1, 6), shifted)(torch.ones(1, 3, dtype=DOUBLE))
    np.testing.assert_allclose(row[0].numpy(), [0, 0.25, 1, 1, 0.75, 0], atol=1e-12)


def test_single_precision_keeps_its_type():
    halved = np.diag([0.5, 0.5, 1.0, 1.0])
    assert AffineResampling((3, 3), np.eye(4), (4, 4), halved)(torch.ones(2, 3, 3)).dtype == torch.float32


def _turned_out_of_plane(angle):
    cos, sin = math.cos(angle), math.sin(angle)
    return [[cos, 0, 0, 0], [0, 1, 0, 0], [sin, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        (((4, 4), np.eye(4), (4, 4, 4), np.eye(4)), ShapeError, r"two shapes \(y, x\) or two \(z, y, x\)"),
        (((4,), np.eye(4), (4,), np.eye(4)), ShapeError, "two shapes"),
        (((4, 4), np.eye(3), (4, 4), np.eye(4)), GeometryError, "4 x 4 source affine"),
        (
            ((4, 4), np.eye(4), (4, 4), np.diag([1.0, 0, 1, 1])),
            GeometryError,
            "target affine is not finite, or singular",
        ),
        (((4, 4), np.eye(4) * np.nan, (4, 4), np.eye(4)), GeometryError, "source affine is not finite"),
        (((4, 4), np.eye(4), (4, 4), _turned_out_of_plane(0.1)), GeometryError, "leaves the plane"),
        (((4, 4), np.eye(4), (4, 4), np.eye(4) + 100 * np.eye(4, k=3)), GeometryError, "do not overlap"),
    ],
)
def test_impossible_grids_are_refused(arguments, error, named):
    with pytest.raises(error, match=named):
        AffineResampling(*arguments)


@pytest.mark.parametrize("shape", [(70, 61), (17, 19, 15)])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE, torch.complex128])
def test_compiled_loops_and_corners_agree(shape, dtype, generator, monkeypatch):
    """On a turned and shifted grid, part of it beside the source, some voxels exactly on the source's."""
    pytest.importorskip("numba")
    target_shape = tuple(n + 3 for n in shape)
    turned = torch.eye(4, dtype=DOUBLE)
    turned[:2, :2] = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    turned[:2, 3] = torch.tensor([9.0, -7.0])
    if len(shape) == 3:
        turned[2, 2:] = torch.tensor([0.5, -1.0])
    resampling = AffineResampling(shape, torch.eye(4), target_shape, turned)
    x = torch.randn(2, 3, *shape, dtype=dtype, generator=generator)
    y = torch.randn(2, *target_shape, dtype=dtype, generator=generator)
    fast, back = resampling(x), resampling.H(y)
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    one, other = (resampling(x[:, 0]).conj() * y).sum(), (x[:, 0].conj() * back).sum()
    torch.testing.assert_close(one, other, rtol=1e-4 if dtype == torch.float32 else 1e-11, atol=1e-3)
    monkeypatch.setattr("medinr.operators.resolution.affine_resampling._SMALL", 10**9)
    torch.testing.assert_close(fast, resampling(x), **tolerance)
    torch.testing.assert_close(back, resampling.H(y), **tolerance)
    # A single image goes another way through the threads.
    torch.testing.assert_close(fast[0, 0], resampling(x[0, 0]), **tolerance)
    assert (fast == 0).any()


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own, in jvp
def test_compiled_loops_are_differentiated_by_their_adjoint(generator):
    pytest.importorskip("numba")
    shape = (80, 70)
    moved = np.eye(4)
    moved[:2, 3] = 0.3, 1.7
    resampling = AffineResampling(shape, np.eye(4), shape, moved)
    x = torch.randn(shape, dtype=DOUBLE, generator=generator).requires_grad_()
    y = torch.randn(shape, dtype=DOUBLE, generator=generator)
    (gradient,) = torch.autograd.grad(resampling(x), x, y)
    assert torch.equal(gradient, resampling.H(y))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x.detach(), y)
        tangent = torch.autograd.forward_ad.unpack_dual(resampling(dual)).tangent
    assert torch.equal(tangent, resampling(y))
    mapped = torch.func.vmap(resampling, in_dims=1)(torch.stack([x.detach(), y], dim=1))
    assert torch.equal(mapped[1], resampling(y))


@pytest.mark.parametrize("source", [(1, 9, 11), (6, 1, 7), (5, 8, 6), (9, 12)])
@pytest.mark.parametrize("kind", ["any", "in planes", "half a voxel on", "turned about"])
def test_compiled_loops_are_right_at_every_border(generator, monkeypatch, source, kind):
    pytest.importorskip("numba")
    moved = torch.eye(4, dtype=DOUBLE)
    axes = len(source)
    if kind == "any":
        moved[:axes, :axes] += 0.2 * torch.randn(axes, axes, dtype=DOUBLE, generator=generator)
        moved[:axes, 3] = torch.rand(axes, dtype=DOUBLE, generator=generator) - 0.5
    elif kind == "in planes":
        moved[0, 0], moved[1, 1], moved[:2, 3] = 0.7, 1.4, torch.tensor([-0.9, 0.2])
    elif kind == "half a voxel on":
        moved[:axes, 3] = 0.5
    else:
        moved[0, 0], moved[0, 3] = -1.0, source[-1] - 1.0
    target = tuple(n + 2 for n in source)
    resampling = AffineResampling(source, torch.eye(4), target, moved)
    x = torch.randn(2, *source, dtype=DOUBLE, generator=generator)
    y = torch.randn(2, *target, dtype=DOUBLE, generator=generator)
    expected, back = resampling(x), resampling.H(y)
    monkeypatch.setattr("medinr.operators.resolution.affine_resampling._SMALL", 0)
    torch.testing.assert_close(resampling(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(resampling.H(y), back, rtol=1e-12, atol=1e-12)
