import math
import pickle

import pytest
import torch
from skimage.transform import radon

from medinr.errors import GeometryError, ShapeError
from medinr.operators import ParallelBeam


def _views(count):
    return torch.arange(count, dtype=torch.float64) * math.pi / count


def _grid(shape, spacing):
    """World positions (x, y down) of the pixels in mm."""
    y, x = ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * d for n, d in zip(shape, spacing, strict=True))
    return x[None, :], y[:, None]


def _blob(shape, spacing, centre, width=6.0):
    x, y = _grid(shape, spacing)
    return torch.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))


def test_disc_has_the_chord_length():
    shape, spacing, radius, mu = (160, 200), (0.5, 0.4), 30.0, 0.02
    x, y = _grid(shape, spacing)
    # The edge pixels get the share of their area inside, from 8 x 8 samples.
    steps = (torch.arange(8, dtype=torch.float64) - 3.5) / 8
    disc = torch.zeros(shape, dtype=torch.float64)
    for dx in steps * spacing[1]:
        for dy in steps * spacing[0]:
            disc += ((x + dx) ** 2 + (y + dy) ** 2 < radius**2).double() / 64
    projector = ParallelBeam(shape, spacing, _views(12))
    expected = 2 * mu * (radius**2 - projector.offsets.square()).clamp(min=0).sqrt()
    error = (projector(mu * disc) - expected).abs() / expected.max()
    assert float(error.mean()) < 2e-3
    # At the rim the chord starts with a vertical slope, which no pixel grid can follow.
    assert float(error[:, projector.offsets.abs() < 0.95 * radius].max()) < 0.01


