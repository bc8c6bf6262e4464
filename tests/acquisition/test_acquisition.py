"""What every way of measuring knows of itself, and that a new one needs but a class."""

import gc
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from medinr.acquisition.base import Acquisition
from medinr.acquisition.coarse_image import CoarseSimulation
from medinr.acquisition.kspace import KspaceAcquisition, KspaceSimulation
from medinr.acquisition.projections import ProjectionSimulation
from medinr.acquisition.simulation import simulate
from medinr.acquisition.ways import acquisition_class, acquisition_of, acquisitions
from medinr.errors import ConfigError, UnitError
from medinr.io.measurement import read_measurement, write_measurement
from medinr.operators import Gaussian, GaussianPSF, LinearOperator, Weighting
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.plug_and_play import plug_and_play

TASKS = ("denoise", "superres", "kspace", "ct")


@pytest.fixture
def scans(synthetic):
    return {kind: synthetic.phantom((3, 36, 30), kind) for kind in ("MR", "CT")}


def _measured(scans, task, settings=None):
    return acquisition_of(simulate(task, scans[acquisition_class(task).modality], settings))


def test_every_way_of_measuring_says_what_it_is():
    assert set(TASKS) <= set(acquisitions())
    for task in TASKS:
        kind = acquisition_class(task)
        assert kind.task == task
        assert kind.modality in ("MR", "CT")
        assert all((kind.title, kind.direct_name, kind.direct_words, kind.groups))
        assert kind.Simulation().seed == 0


@pytest.mark.parametrize("task", TASKS)
def test_slices_that_share_an_operator_are_posed_on_one(scans, task):
    found = _measured(scans, task)
    problems = found.problems()
    assert len(problems) == 3
    assert len({id(problem.operator) for problem in problems}) == 1
    for position, problem in enumerate(problems):
        alone = found.problem(position)
        assert torch.equal(problem.data, found.measurement.data[position])
        assert problem.noise == alone.noise == found.noise
        assert problem.spacing == pytest.approx((0.8, 0.9))
        assert problem.complex_image == (task == "kspace")
        assert problem.scale == pytest.approx(alone.scale)
        assert (problem.group_axis, problem.protected) == (found.group_axis, found.protected(position))


def test_slices_with_lines_of_their_own_are_posed_on_operators_of_their_own(scans):
    problems = _measured(scans, "kspace", KspaceSimulation(acceleration=3.0, own_lines=True)).problems()
    assert len({id(problem.operator) for problem in problems}) == 3
    image = torch.rand(36, 30, generator=torch.Generator().manual_seed(0))
    first, second, _ = (problem.predict(image) for problem in problems)
    assert not torch.allclose(first, second)


def test_images_are_exported_as_a_reader_expects_them(scans):
    complex_image = torch.polar(torch.tensor([[2.0, 3.0]]), torch.tensor([[0.5, -2.0]]))
    np.testing.assert_allclose(_measured(scans, "kspace").export(complex_image), [[2.0, 3.0]], rtol=1e-6)
    found = _measured(scans, "denoise").export(torch.tensor([[-1.0, 4.0]], requires_grad=True))
    np.testing.assert_array_equal(found, [[0.0, 4.0]])
    views = _measured(scans, "ct")
    water = float(views.problem(0).scale)
    exported = views.export(torch.tensor([[0.0, water, 2 * water]]))
    assert exported.dtype == np.float32
    np.testing.assert_allclose(exported, [[-1000.0, 0.0, 1000.0]], atol=0.01)
    attenuation = acquisition_of(replace(views.measurement, unit="1/mm"))
    np.testing.assert_allclose(attenuation.export(torch.tensor([[-0.1, 0.02]])), [[0.0, 0.02]])


