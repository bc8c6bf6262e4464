import math

import pytest
import torch

from medinr.errors import IntensityError, ShapeError
from medinr.operators import (
    Gaussian,
    Identity,
    ParallelBeam,
    Weighting,
    birdcage_maps,
    block_diagonal,
    cartesian_mask,
    undersampled_fourier,
)
from medinr.solve.problem import Problem

SHAPE = (12, 10)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _identity(**changes) -> Problem:
    facts = {"data": torch.rand(SHAPE), "operator": Identity(SHAPE), "noise": Gaussian(0.1), "spacing": (1.0, 1.0)}
    return Problem(**(facts | changes))


def _lines(coils: int = 0, protected: tuple[int, ...] = ()) -> Problem:
    maps = birdcage_maps((20, 8), coils) if coils else None
    operator = undersampled_fourier((20, 8), cartesian_mask(20, 2, 0.2), maps)
    data = torch.zeros(operator.range.shape, dtype=torch.complex64)
    return Problem(data, operator, Gaussian(0.1), (1.0, 1.0), True, 2.0, -2, protected)


def test_measurement_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"Identity gives \(12, 10\); the measurement has shape \(10, 12\)"):
        _identity(data=torch.rand(10, 12))


def test_predict_scales_and_makes_complex():
    problem = _lines()
    image = torch.rand(20, 8, generator=_generator())
    wanted = 2.0 * problem.operator(image.to(torch.complex64))
    torch.testing.assert_close(problem.predict(image), wanted)
    torch.testing.assert_close(problem.predict(torch.stack([image, 2 * image]))[1], 2 * wanted)


def test_image_takes_two_heads_as_real_and_imaginary_part():
    values = torch.arange(20.0 * 8 * 2).reshape(-1, 2)
    image = _lines().image(values)
    assert image.shape == (20, 8)
    assert image[0, 1] == 2 + 3j
    assert _lines().heads == 2
    assert _identity().heads == 1
    assert _identity().image(torch.arange(120.0).unsqueeze(1))[1, 2] == 12.0


@pytest.mark.parametrize("complex_image", [True, False])
def test_adjoint_belongs_to_predict(complex_image):
    operator = undersampled_fourier((20, 8), cartesian_mask(20, 2, 0.2))
    data = torch.randn(operator.range.shape, generator=_generator(), dtype=torch.complex128)
    problem = Problem(data, operator, Gaussian(0.1), (1.0, 1.0), complex_image, 3.0)
    kind = torch.complex128 if complex_image else torch.float64
    image = torch.randn((20, 8), generator=_generator(1), dtype=kind)
    left = (problem.predict(image).conj() * data).sum().real
    right = (image.conj() * problem.adjoint(data)).sum().real
    assert problem.adjoint(data).dtype == kind
    torch.testing.assert_close(left, right)


def test_pixel_noise_is_the_noise_itself_where_pixels_are_measured():
    assert _identity(scale=1.0).pixel_noise() == pytest.approx(0.1, rel=1e-6)
    assert _identity(scale=4.0).pixel_noise() == pytest.approx(0.025, rel=1e-6)
    # Of half the lines: at best that of a measured line, at worst as if its information were spread evenly.
    assert 0.999 * 0.05 < _lines().pixel_noise() < 1.2 * 0.05 * math.sqrt(2)


@pytest.mark.parametrize("factor", [1.0, 100.0, 1e-5])
def test_the_scale_comes_from_the_data_unless_given(factor):
    image = torch.rand(20, 8, generator=_generator()) + 0j
    operator = undersampled_fourier((20, 8), cartesian_mask(20, 2, 0.2), birdcage_maps((20, 8), 3))
    given = {"operator": operator, "noise": Gaussian(0.1 * factor), "complex_image": True}
    problem = _identity(data=factor * operator(image), **given)
    assert problem.scale / factor == pytest.approx(_identity(data=operator(image), **given).scale, rel=1e-5)
    # About as bright as the image: a third of its energy was not measured.
    assert 0.5 < problem.scale / factor < 1.5
    assert _identity(data=factor * operator(image), scale=7.0, **given).scale == 7.0
    assert _identity(data=torch.zeros(SHAPE)).scale == 1.0
    assert _identity(data=factor * torch.rand(SHAPE, generator=_generator())).scale == pytest.approx(factor, rel=0.05)
    with pytest.raises(IntensityError, match=r"positive, or 0 to take it from the data; got -1\.0"):
        _identity(scale=-1.0)


def test_a_measurement_that_says_nothing_is_refused():
    nothing = _identity(operator=0 * Identity(SHAPE))
    with pytest.raises(IntensityError, match="says nothing of the image"):
        nothing.pixel_noise()


def test_what_is_for_slices_says_so():
    volume = _identity(data=torch.rand(3, *SHAPE), operator=Identity((3, *SHAPE)), spacing=(2.0, 1.0, 1.0))
    with pytest.raises(ShapeError, match=r"the problem's image is a volume of shape \(3, 12, 10\)"):
        _ = volume.slice_shape
    with pytest.raises(ShapeError, match="as many spacings"):
        _identity(spacing=(1.0, 1.0, 1.0))


