import pytest
import torch

from medinr.baselines.sense import l1_wavelet, sense_cg
from medinr.errors import ConfigError, ShapeError
from medinr.operators import birdcage_maps, undersampled_fourier

SHAPE = (32, 32)


@pytest.fixture(scope="module")
def scan():
    """Noiseless k-space of a bump behind four coils, every other line missing outside the centre."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij")
    image = torch.polar(torch.exp(-6 * (x**2 + y**2)), 0.7 * x)
    maps = birdcage_maps(SHAPE, 4)
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[::2] = mask[12:20] = True
    full = undersampled_fourier(SHAPE, list(range(32)), maps)(image)
    return image, full * mask, mask, maps


@pytest.mark.parametrize("solve", [sense_cg, l1_wavelet])
def test_coils_make_up_for_missing_lines(scan, solve):
    image, kspace, mask, maps = scan
    found = solve(kspace, mask, maps, 1e-6, 200)
    assert float(torch.linalg.vector_norm(found - image) / torch.linalg.vector_norm(image)) < 0.02


def test_sense_solves_its_normal_equations(scan):
    _, kspace, mask, maps = scan
    found = sense_cg(kspace, mask, maps, 0.3, 300)
    operator = undersampled_fourier(SHAPE, mask, maps)
    left = operator.normal(found) + 0.3 * found
    right = operator.H(kspace[:, mask])
    torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def test_a_larger_weight_shrinks_the_image(scan):
    _, kspace, mask, maps = scan
    sizes = [float(l1_wavelet(kspace, mask, maps, weight).abs().sum()) for weight in (1e-4, 1e-2, 1e-1)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_what_does_not_fit_is_refused(scan):
    _, kspace, mask, maps = scan
    with pytest.raises(ShapeError, match="k-space and maps"):
        sense_cg(kspace[:3], mask, maps, 0.0)
    with pytest.raises(ConfigError, match="0 or more"):
        l1_wavelet(kspace, mask, maps, -1.0)
