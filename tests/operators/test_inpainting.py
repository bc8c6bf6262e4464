import pytest
import torch

from medinr.errors import ShapeError
from medinr.operators import Inpainting, Weighting


def test_samples_are_the_measured_pixels_in_order():
    mask = torch.tensor([[True, False, True], [False, False, True]])
    image = torch.arange(6.0).reshape(2, 3)
    painting = Inpainting(mask)
    assert painting(image).tolist() == [0.0, 2.0, 5.0]
    assert painting.H(torch.tensor([7.0, 8.0, 9.0])).tolist() == [[7.0, 0.0, 8.0], [0.0, 0.0, 9.0]]


def test_there_and_back_is_the_mask(generator):
    mask = torch.rand(3, 4, 5, generator=generator) > 0.5
    volume = torch.randn(2, 3, 4, 5, generator=generator)
    assert torch.equal(Inpainting(mask).normal(volume), Weighting(mask.float())(volume))
    samples = torch.randn(2, int(mask.sum()), generator=generator)
    painting = Inpainting(mask)
    assert torch.equal(painting(painting.H(samples)), samples)


def test_masks_that_cannot_be_are_refused():
    with pytest.raises(ShapeError, match=r"boolean mask; got torch\.float32"):
        Inpainting(torch.ones(3, 3))
    with pytest.raises(ShapeError, match="False everywhere"):
        Inpainting(torch.zeros(3, 3, dtype=torch.bool))
