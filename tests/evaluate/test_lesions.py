"""Lesions that are inserted and looked for."""

import numpy as np
import pytest
from scipy import ndimage

from medinr.metrics.lesions import CONTROLS, LESION_METRICS, insert_lesions, lesion_kinds, lesion_scores

SHAPE, LEVEL = (224, 208), 400.0


@pytest.fixture(scope="module")
def body():
    y, x = np.indices(SHAPE)
    return np.hypot(y - 112, x - 104) < 100


@pytest.fixture(scope="module")
def slice_(body):
    return (300.0 * body).astype(np.float32)


@pytest.fixture(scope="module")
def lesions(slice_, body):
    return insert_lesions(slice_, body, LEVEL, 0)


def scores(image, lesions, slice_):
    found = lesion_scores(image, lesions.image, slice_, lesions.labels)
    return {one.metric: one.value for one in found}


def test_every_kind_is_inserted_with_its_size_and_contrast(lesions, slice_):
    kinds = lesion_kinds()
    assert len(kinds) == 18
    for number, (diameter, contrast) in enumerate(kinds, 1):
        change = (lesions.image - slice_)[lesions.labels == number]
        assert change.size == pytest.approx(np.pi * diameter**2 / 4, rel=0.3, abs=2)
        assert change[np.abs(change).argmax()] == pytest.approx(contrast * LEVEL, rel=0.01)
    assert set(np.unique(lesions.labels)) == set(range(-CONTROLS, len(kinds) + 1))


def test_places_are_apart_and_inside_the_body(lesions, body):
    assert body[lesions.labels != 0].all()
    _, parts = ndimage.label(lesions.labels != 0)
    assert parts == len(lesion_kinds()) + CONTROLS


def test_another_seed_gives_other_places(slice_, body, lesions):
    again, other = (insert_lesions(slice_, body, LEVEL, seed) for seed in (0, 1))
    np.testing.assert_array_equal(again.labels, lesions.labels)
    assert (other.labels != lesions.labels).any()


def test_the_reference_keeps_all_and_invents_none(lesions, slice_):
    found = scores(lesions.image, lesions, slice_)
    assert set(found) == set(LESION_METRICS)
    assert found["lesions_kept"] == found["lesions_kept_4px_10"] == 1.0
    assert found["lesion_contrast"] == pytest.approx(1.0)
    assert found["lesions_invented"] == 0.0


def test_the_slice_without_them_keeps_none(lesions, slice_):
    found = scores(slice_, lesions, slice_)
    assert found["lesions_kept"] == found["lesions_invented"] == 0.0
    assert found["lesion_contrast"] == pytest.approx(0.0, abs=1e-6)


def test_a_blurred_image_loses_the_small_ones_first(lesions, slice_, body):
    found = scores(ndimage.gaussian_filter(lesions.image, 1.2), lesions, slice_)
    assert 0.5 < found["lesions_kept"] < 0.8
    assert found["lesion_contrast"] < 0.75


def test_noise_hides_the_faint_ones(lesions, slice_):
    noisy = lesions.image + np.random.default_rng(0).normal(0, 0.05 * LEVEL, SHAPE).astype(np.float32)
    found = scores(noisy, lesions, slice_)
    assert 0.2 < found["lesions_kept"] < 0.45
    assert found["lesions_kept_4px_10"] == 0.0
    assert found["lesion_contrast"] == pytest.approx(1.0, abs=0.3)


def test_what_stands_where_nothing_was_is_invented(lesions, slice_):
    image = lesions.image.copy()
    image[np.isin(lesions.labels, (-1, -2, -3))] += 0.1 * LEVEL
    assert scores(image, lesions, slice_)["lesions_invented"] == pytest.approx(3 / CONTROLS)


def test_a_small_body_has_fewer(slice_):
    y, x = np.indices(SHAPE)
    small = insert_lesions(slice_, np.hypot(y - 112, x - 104) < 24, LEVEL, 0)
    assert 1 <= len(np.unique(small.labels)) - 1 < 10
    none = insert_lesions(slice_, np.zeros(SHAPE, bool), LEVEL, 0)
    assert lesion_scores(slice_, none.image, slice_, none.labels) == []
