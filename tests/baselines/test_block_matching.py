import importlib.util

import pytest
import torch

from medinr.baselines.block_matching import block_matching
from medinr.errors import LibraryError
from medinr.operators import Rician

INSTALLED = importlib.util.find_spec("bm3d") is not None
NOISE = Rician(0.1)


def _disc(size: int) -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for _ in range(2)), indexing="ij")
    return ((x**2 + y**2) < 0.6).float() + 0.5 * (((x - 0.2) ** 2 + y**2) < 0.1).float()


def _psnr(image: torch.Tensor, reference: torch.Tensor) -> float:
    return float(-10 * (image - reference).square().mean().log10())


@pytest.mark.skipif(not INSTALLED, reason="needs the package bm3d (free for non-commercial use only)")
def test_pieces_are_denoised_at_every_scale_and_air_is_dark() -> None:
    reference = _disc(64)
    noisy = NOISE.sample(reference, torch.Generator().manual_seed(0))
    found = block_matching(noisy, NOISE, 1.0)
    assert found.dtype == torch.float32
    assert float(found.min()) >= 0
    # 28.5 against 18 dB where this was written.
    assert _psnr(found, reference) > _psnr(noisy, reference) + 8
    assert float(noisy[:4, :4].mean()) == pytest.approx(0.125, abs=0.03)
    assert float(found[:4, :4].mean()) < 0.05
    brighter = block_matching(500 * noisy, Rician(50.0), 1.0)
    torch.testing.assert_close(brighter / 500, found, atol=0.01, rtol=0)


@pytest.mark.skipif(
    importlib.util.find_spec("bm4d") is None, reason="needs the package bm4d (free for non-commercial use only)"
)
def test_a_stack_gains_by_its_neighbours() -> None:
    reference = _disc(48).expand(9, -1, -1)
    noisy = NOISE.sample(reference, torch.Generator().manual_seed(0))
    found = block_matching(noisy, NOISE, 1.0)
    assert found.shape == reference.shape
    assert float(found.min()) >= 0
    # 33.4 against 18.2 dB where this was written; the slice alone 26.0.
    assert _psnr(found[4], reference[4]) > _psnr(noisy[4], reference[4]) + 13


@pytest.mark.skipif(INSTALLED, reason="the package bm3d is installed")
def test_without_its_package_it_says_which() -> None:
    with pytest.raises(LibraryError, match=r"BM3D .*non-commercial.*medinr\[baselines-noncommercial\]"):
        block_matching(torch.ones(8, 8), NOISE, 1.0)
