import numpy as np
import pytest
import sigpy.mri
import torch

from medinr.errors import ConfigError, ShapeError
from medinr.operators import Coils, SoftCoils, birdcage_maps


@pytest.mark.parametrize("shape", [(8, 8), (9, 6)])
def test_birdcage_agrees_with_sigpy(shape):
    ours = birdcage_maps(shape, 5, dtype=torch.complex128)
    theirs = sigpy.mri.birdcage_maps((5, *shape), r=1.5, dtype=np.complex128)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)


def test_birdcage_maps_are_normalised():
    maps = birdcage_maps((12, 10), 6)
    assert maps.dtype == torch.complex64
    torch.testing.assert_close(maps.abs().square().sum(0), torch.ones(12, 10))


def test_normalised_coils_keep_the_image():
    coils = Coils(birdcage_maps((6, 5), 4, dtype=torch.complex128))
    x = torch.randn(2, 6, 5, dtype=torch.complex128)
    torch.testing.assert_close(coils.H(coils(x)), x)
    assert coils.norm() == pytest.approx(1.0)


def test_real_maps_are_refused():
    with pytest.raises(ShapeError, match="complex maps"):
        Coils(torch.ones(3, 4, 4))


@pytest.mark.parametrize(("coils", "radius"), [(0, 1.5), (4, 1.0), (4, float("nan"))])
def test_impossible_rings_are_refused(coils, radius):
    with pytest.raises(ConfigError):
        birdcage_maps((4, 4), coils, radius)


def test_one_set_of_soft_maps_is_sense():
    maps = birdcage_maps((6, 5), 4, dtype=torch.complex128)
    x = torch.randn(2, 6, 5, dtype=torch.complex128)
    torch.testing.assert_close(SoftCoils(maps[None])(x[:, None]), Coils(maps)(x))


def test_orthogonal_sets_are_told_apart():
    """Coils that see set 0 only, and coils that see set 1 only."""
    maps = torch.zeros(2, 4, 3, 3, dtype=torch.complex128)
    maps[0, :2] = maps[1, 2:] = 2**-0.5
    coils, x = SoftCoils(maps), torch.randn(5, 2, 3, 3, dtype=torch.complex128)
    torch.testing.assert_close(coils.H(coils(x)), x)


def test_soft_maps_want_an_axis_of_sets():
    with pytest.raises(ShapeError, match=r"complex maps \(set, coil, y, x\)"):
        SoftCoils(torch.ones(4, 4, dtype=torch.complex64))
