from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from medinr.errors import ConfigError, GeometryError, IntensityError, ShapeError
from medinr.models.checkpoint import load_model
from medinr.noise.scan_noise import ScanNoise
from medinr.operators import ScanSampling
from medinr.solve.sharpen_consistency import ExactConsistency
from medinr.solve.sharpen_grid import TargetGrid, grid_for
from medinr.solve.sharpen_measurement import thickness_of
from medinr.solve.sharpen_planes import directions
from medinr.solve.sharpen_scan import sharpen_scan
from medinr.solve.sharpen_settings import SharpenSettings
from medinr.volume import Provenance, ScanFacts, Volume

FEW = SharpenSettings(iterations=4)
SIGMA = 4.0
NOISE = ScanNoise("rician", SIGMA)


@pytest.fixture(scope="module")
def prior():
    return load_model("brain_mr").prior


def _affine(spacing=(1.0, 1.0, 1.0)):
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(spacing)
    affine[:3, 3] = (12.0, -30.0, 44.0)
    return affine


@pytest.fixture(scope="module")
def fine():
    """Nested ellipsoids with a tilted plate, shape (z, y, x), 1 mm."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in (24, 28, 26)], indexing="ij")
    body = 600.0 * (x**2 + y**2 + z**2 < 0.85) + 350.0 * ((x - 0.2) ** 2 + 1.5 * y**2 + 2 * (z + 0.1) ** 2 < 0.3)
    body -= 300.0 * ((np.abs(0.6 * x + 0.3 * y + z - 0.35) < 0.12) & (body > 0))
    return Volume(ndimage.gaussian_filter(body, 0.6).astype(np.float32), _affine(), "MR")


def _coarser(fine, shape, thickness=None, sigma=SIGMA):
    """A scan of the fine volume over the same field of view, and its noise."""
    ratio = np.array([a / b for a, b in zip(fine.shape, shape, strict=True)])[::-1]
    step = np.eye(4)
    step[:3, :3], step[:3, 3] = np.diag(ratio), 0.5 * (ratio - 1)
    affine = fine.affine @ step
    scan = ScanSampling(fine.shape, fine.affine, shape, affine, (thickness, None, None))(torch.from_numpy(fine.array))
    noise = sigma * torch.randn(scan.shape, generator=torch.Generator().manual_seed(0))
    provenance = Provenance("dicom", facts=ScanFacts(thickness=thickness))
    return Volume((scan + noise).abs().numpy(), affine, "MR", provenance=provenance)


def _error(volume, fine):
    inside = fine.array > 100
    return float(np.sqrt(np.mean(np.square(volume.array - fine.array)[inside])))


def _spline(scan, fine):
    index = np.linalg.solve(scan.affine, fine.affine)
    steps, first = np.diagonal(index)[2::-1].copy(), index[2::-1, 3].copy()
    values = ndimage.affine_transform(scan.array, steps, first, fine.shape, order=3, mode="nearest")
    return fine.with_array(values.astype(np.float32))


@pytest.mark.parametrize(
    ("shape", "thickness"),
    [((6, 28, 26), 4.0), ((6, 28, 26), 3.0), ((6, 28, 26), 5.0), ((7, 28, 26), None), ((24, 14, 13), None)],
    ids=["thick", "gaps", "overlap", "ratio-not-whole", "in-plane"],
)
def test_it_is_nearer_to_the_truth_than_splines_and_explains_the_scan(fine, prior, shape, thickness):
    scan = _coarser(fine, shape, thickness)
    grid = grid_for(scan, spacing=1.0)
    assert grid.shape == fine.shape
    found = sharpen_scan(scan, grid, NOISE, prior, settings=SharpenSettings(iterations=8))
    assert _error(found.volume, fine) < 0.9 * _error(_spline(scan, fine), fine)
    assert found.residual < 1.05
    assert found.reproduced.shape == scan.shape
    assert np.sqrt(np.mean(np.square(found.reproduced - scan.array))) == pytest.approx(
        found.residual * found.tolerance, rel=1e-5
    )
    assert found.volume.array.dtype == np.float32


def test_a_landmark_stays_where_it_is_in_mm(prior):
    """The centre of mass of a blob, in RAS mm, in the scan and in the result."""
    affine = _affine((1.0, 1.0, 3.0))
    z, y, x = np.meshgrid(*[np.arange(n, dtype=float) for n in (13, 26, 28)], indexing="ij")
    blob = np.exp(-0.5 * (((x - 13.3) / 3) ** 2 + ((y - 11.8) / 3) ** 2 + ((z - 6.2) / 1.2) ** 2))
    scan = Volume((900 * blob).astype(np.float32), affine, "MR")
    grid = grid_for(scan, factor=(1, 1, 3))
    found = sharpen_scan(scan, grid, ScanNoise("rician", 1.0), prior, settings=FEW).volume

    def centre(volume):
        weights = np.where(volume.array > 45, volume.array, 0).astype(float)
        index = np.array(ndimage.center_of_mass(weights))[::-1]
        return volume.affine[:3, :3] @ index + volume.affine[:3, 3]

    assert np.linalg.norm(centre(found) - centre(scan)) < 0.1
    # The grids themselves agree exactly: the middle of three new slices is the old one.
    for index in ((0, 0, 0), (7, 3, 5), (27, 25, 12)):
        old = affine @ (*index, 1)
        new = found.affine @ (index[0], index[1], 3 * index[2] + 1, 1)
        np.testing.assert_allclose(new, old, atol=1e-6)


@pytest.mark.parametrize("axes", [(2, 1, 0), (1, 0, 2), (0, 2, 1)])
def test_thick_slices_along_any_array_axis_are_found(fine, prior, axes):
    """Files that were reformatted: the same scan with its axes in another order gives the same result."""
    scan = _coarser(fine, (6, 28, 26), 4.0)
    turned_affine = scan.affine.copy()
    turned_affine[:3, :3] = scan.affine[:3, [2 - axis for axis in axes][::-1]]
    turned = replace(scan, array=np.ascontiguousarray(scan.array.transpose(axes)), affine=turned_affine)
    grid = grid_for(turned, spacing=1.0)
    found = sharpen_scan(turned, grid, NOISE, prior, thickness=4.0, settings=FEW)
    assert found.slice_axis == 2 - axes.index(0)
    expected = sharpen_scan(scan, grid_for(scan, spacing=1.0), NOISE, prior, thickness=4.0, settings=FEW)
    back = found.volume.array.transpose(np.argsort(axes))
    assert _error(expected.volume.with_array(back), expected.volume) < 0.03 * float(fine.array.max())


def test_complex_values_and_hounsfield_units_are_taken(fine, prior):
    scan = _coarser(fine, (6, 28, 26), 4.0)
    grid = grid_for(scan, spacing=1.0)
    real = sharpen_scan(scan, grid, NOISE, prior, settings=FEW)
    phase = np.exp(0.5j)
    turned = sharpen_scan(
        replace(scan, array=(scan.array * phase).astype(np.complex64)), grid, NOISE, prior, settings=FEW
    )
    assert turned.volume.array.dtype == np.complex64
    assert np.abs(turned.volume.array - real.volume.array * phase).mean() < 0.02 * fine.array.max()
    hounsfield = replace(scan, array=scan.array - 1000, modality="CT", unit="HU")
    found = sharpen_scan(hounsfield, grid, NOISE, prior, settings=FEW)
    np.testing.assert_allclose(found.volume.array, real.volume.array - 1000, atol=0.5)
    np.testing.assert_allclose(found.reproduced, real.reproduced - 1000, atol=0.5)


def test_every_iteration_is_told_and_settings_are_used(fine, prior):
    scan, told = _coarser(fine, (6, 28, 26), 4.0), []
    grid = grid_for(scan, spacing=1.0)
    first = sharpen_scan(
        scan, grid, NOISE, prior, settings=FEW, progress=lambda done, planned: told.append((done, planned))
    )
    assert told == [(done, 4) for done in range(1, 5)]
    rect = sharpen_scan(scan, grid, NOISE, prior, settings=replace(FEW, profile="rect"))
    assert np.abs(rect.volume.array - first.volume.array).max() > 1
    thin = sharpen_scan(scan, grid, NOISE, prior, thickness=2.0, settings=FEW)
    assert (first.thickness, thin.thickness) == (4.0, 2.0)
    assert np.abs(thin.volume.array - first.volume.array).max() > 1


def test_the_result_says_what_it_is(fine, prior):
    scan = _coarser(fine, (6, 28, 26), 4.0)
    found = sharpen_scan(scan, grid_for(scan, spacing=1.0), NOISE, prior, settings=FEW).volume
    assert found.provenance.facts.thickness is None
    assert not found.provenance.in_slice_order
    assert "super-resolved from 1.00 x 1.00 x 4.00 mm to 1.00 x 1.00 x 1.00 mm" in found.provenance.notes[-1]


def test_thickness_is_told_or_read_or_the_distance(fine):
    scan = _coarser(fine, (6, 28, 26), 3.0)
    nothing = replace(scan, provenance=Provenance())
    assert thickness_of(scan, 2) == 3.0
    assert thickness_of(scan, 2, 2.5) == 2.5
    assert thickness_of(nothing, 2) == pytest.approx(4.0)
    # A header speaks of slices along z.
    assert thickness_of(scan, 1) == pytest.approx(1.0)


@pytest.mark.parametrize("thickness", [0.0, 0.39, -4.0, float("nan"), 41.0])
def test_a_thickness_that_cannot_be_right_is_refused(fine, prior, thickness):
    scan = _coarser(fine, (6, 28, 26))
    with pytest.raises(GeometryError, match=r"slice thickness of .* was given, and the slices are 4 mm apart"):
        sharpen_scan(scan, grid_for(scan, spacing=1.0), NOISE, prior, thickness=thickness)
    header = replace(scan, provenance=Provenance(facts=ScanFacts(thickness=0.2)))
    with pytest.raises(GeometryError, match="is in the header"):
        sharpen_scan(header, grid_for(scan, spacing=1.0), NOISE, prior)


def test_one_slice_is_sharpened_within_but_not_across(fine, prior):
    scan = Volume(fine.array[12:13], _affine((1.0, 1.0, 4.0)), "MR")
    with pytest.raises(ShapeError, match="one slice"):
        sharpen_scan(scan, grid_for(scan, spacing=1.0), NOISE, prior)
    within = sharpen_scan(scan, grid_for(scan, factor=(2, 2, 1)), NOISE, prior, settings=FEW)
    assert within.volume.shape == (1, 56, 52)
    assert within.directions == (0,)


@pytest.mark.parametrize("level", [0.0, 700.0])
def test_a_blank_scan_is_refused(prior, level):
    scan = Volume(np.full((5, 8, 8), level, np.float32), _affine((1.0, 1.0, 3.0)), "MR")
    with pytest.raises(IntensityError, match="nothing to sharpen"):
        sharpen_scan(scan, grid_for(scan, spacing=1.0), NOISE, prior)


def test_values_that_are_no_numbers_and_grids_of_other_scans_are_refused(fine, prior):
    scan = _coarser(fine, (6, 28, 26))
    grid = grid_for(scan, spacing=1.0)
    broken = scan.array.copy()
    broken[2, 3, 4] = np.nan
    with pytest.raises(IntensityError, match="slice 2: 1 of"):
        sharpen_scan(scan.with_array(broken), grid, NOISE, prior)
    with pytest.raises(GeometryError, match="covers the scan"):
        sharpen_scan(scan, TargetGrid((8, 28, 26), grid.affine), NOISE, prior)
    with pytest.raises(GeometryError, match="nothing to sharpen"):
        sharpen_scan(scan, TargetGrid(scan.shape, scan.affine), NOISE, prior)


@pytest.mark.parametrize(
    "changed",
    [{"iterations": 0}, {"sigma_start": 0.0}, {"profile_width": -1.0}, {"profile": "sinc"}, {"precision": "half"}],
)
def test_wrong_settings_are_refused(changed):
    with pytest.raises(ConfigError, match="Sharpening wants"):
        SharpenSettings(**changed)


def test_noisy_scans_trust_the_denoiser_more():
    settings = SharpenSettings(regularisation_weight=0.2, noisy_weight=1.0)
    assert [settings.weight(sigma) for sigma in (0.0, 0.03, 0.04, 0.05, 0.2)] == pytest.approx([0.2, 0.2, 0.6, 1, 1])
    assert settings.levels(0.01)[0] == settings.sigma_start
    assert settings.levels(0.01)[-1] == pytest.approx(0.01 * settings.sigma_end_factor)


def test_planes_are_those_with_new_voxels_and_square_pixels():
    assert directions((1.0, 1.0, 1.0), (True, False, False)) == (1, 2)
    assert directions((0.9, 0.9, 1.0), (True, True, True)) == (1, 2, 0)
    assert directions((0.5, 0.5, 3.0), (False, True, True)) == (0,)
    # Slices of 3 mm that were cut across: only planes without the 3 mm have square pixels.
    assert directions((3.0, 0.9, 0.9), (True, False, False)) == (2,)
    assert directions((1.0, 2.0, 4.0), (True, False, False)) == (2,)


def _consistency(sigma=0.05, weight=0.3):
    step = torch.diag(torch.tensor([1.5, 1.0, 2.0, 1.0], dtype=torch.float64))
    step[0, 3], step[2, 3] = 0.25, 0.5
    operator = ScanSampling((6, 3, 6), torch.eye(4), (3, 3, 4), step)
    generator = torch.Generator().manual_seed(1)
    scan = torch.randn(3, 3, 4, generator=generator, dtype=torch.float64)
    image = torch.randn(6, 3, 6, generator=generator, dtype=torch.float64)
    return operator, scan, image, ExactConsistency(operator, scan, sigma, weight)


def test_data_consistency_is_the_minimiser(dense):
    operator, scan, image, consistency = _consistency()
    found = consistency.solve(image, 0.2).requires_grad_()
    cost = (operator(found) - scan).square().sum() / (2 * 0.05**2) + 0.3 * (found - image).square().sum() / (2 * 0.2**2)
    (slope,) = torch.autograd.grad(cost, found)
    assert float(slope.abs().max()) < 1e-9


def test_the_last_step_agrees_to_within_the_noise_and_no_closer():
    operator, scan, image, consistency = _consistency(sigma=0.2)
    agreed = consistency.agree(image)
    assert float((operator(agreed) - scan).square().mean().sqrt()) == pytest.approx(0.2, rel=1e-6)
    assert consistency.agree(agreed * 1.0) is not None
    exact = _consistency(sigma=10.0)[3]
    assert exact.agree(image) is image
