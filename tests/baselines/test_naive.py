import math

import numpy as np
import pytest
import torch

from medinr.baselines import interpolate, naive
from medinr.errors import ConfigError, GeometryError
from medinr.operators import (
    Decimation,
    Identity,
    ParallelBeam,
    birdcage_maps,
    downsampling,
    fbp,
    undersampled_fourier,
)


def _ramp(shape: tuple[int, ...]) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in shape], indexing="ij")
    return sum((k + 1.0) * axis for k, axis in enumerate(axes)) + 3.0


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
    fine = naive(
        "superres_mr",
        coarse,
        decimation,
        factor=decimation.factor,
        offset=[float(o) for o in decimation.offset],
    )
    assert fine.shape == (2, 3, 12, 16)
    assert fine.dtype == torch.complex64
    torch.testing.assert_close(decimation(fine), coarse, atol=1e-5, rtol=1e-4)


def test_each_task_has_its_own_way() -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn((8, 9), generator=generator)
    assert naive("denoise_mr", noisy, Identity((8, 9))) is noisy
    maps = birdcage_maps((8, 9), 4, dtype=torch.complex128)
    full = undersampled_fourier((8, 9), list(range(8)), maps)
    image = noisy.to(torch.complex128)
    torch.testing.assert_close(naive("kspace_mr_multi", full(image), full), image)
    torch.testing.assert_close(naive("prior_exam", full(image), full), image)
    projector = ParallelBeam((8, 9), (1.0, 1.0), np.linspace(0, math.pi, 20, endpoint=False).tolist())
    sinogram = projector(noisy)
    assert torch.equal(naive("ct_lowdose", sinogram, projector), fbp(sinogram, projector, "ramp"))
    assert torch.equal(naive("ct", sinogram, projector, filter="hann"), fbp(sinogram, projector, "hann"))


def test_what_is_missing_is_named() -> None:
    operator = downsampling((8, 8), (1.0, 1.0), 2)
    with pytest.raises(ConfigError, match="'segment'"):
        naive("segment", torch.zeros(4, 4), operator)
    with pytest.raises(GeometryError, match="one factor and one offset per axis"):
        naive("superres_mr", torch.zeros(4, 4), operator)
    with pytest.raises(GeometryError, match="ParallelBeam"):
        naive("ct_sparse", torch.zeros(4, 4), operator)