def test_how_a_slice_was_sampled_is_told_in_plain_values(scans):
    lines = _measured(scans, "kspace", KspaceSimulation(acceleration=3.0, coils=2, own_lines=True))
    told = [lines.sampling(position) for position in range(3)]
    assert [each["lines"] for each in told] == [list(lines.lines(position).lines) for position in range(3)]
    assert told[0]["kind"] == "lines"
    assert (told[0]["count"], told[0]["acceleration"], told[0]["coils"]) == (36, 3.0, 2)
    views = _measured(scans, "ct", ProjectionSimulation(views=7)).sampling(1)
    assert (views["kind"], views["views"], len(views["angles"])) == ("angles", 7, 7)
    coarse = _measured(scans, "superres", CoarseSimulation(factor=3)).sampling(0)
    assert (coarse["kind"], coarse["factor"]) == ("none", [3, 3])
    assert _measured(scans, "denoise").sampling(0).keys() == {"kind", "sigma"}


def test_joint_reconstruction_is_taken_where_it_was_measured_to_help(scans):
    alike, own = (_measured(scans, "kspace", KspaceSimulation(own_lines=own)) for own in (False, True))
    in_plane, through = (
        _measured(scans, "superres", CoarseSimulation(direction=direction))
        for direction in ("in-plane", "through-plane")
    )
    gains = {
        name: [found.gains_from_neighbours(cubic) for cubic in (False, True)]
        for name, found in {
            "denoise": _measured(scans, "denoise"),
            "lines alike": alike,
            "own lines": own,
            "in-plane": in_plane,
            "through-plane": through,
            "ct": _measured(scans, "ct"),
        }.items()
    }
    assert gains == {
        "denoise": [False, True],
        "lines alike": [False, True],
        "own lines": [True, True],
        "in-plane": [False, False],
        "through-plane": [False, True],
        "ct": [False, False],
    }


def test_thick_slices_are_cut_across_those_of_the_scan(synthetic):
    cubic = synthetic.phantom((6, 36, 30), geometry=synthetic.affine(spacing=(1.0, 1.0, 1.0)))
    kind = acquisition_class("superres")
    across = kind.measured_slices(cubic, CoarseSimulation(direction="through-plane"), "scan")
    assert sorted(across.shape) == sorted(cubic.shape)
    assert across.shape[0] != 6
    assert kind.measured_slices(cubic, CoarseSimulation(), "scan") is cubic


@dataclass(frozen=True)
class BlurSimulation:
    """A blurred scan."""

    fwhm: float = 2.0
    noise_level: float = 0.005
    seed: int = 0


@pytest.fixture
def blurred():
    """A way of measuring that no file of the package knows, and that is gone after the test."""

    class BlurredAcquisition(Acquisition):
        task = "blurred"
        modality = "MR"
        title = "deblurring"
        direct_name = "blurred"
        direct_words = "the blurred image itself"
        Simulation = BlurSimulation

        def operator(self, position: int = 0) -> LinearOperator:
            return GaussianPSF(self.measurement.image_shape, self.measurement.spacing, self.facts["fwhm"])

        def direct(self, data: Tensor, operator: LinearOperator) -> Tensor:
            return data

        @classmethod
        def draw(cls, scan: Any, level: float, settings: BlurSimulation) -> dict[str, Any]:
            return {"noise": "gaussian", "sigma": settings.noise_level * level, "fwhm": settings.fwhm}

    yield BlurredAcquisition
    del BlurredAcquisition


@pytest.fixture(autouse=True, scope="module")
def _nothing_left_behind():
    """Classes of these tests are not to be found by other tests."""
    before = set(acquisitions())
    yield
    gc.collect()
    assert set(acquisitions()) == before


