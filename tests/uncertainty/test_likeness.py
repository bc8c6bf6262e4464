"""Whether images are like those of a family, by their statistics."""

import numpy as np
import pytest

from medinr.errors import IntensityError
from medinr.uncertainty.image_statistics import GROUPS, NAMES, image_statistics
from medinr.uncertainty.likeness import Family, as_trained, learn_family
from medinr.units import attenuation_from_hu

SHAPE = (96, 88)


def head(seed: int) -> np.ndarray:
    """An ellipse with ellipses in it, blurred a little, no two alike."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(SHAPE)
    image = np.zeros(SHAPE)

    def paint(cy, cx, b, a, value):
        image[((y - cy) / b) ** 2 + ((x - cx) / a) ** 2 < 1] = value

    paint(48, 44, 38 + 2 * rng.random(), 32 + 2 * rng.random(), 0.7 + 0.1 * rng.random())
    for _ in range(25):
        paint(*rng.uniform((25, 25), (70, 62)), *rng.uniform(2, 7, 2), rng.uniform(0.4, 1.0))
    return as_trained((image + 0.01 * rng.standard_normal(SHAPE)).clip(0), "")[0]


@pytest.fixture(scope="module")
def family() -> Family:
    found = learn_family([head(seed) for seed in range(60)], [f"s{seed % 6}" for seed in range(60)])
    assert found is not None
    return found


def shaded(image):
    y, x = (np.linspace(-1, 1, length) for length in image.shape)
    return image * np.exp(1.2 * (y[:, None] + x))


def ghosted(image):
    return image + 0.25 * (np.roll(image, 30, 0) + np.roll(image, -30, 0)) / 2


def spiked(image):
    y, x = np.indices(image.shape)
    return np.abs(image + 0.1 * np.cos(2 * np.pi * (13 * y + 9 * x) / len(image)))


def coarse(image):
    return image[::3, ::3]


def enlarged(image):
    return np.kron(image[24:72, 22:66], np.ones((2, 2)))


def snow(image):
    return np.random.default_rng(0).rayleigh(0.3, image.shape)


def smooth(image):
    y, x = (np.linspace(0.2, 1, length) for length in image.shape)
    return np.outer(y, x)


def test_images_of_the_family_pass(family):
    passed = [family.likeness(head(seed)).passed for seed in range(100, 200)]
    assert np.mean(passed) >= 0.9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shaded, None),
        (ghosted, None),
        (spiked, None),
        (coarse, None),
        (enlarged, "size or shape"),
        (snow, None),
        (smooth, None),
    ],
)
def test_other_images_are_warned_of(family, change, words):
    for seed in range(100, 110):
        found = family.likeness(as_trained(change(head(seed)), "")[0])
        assert not found.passed
        assert found.score > found.limit
        assert found.words.startswith("unlike the scans")
        assert words is None or words in found.words


def test_brightness_has_no_unit(family):
    one, other = (family.likeness(as_trained(scale * head(100), "")[0]) for scale in (1.0, 1e4))
    assert one.score == pytest.approx(other.score, rel=1e-3)


@pytest.mark.parametrize("turn", [lambda image: image[::-1], lambda image: image[:, ::-1]])
def test_statistics_do_not_depend_on_the_side(turn):
    one, other = (dict(zip(NAMES, image_statistics(image), strict=True)) for image in (head(0), turn(head(0)).copy()))
    for name in NAMES:
        assert other[name] == pytest.approx(one[name], abs=0.05), name


def test_every_statistic_has_words():
    assert len(NAMES) == len(set(NAMES)) == len(image_statistics(head(0)))
    assert sum(len(names) for names in GROUPS.values()) == len(NAMES)
    assert np.isfinite(image_statistics(head(0))).all()


@pytest.mark.parametrize("value", [0.2, 1.0])
def test_a_constant_image_has_finite_statistics(value):
    assert np.isfinite(image_statistics(np.full((40, 30), value, np.float32))).all()


def test_air_alone_cannot_be_compared(family):
    with pytest.raises(IntensityError, match="nothing to compare"):
        family.likeness(np.zeros(SHAPE, np.float32))


def test_too_few_subjects_do_not_tell():
    images = [head(seed) for seed in range(8)]
    assert learn_family(images, ["one"] * 4 + ["two"] * 4) is None


def test_what_is_usual_comes_back_from_a_card(family):
    again = Family.from_facts(family.facts())
    for seed in (100, 101):
        assert again.likeness(head(seed)).score == pytest.approx(family.likeness(head(seed)).score, rel=0.02)
    assert Family.from_facts(None) is None
    assert Family.from_facts(family.facts() | {"statistics": ["others"]}) is None


def test_scaling_is_that_of_training():
    image, scale = as_trained(np.array([[0.0, 50.0], [100.0, 200.0]]), "a.u.")
    assert scale == pytest.approx(np.percentile([0, 50, 100, 200], 99))
    np.testing.assert_allclose(image, np.array([[0, 50], [100, 200]]) / scale, rtol=1e-6)
    image, scale = as_trained(np.array([[-2000.0, -1000.0], [0.0, 1000.0]]), "HU")
    assert scale == 1000.0
    bone = attenuation_from_hu(1000.0) / attenuation_from_hu(0.0)
    np.testing.assert_allclose(image, [[0, 0], [1, bone]], atol=1e-6)
