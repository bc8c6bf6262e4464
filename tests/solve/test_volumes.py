"""Volumes measured as a whole: the one loop with a denoiser that works plane by plane."""

from dataclasses import replace
from itertools import groupby

import pytest
import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.operators import (
    Gaussian,
    Identity,
    SliceProfile,
    block_diagonal,
    cartesian_mask,
    undersampled_fourier,
)
from medinr.priors.auxiliary_scan import AuxiliaryScanPrior
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.multi_slice import MultiSlice
from medinr.solve.planes import PlaneByPlane
from medinr.solve.plug_and_play import plug_and_play, plug_and_play_solution
from medinr.solve.problem import Problem
from medinr.solve.split import Split

SLICES, SIZE = 12, 32
SETTINGS = PlugAndPlaySettings(iterations=16, regularisation_weight=0.1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def body() -> Tensor:
    """A ball with a smaller one in it, shape (z, y, x), cubic voxels."""
    z, y, x = torch.meshgrid(torch.linspace(-0.35, 0.35, SLICES), *(torch.linspace(-1, 1, SIZE),) * 2, indexing="ij")
    ball = torch.sigmoid(18 * (0.8 - torch.sqrt(x**2 + y**2 + z**2)))
    return ball * (0.6 + 0.4 * torch.sigmoid(18 * (0.35 - torch.sqrt((x - 0.2) ** 2 + (y + 0.1) ** 2 + z**2))))


def thick_slices(body: Tensor, scale: float = 1.0) -> Problem:
    """Slices three times as thick as those that are wanted, every three of them."""
    operator, noise = SliceProfile(tuple(body.shape), 1.0, 3.0), Gaussian(0.02 * scale)
    return Problem(noise.sample(scale * operator(body), seeded()), operator, noise, (1.0, 1.0, 1.0), scale=scale)


def blocks(body: Tensor) -> tuple[Problem, list[Problem]]:
    """k-space of a volume, each slice with lines and a phase of its own; also slice by slice."""
    ramp, noise = torch.linspace(-1, 1, SIZE), Gaussian(0.005)
    problems = []
    for number, image in enumerate(body):
        with_phase = torch.polar(image, (0.1 * number * ramp).expand_as(image).contiguous())
        operator = undersampled_fourier((SIZE, SIZE), cartesian_mask(SIZE, 4.0, 0.12, seed=number))
        data = noise.sample(operator(with_phase), seeded(number))
        problems.append(Problem(data, operator, noise, (1.0, 1.0), True, 1.1))
    data, operator = torch.stack([one.data for one in problems]), block_diagonal([one.operator for one in problems])
    return Problem(data, operator, noise, (1.0, 1.0, 1.0), True, 1.1), problems


def error(images: Tensor, body: Tensor) -> float:
    return float((images.abs() - body).square().mean().sqrt())


@pytest.mark.parametrize("scale", [1.0, 250.0])
def test_thin_slices_are_reconstructed_from_thick_ones(family, body, scale):
    problem = thick_slices(body, scale)
    solution = plug_and_play_solution(problem, family.prior, replace(SETTINGS, regularisation_weight=1.0))
    image = solution.image / scale
    repeated = problem.data.repeat_interleave(3, dim=0) / scale
    assert image.shape == body.shape
    assert error(image, body) < 0.6 * error(repeated, body)
    # The last step is data consistency: no more is left than the noise.
    assert solution.residual < 1.0
    assert solution.residual == pytest.approx(Split.nothing_held(problem).residual(image))
    assert [step.step for step in solution.steps] == list(range(1, 17))


def test_a_volume_that_ends_with_the_denoiser_is_explained_less_closely(family, body):
    problem = thick_slices(body)
    split = Split.nothing_held(problem)
    last = plug_and_play(problem, family.prior, SETTINGS)
    denoised = plug_and_play(problem, family.prior, replace(SETTINGS, final_step="denoiser"))
    assert split.residual(denoised) > 1.05 * split.residual(last)


def test_slices_measured_each_on_its_own_come_out_as_jointly(family, body):
    """Joint multi-slice reconstruction and a volume of blocks are one loop, and end alike."""
    problem, problems = blocks(body)
    found = plug_and_play(problem, family.prior, SETTINGS)
    *_, done = MultiSlice(problems, [family.prior] * SLICES, family.prior, SETTINGS).iterations()
    torch.testing.assert_close(found, done.images, rtol=0, atol=2e-3)
    one_by_one = torch.stack([plug_and_play(one, family.prior, SETTINGS) for one in problems])
    assert float((found - one_by_one).abs().max()) > 0.05
    assert error(1.1 * found, body) < 0.7 * error(1.1 * one_by_one, body)


class HalvingPrior(DenoiserPrior):
    """Halves images, a little more in every orientation, and remembers the planes it was given."""

    def __init__(self) -> None:
        super().__init__(LocalDenoiser(DenoiserSettings(2, 2)))
        object.__setattr__(self, "planes", [])

    def denoise(self, image: Tensor, level: float, orientation: int = 0) -> Tensor:
        self.planes.append((1, *image.shape, orientation))
        return (0.5 - 0.01 * orientation) * image

    def denoise_all(self, images: Tensor, level: float, orientation: int = 0) -> Tensor:
        self.planes.append((*images.shape, orientation))
        return (0.25 - 0.01 * orientation) * images


def small_problem() -> Problem:
    operator = SliceProfile((6, 4, 5), 1.0, 2.0)
    data = torch.randn(operator.range.shape, generator=seeded(), dtype=torch.float64)
    return Problem(data, operator, Gaussian(0.3), (1.0, 1.0, 1.0), scale=2.0)


def test_planes_change_their_direction_from_iteration_to_iteration():
    prior, settings = HalvingPrior(), PlugAndPlaySettings(iterations=10)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plug_and_play(small_problem(), prior, settings)
    finally:
        torch.set_num_threads(before)
    # Planes across z are (4, 5) pixels, across y (6, 5), across x (6, 4); as many of them as the volume is wide.
    axes = {(4, 5): "z", (6, 5): "y", (6, 4): "x"}
    runs = [list(run) for _, run in groupby(prior.planes, key=lambda plane: plane[1:])]
    assert [(axes[run[0][1:3]], run[0][3]) for run in runs] == [
        ("z", 0), ("y", 0), ("z", 1), ("x", 1), ("z", 2), ("y", 2), ("z", 3), ("x", 3), ("z", 4),
    ]  # fmt: skip
    assert [sum(plane[0] for plane in run) for run in runs] == [6, 4, 6, 5, 6, 4, 6, 5, 6]


@pytest.mark.parametrize("start", [False, True])
def test_iterations_of_a_volume_are_those_of_the_formula(start, dense, monkeypatch):
    monkeypatch.setattr("medinr.solve.krylov.TOLERANCE", 1e-10)
    problem = small_problem()
    settings = PlugAndPlaySettings(
        iterations=5, sigma_start=0.9, sigma_end_factor=0.5, regularisation_weight=0.3, cg_iterations=200
    )
    begin = torch.randn(problem.shape, generator=seeded(2), dtype=torch.float64) if start else None
    found = plug_and_play(problem, HalvingPrior(), settings, start=begin)
    matrix = dense.matrix_of(problem)
    image = 0.5 * dense.flat(begin) if start else torch.zeros(120, dtype=torch.float64)
    weight = torch.full(problem.data.shape, 1 / 0.3**2, dtype=torch.float64)
    # Slices in even iterations, planes across them in odd ones; each orientation twice in a row.
    factors = [0.5, 0.25, 0.49, 0.24]
    for iteration, level in enumerate(settings.levels(problem.pixel_noise())):
        if iteration:
            image = factors[iteration - 1] * image
        residual = problem.data - (matrix @ image).reshape(problem.data.shape)
        image = image + dense.exact_change(problem, weight, 0.3 / level**2, residual)
    torch.testing.assert_close(found.reshape(-1), image)


def test_measurements_of_a_volume_not_to_be_used_have_no_say():
    problem = small_problem()
    fitted = torch.rand(problem.data.shape, generator=seeded(1)) < 0.6
    known = {"pixel_noise": lambda self: 0.1}
    one, other = (
        plug_and_play(
            type("Known", (Problem,), known)(**(vars(problem) | {"data": data})),
            HalvingPrior(),
            SETTINGS,
            fitted=fitted,
        )
        for data in (problem.data, torch.where(fitted, problem.data, 99.0))
    )
    assert torch.equal(one, other)
    assert bool((one != 0).any())


def test_auxiliary_scans_are_for_slices(family, body):
    prior = AuxiliaryScanPrior(family.prior, family.unseen.unsqueeze(0))
    with pytest.raises(ConfigError, match="A volume is reconstructed with a denoiser prior; auxiliary scans"):
        plug_and_play(thick_slices(body), prior, SETTINGS)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((6, 4, 5), (1.0, 1.0)), ((4, 5), (1.0, 1.0, 1.0)), ((5,), (1.0,)), ((2, 3, 4, 5), (1.0,) * 4)],
)
def test_images_are_slices_or_volumes_with_a_spacing_for_each_axis(shape, spacing):
    with pytest.raises(ShapeError, match=r"\(y, x\) or \(z, y, x\), with as many spacings"):
        Problem(torch.zeros(shape), Identity(shape), Gaussian(0.1), spacing, scale=1.0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_phase_of_each_slice_does_not_matter_to_planes_across_them(family, body, axis):
    planes = PlaneByPlane(family.prior)
    volume = torch.polar(body, torch.full_like(body, 0.2)) + 0.05 * torch.randn(
        body.shape, generator=seeded(), dtype=torch.complex64
    )
    phasors = torch.polar(torch.ones(SLICES), 6.28 * torch.rand(SLICES, generator=seeded(1))).reshape(-1, 1, 1)
    found, with_phases = (planes.along(one, 0.05, axis, 3) for one in (volume, phasors * volume))
    torch.testing.assert_close(with_phases, phasors * found, rtol=0, atol=1e-4)
    assert error(found, body) < error(volume, body)


def test_planes_of_one_direction_are_those_that_the_prior_denoises_alone(family, body):
    planes = PlaneByPlane(family.prior)
    for orientation in (0, 5):
        for axis in (0, 1, 2):
            found = planes.along(body, 0.1, axis, orientation)
            for number in (0, 7):
                alone = family.prior.denoise(body.select(axis, number).contiguous(), 0.1, orientation)
                torch.testing.assert_close(found.select(axis, number), alone, rtol=0, atol=1e-6)


def test_every_slice_may_have_a_prior_of_its_own():
    priors = [HalvingPrior() for _ in range(3)]
    across = HalvingPrior()
    planes = PlaneByPlane(across, priors)
    volume = torch.rand(3, 4, 5, generator=seeded())
    torch.testing.assert_close(planes(volume, 0.1, 0), 0.5 * volume)
    assert [len(prior.planes) for prior in priors] == [1, 1, 1]
    assert across.planes == []
    torch.testing.assert_close(planes(volume, 0.1, 1), 0.25 * volume)
    assert [len(prior.planes) for prior in priors] == [1, 1, 1]
    with pytest.raises(ShapeError, match="denoisers for 3 slices; the volume has 2"):
        planes(volume[:2], 0.1, 0)
