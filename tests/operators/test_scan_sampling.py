import math

import numpy as np
import pytest
import torch

from medinr.errors import ConfigError, GeometryError, ShapeError
from medinr.operators import ScanSampling, SliceProfile, operator_report

DOUBLE = torch.float64


def _grid(shape, spacing, new_shape, origin=(10.0, -20.0, 30.0), shift=0.0):
    """Oblique affine of a grid and of another over the same middle; shapes and spacings along (z, y, x)."""
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(3))).Q
    ratio = torch.tensor([a / b for a, b in zip(shape, new_shape, strict=True)], dtype=DOUBLE).flip(0)
    fine = torch.eye(4, dtype=DOUBLE)
    fine[:3, :3] = turn * torch.tensor(spacing[::-1], dtype=DOUBLE)
    fine[:3, 3] = torch.tensor(origin)
    step = torch.eye(4, dtype=DOUBLE)
    step[:3, :3] = ratio.diag()
    step[:3, 3] = 0.5 * (ratio - 1) + shift
    return fine, fine @ step


@pytest.mark.parametrize("profile", ["gaussian", "rect"])
@pytest.mark.parametrize("coarse", [(3, 5, 6), (3, 4, 2), (12, 5, 4), (5, 2, 5)])
def test_a_constant_stays_constant(coarse, profile):
    fine, affine = _grid((12, 5, 6), (1.0, 0.9, 0.8), coarse)
    scan = ScanSampling((12, 5, 6), fine, coarse, affine, profile=profile)
    torch.testing.assert_close(scan(torch.full((12, 5, 6), 3.5, dtype=DOUBLE)), torch.full(coarse, 3.5, dtype=DOUBLE))


@pytest.mark.parametrize("thickness", [2.5, 3.5, 6.0])
def test_a_ramp_keeps_its_value_at_every_place_in_space(thickness):
    """Away from the borders, for gap, ratio that is no whole number, and overlap."""
    shape, coarse = (60, 4, 40), (17, 4, 13)
    fine, affine = _grid(shape, (1.0, 2.0, 0.7), coarse)
    weights = torch.tensor([0.3, -1.1, 0.7], dtype=DOUBLE)

    def ramp(sizes, at):
        index = torch.cartesian_prod(*[torch.arange(n, dtype=DOUBLE) for n in sizes]).flip(1)
        return ((index @ at[:3, :3].T + at[:3, 3]) @ weights).reshape(sizes)

    scan = ScanSampling(shape, fine, coarse, affine, (thickness, None, None))
    measured, expected = scan(ramp(shape, fine)), ramp(coarse, affine)
    torch.testing.assert_close(measured[4:-4, :, 3:-3], expected[4:-4, :, 3:-3], rtol=0, atol=3e-5)


def test_across_slices_it_is_the_slice_profile(generator):
    fine, affine = _grid((20, 3, 4), (1.0, 1.0, 1.0), (4, 3, 4))
    x = torch.rand(20, 3, 4, dtype=DOUBLE, generator=generator)
    expected = SliceProfile((20, 3, 4), 1.0, 4.0, 5.0, slices=4)(x)
    torch.testing.assert_close(ScanSampling((20, 3, 4), fine, (4, 3, 4), affine, (4.0, None, None))(x), expected)


def test_a_rect_without_gap_is_the_mean_of_its_voxels(generator):
    fine, affine = _grid((6, 4, 9), (1.0, 1.0, 1.0), (3, 2, 3))
    x = torch.rand(6, 4, 9, dtype=DOUBLE, generator=generator)
    mean = x.reshape(3, 2, 2, 2, 3, 3).mean((1, 3, 5))
    torch.testing.assert_close(ScanSampling((6, 4, 9), fine, (3, 2, 3), affine, profile="rect")(x), mean)


def test_axes_with_the_same_voxels_are_left_alone(generator):
    fine, affine = _grid((8, 5, 6), (1.0, 1.0, 1.0), (2, 5, 6))
    scan = ScanSampling((8, 5, 6), fine, (2, 5, 6), affine)
    assert scan.measured == (True, False, False)
    bright = torch.zeros(8, 5, 6, dtype=DOUBLE)
    bright[:, 2, 3] = 1
    assert torch.equal(scan(bright).nonzero()[:, 1:].unique(dim=0), torch.tensor([[2, 3]]))


def test_a_slice_placed_off_the_middle_is_found_there():
    fine, affine = _grid((12, 2, 2), (1.0, 1.0, 1.0), (3, 2, 2), shift=torch.tensor([0.0, 0.0, 1.0], dtype=DOUBLE))
    bright = torch.zeros(12, 2, 2, dtype=DOUBLE)
    bright[5:9] = 1
    # Slices of 4 mm begin at voxels 1, 5 and 9; at the rim the volume is continued by reflection.
    measured = ScanSampling((12, 2, 2), fine, (3, 2, 2), affine, profile="rect")(bright)[:, 0, 0]
    np.testing.assert_allclose(measured.numpy(), [0, 1, 0], atol=1e-12)


def test_it_is_adjoint_to_its_adjoint():
    fine, affine = _grid((14, 9, 8), (0.9, 0.9, 0.9), (5, 4, 8))
    report = operator_report(ScanSampling((14, 9, 8), fine, (5, 4, 8), affine, (2.0, None, None)))
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("changed", "error", "named"),
    [
        ({"fine_shape": (4, 4)}, ShapeError, r"\(z, y, x\) of the fine volume; got \(4, 4\)"),
        ({"shape": (0, 4, 4)}, ShapeError, "of the scan"),
        ({"widths": (1.0, 1.0)}, ConfigError, "three widths"),
        ({"widths": (0.0, None, None)}, GeometryError, "positive width along z in mm; got 0"),
        ({"widths": (math.nan, None, None)}, GeometryError, "positive width along z"),
        ({"profile": "sinc"}, ConfigError, "'gaussian', 'rect' or"),
        ({"affine": torch.eye(3)}, GeometryError, "4 x 4"),
        ({"affine": torch.diag(torch.tensor([1.0, 1.0, -4.0, 1.0]))}, GeometryError, "same order and direction"),
        ({"affine": torch.diag(torch.tensor([1.0, 1.0, 9.0, 1.0]))}, GeometryError, "Along z .* covers the scan"),
    ],
)
def test_what_does_not_fit_is_refused(changed, error, named):
    affine = torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0]))
    affine[2, 3] = 1.5
    given = {"fine_shape": (8, 4, 4), "fine_affine": torch.eye(4), "shape": (2, 4, 4), "affine": affine}
    with pytest.raises(error, match=named):
        ScanSampling(**(given | {"profile": "gaussian"} | changed))


def test_tilted_axes_are_refused():
    tilted = torch.eye(4)
    tilted[0, 1] = 0.01
    with pytest.raises(GeometryError, match="along the axes of the scan"):
        ScanSampling((8, 8, 8), torch.eye(4), (4, 4, 4), tilted)
