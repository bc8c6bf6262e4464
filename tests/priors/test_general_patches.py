"""Patches of any kind of image, which a denoiser for every scan is trained on."""

import pytest
import torch

from medinr.data.photographs import PHOTOGRAPHS, photographs
from medinr.priors.general_patches import BRIGHTEST, NO_IMAGES, GeneralImages

STEP = torch.cat([torch.zeros(40, 20), torch.ones(40, 20)], dim=1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_a_share_none_is_chosen_and_nothing_is_drawn():
    generator = seeded()
    before = generator.get_state()
    assert not NO_IMAGES.chosen(generator)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_as_many_are_chosen_as_was_asked_for(share):
    generator, images = seeded(), GeneralImages(((STEP,),), share)
    chosen = sum(images.chosen(generator) for _ in range(1000))
    assert chosen == pytest.approx(1000 * share, abs=60)


@pytest.mark.parametrize("kinds", [(), ((STEP,),), ((STEP, 0.5 * STEP), (STEP[:9, :9],))])
def test_patches_have_the_size_and_the_brightness_of_images(kinds):
    generator, images = seeded(), GeneralImages(kinds, 0.5)
    patches = torch.stack([images.draw(16, generator) for _ in range(100)])
    assert patches.shape == (100, 16, 16)
    assert patches.min() >= 0
    assert patches.max() <= BRIGHTEST
    assert patches.flatten(1).std(dim=1).median() > 0.01


def test_every_kind_is_drawn_as_often_however_many_images_it_has():
    generator = seeded()
    many, one = [torch.full((30, 30), 0.2)] * 50, [torch.full((30, 30), 0.9)]
    images = GeneralImages((many, one), 1.0)
    patches = [images.draw(8, generator) for _ in range(2000)]
    unchanged = [float(patch.mean()) for patch in patches if float(patch.std()) < 1e-6]
    dark, bright = (sum(abs(mean - value) < 1e-5 for mean in unchanged) for value in (0.2, 0.9))
    # A quarter of them are shapes, and a third of the others keep their brightness.
    assert dark == pytest.approx(250, abs=60)
    assert bright == pytest.approx(250, abs=60)


def test_contrasts_are_turned_round_too():
    generator, images = seeded(), GeneralImages(((STEP,),), 1.0)
    patches = [images.draw(40, generator) for _ in range(300)]
    steps = [float(patch.max() - patch.min()) for patch in patches]
    assert min(steps) < 0.3
    assert max(steps) > 0.9


def test_the_photographs_ship_with_scikit_image():
    found = photographs()
    assert len(found) >= len(PHOTOGRAPHS)
    assert all(image.dtype == torch.float32 and image.ndim == 2 for image in found)
    assert all(float(image.min()) >= 0 and float(image.max()) <= 1 for image in found)
    assert not {"camera", "astronaut", "chelsea", "coins"} & set(PHOTOGRAPHS)