def test_a_class_is_all_that_a_new_way_of_measuring_needs(scans, blurred, tmp_path, smoothing_prior):
    assert acquisitions()["blurred"] is blurred
    measurement = simulate("blurred", scans["MR"], BlurSimulation(seed=3))
    assert torch.equal(measurement.data, simulate("blurred", scans["MR"], BlurSimulation(seed=3)).data)
    assert not torch.equal(measurement.data, simulate("blurred", scans["MR"]).data)
    assert measurement.parameters["settings"] == {"fwhm": 2.0, "noise_level": 0.005, "seed": 3}
    write_measurement(measurement, tmp_path / "blurred.safetensors")
    found = acquisition_of(read_measurement(tmp_path / "blurred.safetensors"))
    assert isinstance(found, blurred)
    # What was measured is the blurred scan, with the noise that was asked for.
    images = torch.from_numpy(scans["MR"].array)
    noise = (found.measurement.data - found.operator()(images)).double()
    assert float(noise.std()) == pytest.approx(measurement.parameters["sigma"], rel=0.05)
    assert isinstance(found.noise, Gaussian)
    problems = found.problems()
    assert len({id(problem.operator) for problem in problems}) == 1
    assert problems[1].scale == pytest.approx(float(torch.quantile(measurement.data[1], 0.99)), rel=1e-5)
    # And the solver sharpens it.
    problem = problems[1]
    settings = PlugAndPlaySettings(iterations=10, regularisation_weight=0.05, sigma_start=0.05)
    image = found.export(problem.scale * plug_and_play(problem, smoothing_prior, settings))
    direct = found.export(found.direct(problem.data, problem.operator))
    errors = [float(np.square(each - scans["MR"].array[1]).mean()) for each in (image, direct)]
    assert errors[0] < 0.8 * errors[1]


@pytest.fixture
def smoothing_prior():
    """A prior that takes off what stands out from the mean of its neighbours by no more than the level."""

    class Neighbours:
        def denoise(self, image: Tensor, level: float, orientation: int = 0) -> Tensor:
            mean = torch.nn.functional.avg_pool2d(image[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
            return image - (image - mean).clamp(-level, level)

    return Neighbours()


def test_with_a_modality_of_its_own_and_settings_that_are_refused(scans, blurred):
    with pytest.raises(UnitError, match="Task blurred simulates a MR scanner; this scan is CT"):
        simulate("blurred", scans["CT"])
    del blurred
    with pytest.raises(ConfigError, match=r"'sharpened' is not one of .*blurred"):
        acquisition_class("sharpened")


def test_a_way_of_measuring_may_build_on_another_and_replaces_none(scans):
    class Doubled(KspaceAcquisition):
        """k-space that is recorded twice as strongly."""

        task = "doubled"

        def operator(self, position: int = 0) -> LinearOperator:
            lines = super().operator(position)
            return Weighting(torch.full(lines.range.shape, 2.0)) @ lines

    class Unfinished(Acquisition):
        """Has no task, and is nothing to choose."""

    class Second(Acquisition):
        """Of a name that is taken."""

        task = "kspace"

        def operator(self, position: int = 0) -> LinearOperator:
            raise AssertionError

        def direct(self, data: Tensor, operator: LinearOperator) -> Tensor:
            raise AssertionError

        @classmethod
        def draw(cls, scan: Any, level: float, settings: Any) -> dict[str, Any]:
            raise AssertionError

    assert acquisition_class("doubled") is Doubled
    assert acquisition_class("kspace") is KspaceAcquisition
    settings = KspaceSimulation(snr_db=200.0)
    plain, doubled = (_measured(scans, task, settings) for task in ("kspace", "doubled"))
    torch.testing.assert_close(doubled.measurement.data, 2 * plain.measurement.data)
    del Doubled, Unfinished, Second


@pytest.mark.parametrize("factor", [1.0, 1.5, 1 / 1.5])
def test_noise_of_kspace_that_was_told_wrong_is_found_and_said(synthetic, factor):
    scan = synthetic.phantom((2, 96, 96), "MR")
    measurement = simulate("kspace", scan, KspaceSimulation(snr_db=10.0))
    right = measurement.parameters["sigma"]
    told = replace(measurement, parameters=measurement.parameters | {"sigma": factor * right})
    found = acquisition_of(told)
    assert found.noise.sigma == pytest.approx(right, rel=0.1)
    assert ("outermost samples" in found.noise_warning) == (factor != 1.0)
