"""The noise of k-space by its outermost samples, against a level that was told."""

import pytest
import torch

from medinr.noise.outer_kspace import believed_sigma

SHAPE = (3, 40, 128)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kspace(sigma: float, edge: float, seed: int = 0) -> torch.Tensor:
    """Signal that falls with the square of the distance, ``edge`` at the edge, and noise."""
    distance = ((torch.arange(SHAPE[-1]) - SHAPE[-1] // 2).abs() / (SHAPE[-1] / 2)).clamp_min(0.01)
    random = torch.randn((2, *SHAPE, 2), generator=seeded(seed))
    signal, noise = torch.view_as_complex(random[0]), torch.view_as_complex(random[1])
    return edge / distance**2 * signal + sigma * noise


@pytest.mark.parametrize("factor", [1.5, 1 / 1.5, 4.0, 0.1])
def test_a_wrong_level_gives_way_where_the_edge_is_noise(factor):
    assert believed_sigma(0.3 * factor, kspace(0.3, 0.01)) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("factor", [1.0, 1.1, 0.9])
def test_a_right_level_is_believed(factor):
    assert believed_sigma(0.3 * factor, kspace(0.3, 0.01)) == 0.3 * factor


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.1])
def test_where_the_edge_has_signal_what_was_told_is_believed(factor):
    assert believed_sigma(0.3 * factor, kspace(0.3, 1.0)) == 0.3 * factor


def test_a_level_above_everything_at_the_edge_is_too_high():
    assert believed_sigma(5.0, kspace(0.3, 1.0)) == pytest.approx(1.1, rel=0.15)


def test_lines_that_were_not_measured_do_not_count():
    data = kspace(0.3, 0.01)
    data[:, ::2] = 0
    assert believed_sigma(0.6, data) == pytest.approx(0.3, rel=0.07)


@pytest.mark.parametrize("data", [torch.zeros(SHAPE, dtype=torch.complex64), kspace(0.3, 0.01)[:1, :2]])
def test_too_few_samples_do_not_tell(data):
    assert believed_sigma(0.7, data) == 0.7