def test_pixels_are_held_out_one_by_one():
    problem = _identity(data=torch.rand(200, 200), operator=Identity((200, 200)))
    held = problem.draw_held_out(0.1, _generator())
    assert held.dtype == torch.bool
    # 40000 coins: three standard deviations are 0.0045.
    assert float(held.double().mean()) == pytest.approx(0.1, abs=0.0045)
    assert 0 < int(held[0].sum()) < 200
    assert torch.equal(held, problem.draw_held_out(0.1, _generator()))
    assert not torch.equal(held, problem.draw_held_out(0.1, _generator(1)))
    assert not problem.draw_held_out(0.0, _generator()).any()


def test_lines_are_held_out_whole_and_over_all_coils():
    for coils, shape in ((0, (10, 8)), (3, (3, 10, 8))):
        held = _lines(coils).draw_held_out(0.2, _generator())
        assert held.shape == shape
        per_line = held.movedim(-2, 0).reshape(10, -1)
        assert bool((per_line.all(dim=1) | ~per_line.any(dim=1)).all())
        assert int(per_line.all(dim=1).sum()) == 2


def test_angles_are_held_out_whole():
    operator = ParallelBeam(SHAPE, (1.0, 1.0), torch.arange(12) * 0.2, 17)
    problem = Problem(torch.zeros(12, 17), operator, Gaussian(0.1), (1.0, 1.0), group_axis=-2, scale=1.0)
    held = problem.draw_held_out(0.25, _generator())
    assert int(held.all(dim=1).sum()) == 3
    assert int(held.sum()) == 3 * 17


def test_protected_groups_are_never_held_out_and_the_others_all_are_sometimes():
    problem = _lines(protected=(3, 4, 5, 6))
    seen = torch.zeros(10, dtype=torch.bool)
    for seed in range(60):
        held = problem.draw_held_out(0.3, _generator(seed))[:, 0]
        assert int(held.sum()) == 3
        seen |= held
    assert seen.nonzero().flatten().tolist() == [0, 1, 2, 7, 8, 9]


def test_where_every_group_is_protected_none_is_held_out():
    assert not _lines(protected=tuple(range(10))).draw_held_out(0.3, _generator()).any()


def test_a_small_fraction_still_holds_one_group_out_and_none_holds_none():
    assert int(_lines().draw_held_out(0.01, _generator())[:, 0].sum()) == 1
    assert not _lines().draw_held_out(0.0, _generator()).any()


@pytest.mark.parametrize("factor", [0.0, 1e-30])
def test_a_measurement_that_says_nothing_of_the_image_is_refused(factor):
    problem = _identity(operator=Weighting(torch.full(SHAPE, factor)))
    with pytest.raises(IntensityError, match="Weighting takes every image to zero"):
        problem.pixel_noise()


@pytest.mark.parametrize("factor", [1.0, 400.0])
def test_a_scale_of_zero_is_taken_from_the_data(factor):
    """Through weights that differ from pixel to pixel: the brightness is that of the image, not of the data."""
    weights = torch.linspace(0.5, 2.0, 120).reshape(SHAPE)
    image = factor * torch.rand(SHAPE, generator=_generator())
    problem = _identity(operator=Weighting(weights), data=weights * image, scale=0.0)
    assert problem.scale == pytest.approx(float(torch.quantile(image, 0.99)), rel=0.02)
    assert _identity(data=torch.zeros(SHAPE), scale=0.0).scale == 1.0
    for wrong in (-1.0, math.nan):
        with pytest.raises(IntensityError, match=f"positive, or 0 to take it from the data; got {wrong}"):
            _identity(scale=wrong)


def test_a_scale_from_the_data_is_that_of_a_complex_image_or_volume_too():
    volume = torch.rand(6, 12, 10, generator=_generator())
    operator = block_diagonal([Identity(SHAPE)] * 6)
    found = Problem(volume, operator, Gaussian(0.1), (1.0,) * 3, scale=0.0)
    assert found.scale == pytest.approx(float(torch.quantile(volume, 0.99)), rel=1e-3)
    lines = undersampled_fourier((20, 8), list(range(20)))
    image = torch.polar(torch.rand(20, 8, generator=_generator()), torch.rand(20, 8, generator=_generator(1)))
    found = Problem(lines(image), lines, Gaussian(0.1), (1.0, 1.0), True, scale=0.0)
    assert found.scale == pytest.approx(float(torch.quantile(image.abs(), 0.99)), rel=1e-3)


def test_a_scale_from_the_data_of_a_large_volume_does_not_look_at_its_first_slices_alone(monkeypatch):
    monkeypatch.setattr("medinr.solve.scale.MOST", 100)
    volume = torch.rand(8, 12, 10, generator=_generator())
    volume[:4] = 0
    found = Problem(volume, Identity((8, 12, 10)), Gaussian(0.1), (1.0,) * 3, scale=0.0)
    assert found.scale == pytest.approx(float(torch.quantile(volume, 0.99)), rel=0.05)
