"""Direct images: what there is without any model."""

import math

import numpy as np
import pytest
import torch

from medinr.acquisition.coarse_image import interpolate
from medinr.acquisition.ways import acquisition_of
from medinr.errors import ConfigError, GeometryError
from medinr.measurement import Measurement
from medinr.operators import (
    Decimation,
    Identity,
    ParallelBeam,
    birdcage_maps,
    cartesian_mask,
    downsampling,
    fbp,
    undersampled_fourier,
)

SHAPE = (8, 9)


def _ramp(shape: tuple[int, ...]) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in shape], indexing="ij")
    return sum((k + 1.0) * axis for k, axis in enumerate(axes)) + 3.0


def _measured(task: str, data: torch.Tensor, arrays: dict | None = None, **facts: object) -> Measurement:
    """One slice of 8 x 9 pixels, measured in a way."""
    modality, unit = ("CT", "1/mm") if task == "ct" else ("MR", "a.u.")
    return Measurement(task, data.unsqueeze(0), facts, np.eye(4), SHAPE, modality, unit, arrays or {})


@pytest.mark.parametrize("factor", [(2, 2), (4, 3), (1, 4)])
def test_interpolation_leaves_a_ramp_where_it_is(factor) -> None:
    fine = _ramp((37, 41))
    decimation = Decimation((37, 41), factor)
    found = interpolate(decimation(fine), (37, 41), decimation.factor, decimation.offset)
    inner = (slice(14, -14), slice(14, -14))
    torch.testing.assert_close(found[inner], fine[inner], atol=2e-2, rtol=0)


def test_interpolation_passes_through_the_samples_batched_and_complex() -> None:
    generator = torch.Generator().manual_seed(0)
    decimation = Decimation((3, 12, 16), (1, 4, 4))
    coarse = torch.randn((2, *decimation.range.shape), generator=generator, dtype=torch.complex64)
    fine = interpolate(coarse, (3, 12, 16), decimation.factor, [float(o) for o in decimation.offset])
    assert fine.shape == (2, 3, 12, 16)
    assert fine.dtype == torch.complex64
    torch.testing.assert_close(decimation(fine), coarse, atol=1e-5, rtol=1e-4)


def test_each_way_of_measuring_has_its_own() -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(SHAPE, generator=generator)
    assert acquisition_of(_measured("denoise", noisy)).direct(noisy, Identity(SHAPE)) is noisy
    maps, image = birdcage_maps(SHAPE, 4, dtype=torch.complex128), noisy.to(torch.complex128)
    full = undersampled_fourier(SHAPE, list(range(8)), maps)
    scan = acquisition_of(_measured("kspace", full(image), {"coil_maps": maps}))
    torch.testing.assert_close(scan.direct(full(image), full), image)
    projector = ParallelBeam(SHAPE, (1.0, 1.0), np.linspace(0, math.pi, 20, endpoint=False).tolist())
    sinogram = projector(noisy)
    views = acquisition_of(_measured("ct", sinogram))
    assert torch.equal(views.direct(sinogram, projector), fbp(sinogram, projector, "ramp"))
    # An operator that is no projector has no filtered back-projection, but an adjoint.
    composed = projector @ Identity(SHAPE)
    assert torch.equal(views.direct(sinogram, composed), projector.H(sinogram))
    coarse = downsampling(SHAPE, (1.0, 1.0), (2, 1))
    found = acquisition_of(_measured("superres", coarse(noisy), factor=[2, 1]))
    grid = Decimation(SHAPE, (2, 1))
    wanted = interpolate(coarse(noisy), SHAPE, grid.factor, grid.offset)
    assert torch.equal(found.direct(coarse(noisy), found.operator()), wanted)


def test_k_space_that_is_denser_in_the_middle_is_weighed() -> None:
    data, density = torch.randn(4, dtype=torch.complex64), torch.tensor([1.0, 2.0, 3.0, 4.0])
    scan = acquisition_of(_measured("kspace", data, {"density": density.double()}))
    assert torch.equal(scan.direct(data, Identity((4,))), data * density)


def test_lines_left_out_are_zero() -> None:
    image = torch.randn(SHAPE, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    mask = cartesian_mask(8, 2, 0.25, "equispaced", 0)
    measured = undersampled_fourier(SHAPE, mask)
    scan = acquisition_of(_measured("kspace", measured(image), mask=mask.to_dict(), noise="gaussian", sigma=0.1))
    found = scan.direct(scan.measurement.data[0], scan.operator())
    full = undersampled_fourier(SHAPE, list(range(8)))
    energy = full(found).abs().square().sum(dim=1)
    lines = torch.tensor([number in mask.lines for number in range(8)])
    assert float(energy[~lines].max()) < 1e-10 * float(energy[lines].min())
    torch.testing.assert_close(full(found)[lines], measured(image))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="'segment'"):
        acquisition_of(_measured("segment", torch.zeros(4, 4)))
    with pytest.raises(GeometryError, match="one factor and one offset per axis"):
        interpolate(torch.zeros(4, 4), SHAPE, (2,), (0.5, 0.5))
    with pytest.raises(GeometryError, match="one factor and one offset per axis"):
        interpolate(torch.zeros(4, 4), SHAPE, (2, 2), (0.5,))