@pytest.mark.parametrize("size", [33, 65])
def test_agrees_with_skimage(size):
    image = _blob((size, size), (1, 1), (size / 8, -size / 12), size / 12)
    x, y = _grid((size, size), (1, 1))
    image = image * (x**2 + y**2 < (size // 2) ** 2)
    degrees = torch.tensor([0.0, 20.0, 45.0, 90.0, 130.0, 200.0], dtype=torch.float64)
    theirs = torch.from_numpy(radon(image.numpy(), degrees.numpy(), circle=True)).T
    ours = ParallelBeam((size, size), (1, 1), torch.deg2rad(degrees), detector_count=size)(image)
    assert float((ours - theirs).abs().max()) < 0.01 * float(theirs.max())


@pytest.mark.parametrize("compiled", [False, True])
def test_agrees_with_astra(compiled):
    # astra-toolbox 2.5.0: parallel, 4 elements of 1.2, projector "linear" (Joseph's method too).
    theirs = torch.tensor(
        [
            [28.099998, 23.9, 25.199999, 24.3],
            [20.887074, 29.691715, 27.47141, 25.20076],
            [21.933302, 31.702482, 33.701077, 30.371733],
        ]
    )
    image = ((7 * torch.arange(6) + 3 * torch.arange(5)[:, None]) % 11).float()
    ours = ParallelBeam((5, 6), (1, 1), [0.0, 0.4, 1.7], 4, 1.2, compiled=compiled)(image)
    torch.testing.assert_close(ours, theirs)


def test_a_point_falls_where_the_convention_says():
    shape, spacing, centre = (81, 61), (0.7, 1.1), (9.0, -5.0)
    projector = ParallelBeam(shape, spacing, _views(16))
    sinogram = projector(_blob(shape, spacing, centre, 2.0))
    found = (sinogram * projector.offsets).sum(-1) / sinogram.sum(-1)
    expected = centre[0] * projector.angles.cos() - centre[1] * projector.angles.sin()
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_moving_the_object_shifts_the_projections():
    shape, spacing = (64, 64), (1.0, 1.0)
    projector = ParallelBeam(shape, spacing, [0.0, math.pi / 2])
    image = _blob(shape, spacing, (0.0, 0.0), 4.0)
    moved = projector(torch.roll(image, shifts=(4, 7), dims=(0, 1)))
    still = projector(image)
    torch.testing.assert_close(moved[0], still[0].roll(7), atol=1e-6, rtol=0)
    torch.testing.assert_close(moved[1], still[1].roll(-4), atol=1e-6, rtol=0)


def test_rotating_the_object_turns_the_views():
    shape = (51, 51)
    angles = _views(8)
    image = _blob(shape, (1, 1), (8.0, 3.0), 3.0)
    turned = torch.rot90(image)  # counterclockwise as seen
    later = ParallelBeam(shape, (1, 1), angles + math.pi / 2)
    torch.testing.assert_close(later(turned), ParallelBeam(shape, (1, 1), angles)(image))


def test_opposite_views_mirror():
    shape = (20, 31)
    image = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sinogram = ParallelBeam(shape, (1.0, 0.5), [0.4, 0.4 + math.pi])(image)
    torch.testing.assert_close(sinogram[0], sinogram[1].flip(0))


def test_every_view_sees_the_same_mass():
    shape, spacing = (60, 50), (0.8, 1.2)
    image = _blob(shape, spacing, (3.0, 2.0))
    projector = ParallelBeam(shape, spacing, _views(9))
    mass = projector(image).sum(-1) * projector.detector_spacing
    expected = image.sum() * spacing[0] * spacing[1]
    torch.testing.assert_close(mass, expected.expand(9), rtol=2e-3, atol=0)


def test_sizes_in_millimetres_scale_the_integrals():
    image = torch.rand(9, 9)
    small = ParallelBeam((9, 9), (1, 1), _views(5))
    large = ParallelBeam((9, 9), (3, 3), _views(5))
    torch.testing.assert_close(large(image), 3 * small(image))


def test_the_detector_covers_the_diagonal_if_not_told():
    projector = ParallelBeam((30, 40), (1, 1), _views(3))
    assert projector.range.shape == (3, 50)
    assert projector.detector_spacing == 1.0


def test_more_images_than_fit_at_once_and_more_views_than_a_block():
    projector = ParallelBeam((5, 6), (1, 1), _views(21))
    images = torch.rand(70, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(projector(images)[[0, 33, 69]], torch.stack([projector(images[k]) for k in (0, 33, 69)]))
    assert projector(images[:0]).shape == (0, *projector.range.shape)


def test_a_pickle_is_small_and_projects_the_same():
    projector = ParallelBeam((30, 30), (1, 1), _views(40))
    image = torch.rand(30, 30)
    sinogram = projector(image)
    pickled = pickle.dumps(projector)
    assert len(pickled) < 10_000
    assert torch.equal(pickle.loads(pickled)(image), sinogram)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"spacing": (1.0, -1.0)}, GeometryError),
        ({"angles": []}, GeometryError),
        ({"angles": [float("nan")]}, GeometryError),
        ({"detector_count": 0}, GeometryError),
        ({"detector_spacing": 0.0}, GeometryError),
        ({"shape": (4, 4, 4)}, ShapeError),
    ],
)
def test_impossible_geometry_is_refused(changes, error):
    with pytest.raises(error, match="ParallelBeam wants"):
        ParallelBeam(**{"shape": (4, 4), "spacing": (1.0, 1.0), "angles": [0.0], **changes})


@pytest.mark.parametrize("compiled", [False, True])
def test_a_shadow_off_the_middle_of_the_detector(compiled):
    shape, spacing, shift = (81, 61), (0.7, 1.1), 6
    straight = ParallelBeam(shape, spacing, _views(7), 120, 0.8)
    shifted = ParallelBeam(shape, spacing, _views(7), 120, 0.8, centre=shift * 0.8, compiled=compiled)
    image = _blob(shape, spacing, (9.0, -5.0), 2.0)
    # What fell on element k falls on k + shift.
    torch.testing.assert_close(shifted(image)[:, shift:], straight(image)[:, :-shift])
    assert float(shifted.offsets[59] + shifted.offsets[60]) / 2 == pytest.approx(-shift * 0.8)
    assert ParallelBeam((30, 40), (1, 1), [0.0], centre=-5.0).range.shape == (1, 60)


def test_the_angles_are_a_copy():
    angles = _views(5)
    projector = ParallelBeam((4, 4), (1, 1), angles)
    angles += 1.0
    torch.testing.assert_close(projector.angles, _views(5))
