import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from medinr.acquisition.coarse_image import CoarseSimulation
from medinr.acquisition.image import ImageSimulation
from medinr.acquisition.kspace import KspaceSimulation, smooth_phase
from medinr.acquisition.projections import ProjectionSimulation
from medinr.acquisition.simulation import simulate
from medinr.acquisition.ways import acquisition_class, acquisition_of
from medinr.errors import ConfigError, GeometryError, UnitError
from medinr.io.measurement import read_measurement, write_measurement
from medinr.measurement import Measurement
from medinr.operators import FanBeam, Gaussian, Rician, TransmissionPoisson
from medinr.units import MU_WATER

TASKS = ("denoise", "superres", "kspace", "ct")


@pytest.fixture
def scans(synthetic):
    return {kind: synthetic.phantom((3, 36, 30), kind) for kind in ("MR", "CT")}


def _settings(task, **changes):
    """A task's settings with nine views; changes that it does not know are for other tasks."""
    kind = acquisition_class(task).Simulation
    known = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in ({"views": 9} | changes).items() if name in known})


def _simulate(scans, task, level=None, **changes):
    return simulate(task, scans["CT" if task == "ct" else "MR"], _settings(task, **changes), level=level)


def _images(scan, measurement):
    return acquisition_class(measurement.task).images(scan, measurement.parameters)


def _clean(scans, measurement):
    return acquisition_of(measurement).operator()(_images(scans[measurement.modality], measurement))


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_measures_the_same_and_another_seed_another(scans, task):
    first, again, other = (_simulate(scans, task, seed=seed, noise_level=0.05) for seed in (3, 3, 4))
    assert torch.equal(first.data, again.data)
    assert first.parameters == again.parameters
    assert not torch.equal(first.data, other.data) or first.data.shape != other.data.shape
    assert first.parameters["simulated"] is True
    assert first.parameters["settings"]["seed"] == 3


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("coils", [1, 3])
def test_operator_noise_and_data_fit_together(scans, task, coils):
    measurement = _simulate(scans, task, coils=coils)
    found = acquisition_of(measurement)
    operator = found.operator()
    assert tuple(measurement.data.shape) == (3, *operator.range.shape)
    assert operator.domain.shape == measurement.image_shape == (36, 30)
    assert measurement.spacing == pytest.approx((0.8, 0.9))
    assert (measurement.modality, measurement.unit) == (("CT", "HU") if task == "ct" else ("MR", "a.u."))
    kinds = {"denoise": Rician, "superres": Gaussian, "kspace": Gaussian, "ct": TransmissionPoisson}
    assert isinstance(found.noise, kinds[task])
    assert np.array_equal(measurement.affine, scans[measurement.modality].affine)
    assert ("coil_maps" in measurement.arrays) == (task == "kspace" and coils > 1)
    assert task in repr(measurement)


def test_noise_of_magnitudes_is_rician_at_the_level_asked_for(scans):
    measurement = _simulate(scans, "denoise", noise_level=0.1)
    level = float(np.percentile(scans["MR"].array, 99))
    sigma = measurement.parameters["sigma"]
    assert sigma == pytest.approx(0.1 * level)
    # Second moment of a Rician: A^2 + 2 sigma^2, here over 3240 voxels.
    excess = float((measurement.data.double() ** 2 - _clean(scans, measurement).double() ** 2).mean())
    assert excess == pytest.approx(2 * sigma**2, rel=0.25)
    air = measurement.data[:, :2, :2].double()
    assert float((air**2).mean()) == pytest.approx(2 * sigma**2, rel=0.6)
    assert float(measurement.data.min()) > 0


def test_level_of_the_whole_volume_decides_the_noise(scans):
    assert _simulate(scans, "denoise", level=2000.0, noise_level=0.05).parameters["sigma"] == pytest.approx(100.0)


def test_coarse_pixels_carry_gaussian_noise_or_none(scans):
    noisy = _simulate(scans, "superres", noise_level=0.1, factor=3)
    assert noisy.data.shape == (3, 12, 10)
    difference = (noisy.data - _clean(scans, noisy)).double()
    assert float(difference.std()) == pytest.approx(noisy.parameters["sigma"], rel=0.15)
    assert abs(float(difference.mean())) < 4 * noisy.parameters["sigma"] / math.sqrt(360)
    still = _simulate(scans, "superres", noise_level=0.0, level=100.0)
    assert torch.equal(still.data, _clean(scans, still))
    # The data are exact; the fit still needs a tolerance.
    assert still.parameters["sigma"] == pytest.approx(0.5)
    assert still.parameters["added_sigma"] == 0.0


@pytest.mark.parametrize("snr_db", [40.0, 20.0])
def test_snr_is_that_of_the_full_k_space(scans, snr_db):
    measurement = _simulate(scans, "kspace", snr_db=snr_db)
    sigma = measurement.parameters["sigma"]
    full = _simulate(scans, "kspace", snr_db=snr_db, acceleration=1.0)
    clean = _clean(scans, full)
    assert clean.shape == (3, 36, 30)
    energy = float(clean.abs().double().square().mean())
    assert 10 * math.log10(energy / (2 * sigma**2)) == pytest.approx(snr_db, abs=1e-4)
    noise = full.data - clean
    for part in (noise.real, noise.imag):
        assert float(part.double().std()) == pytest.approx(sigma, rel=0.06)
    assert float((noise.real * noise.imag).double().mean().abs()) < 0.1 * sigma**2


def test_lines_are_as_many_as_the_acceleration_leaves_with_the_centre_among_them(scans):
    for kind in ("variable", "random", "equispaced"):
        measurement = _simulate(scans, "kspace", acceleration=3.0, centre_fraction=0.1, mask=kind)
        facts = measurement.parameters
        lines = facts["mask"]["lines"]
        assert measurement.data.shape == (3, 12, 30)
        assert len(lines) == 12
        assert facts["achieved_acceleration"] == 3.0
        assert {16, 17, 18, 19} & set(lines) >= {17, 18}
        assert set(lines) <= set(range(36))


@pytest.mark.parametrize("coils", [1, 3])
def test_slices_with_lines_of_their_own_are_each_measured_by_their_own_operator(scans, coils, tmp_path):
    measurement = _simulate(scans, "kspace", acceleration=3.0, centre_fraction=0.1, own_lines=True, coils=coils)
    found = acquisition_of(measurement)
    assert not found.shares_operator
    assert not found.sampled_alike
    masks = [found.lines(position) for position in range(3)]
    assert len({mask.lines for mask in masks}) == 3
    assert {len(mask.lines) for mask in masks} == {12}
    images = _images(scans["MR"], measurement)
    back = acquisition_of(read_measurement(_written(measurement, tmp_path)))
    for position, image in enumerate(images):
        error = measurement.data[position] - back.operator(position)(image)
        assert float(error.real.double().std()) == pytest.approx(measurement.parameters["sigma"], rel=0.15)
        lines = masks[position].lines
        protected = [lines[i] for i in found.protected(position)]
        assert protected == [line for line in range(17, 20) if line in lines]


def _written(measurement, folder):
    write_measurement(measurement, folder / "m.safetensors")
    return folder / "m.safetensors"


def test_protected_lines_are_the_central_ones(scans):
    measurement = _simulate(scans, "kspace", acceleration=2.0, centre_fraction=0.2)
    lines = measurement.parameters["mask"]["lines"]
    protected = [lines[i] for i in acquisition_of(measurement).protected()]
    assert protected == [line for line in range(15, 22) if line in lines]
    assert {16, 17, 18, 19, 20} <= set(protected)
    assert acquisition_of(measurement).group_axis == -2
    for task, axis in (("denoise", None), ("superres", None), ("ct", -2)):
        other = acquisition_of(_simulate(scans, task))
        assert other.group_axis == axis
        assert other.protected() == ()


def test_phase_is_smooth_bounded_and_recorded(scans):
    measurement = _simulate(scans, "kspace", phase=1.0)
    coefficients = measurement.parameters["phase"]
    assert len(coefficients) == 6
    assert max(abs(c) for c in coefficients) <= 0.5
    image = _images(scans["MR"], measurement)
    np.testing.assert_allclose(image.abs().numpy(), scans["MR"].array, rtol=1e-5, atol=1e-4)
    phase = smooth_phase((36, 30), coefficients)
    body = scans["MR"].array[1] > 0
    np.testing.assert_allclose(image[1].angle().numpy()[body], phase.numpy()[body], atol=1e-4)


def test_phase_polynomial_by_hand():
    phase = smooth_phase((3, 5), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert phase[0, 0] == 1 - 2 - 3 + 4 + 5 + 6
    assert phase[2, 3] == 1 + 2 + 1.5 + 4 + 2.5 + 1.5
    assert phase[1, 2] == 1.0


def test_counts_are_whole_and_scatter_as_photons_do(scans):
    measurement = _simulate(scans, "ct", photons=1e4, views=12)
    counts = 1e4 * torch.exp(-measurement.data.double())
    assert float((counts - counts.round()).abs().max()) < 0.01
    expected = 1e4 * torch.exp(-_clean(scans, measurement).double())
    standardised = (counts - expected) / expected.sqrt()
    number = standardised.numel()
    assert abs(float(standardised.mean())) < 4 / math.sqrt(number)
    assert float(standardised.square().mean()) == pytest.approx(1.0, abs=4 * math.sqrt(2 / number))


def test_detector_covers_the_diagonal_and_angles_half_a_rotation(scans):
    facts = _simulate(scans, "ct", views=12).parameters
    assert facts["angles"] == pytest.approx([k * math.pi / 12 for k in range(12)])
    assert facts["detector_spacing"] == pytest.approx(0.8)
    assert facts["detector_count"] * 0.8 >= math.hypot(36 * 0.8, 30 * 0.9)


def test_a_fan_rotates_fully_and_sees_the_whole_image(scans):
    measurement = _simulate(scans, "ct", views=12, geometry="fan", distances=(60.0, 90.0))
    facts = measurement.parameters
    assert facts["angles"] == pytest.approx([k * math.pi / 6 for k in range(12)])
    # A pixel's width on the axis of rotation, one and a half on the detector.
    assert facts["detector_spacing"] == pytest.approx(0.8 * 1.5)
    projector = acquisition_of(measurement).operator()
    assert isinstance(projector, FanBeam)
    assert (projector.source_origin, projector.source_detector) == (60.0, 90.0)
    radius = math.hypot(36 * 0.8, 30 * 0.9) / 2
    assert 60.0 * math.sin(projector.half_fan) >= radius
    # And not much more than the whole: one element to spare on either side.
    outermost = projector.offsets[-1] - 2 * projector.detector_spacing
    assert 60.0 * math.sin(math.atan(float(outermost) / 90.0)) < radius
    assert torch.equal(measurement.data, _simulate(scans, "ct", **facts["settings"]).data)


def test_filtered_backprojection_and_scale_suit_a_fan(scans):
    body = replace(scans["CT"], array=np.full_like(scans["CT"].array, -1000.0))
    y, x = np.mgrid[:36, :30]
    body.array[:, np.hypot((y - 17.5) * 0.8, (x - 14.5) * 0.9) < 9] = 0.0
    settings = ProjectionSimulation(views=180, photons=1e7, geometry="fan", distances=(60.0, 90.0))
    found = acquisition_of(simulate("ct", body, settings))
    data, operator = found.measurement.data[1], found.operator()
    image = found.direct(data, operator)
    assert float(image[14:22, 11:19].mean()) == pytest.approx(MU_WATER, rel=0.02)
    assert abs(float(image[:3, :3].mean())) < 0.05 * MU_WATER
    assert found.scale(data, operator) == MU_WATER


def test_a_fan_that_cannot_be_is_refused(scans):
    with pytest.raises(ConfigError, match="geometry 'cone' is not one of parallel, fan"):
        ProjectionSimulation(geometry="cone")
    with pytest.raises(ConfigError, match=r"got 900\.0 and 541\.0"):
        ProjectionSimulation(distances=(900.0, 541.0))
    with pytest.raises(GeometryError, match=r"15 mm from the axis is inside .* radius 20 mm.*simulation\.distances"):
        _simulate(scans, "ct", geometry="fan", distances=(15.0, 40.0))


def test_ct_sees_attenuation_and_nothing_below_vacuum(scans):
    scan = scans["CT"]
    scan.array[0, 0, 0] = -3024
    image = acquisition_class("ct").images(scan, {})
    assert float(image[0, 0, 0]) == 0.0
    assert float(image.min()) == 0.0
    np.testing.assert_allclose(
        image[1].numpy(), MU_WATER * (1 + np.clip(scan.array[1], -1000, None) / 1000), rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize("task", TASKS)
def test_modality_must_be_that_of_the_scanner(scans, task):
    wrong, right = ("MR", "CT") if task == "ct" else ("CT", "MR")
    with pytest.raises(UnitError, match=f"simulates a {right} scanner; this scan is {wrong}.*--modality {right}"):
        simulate(task, scans[wrong], _settings(task))


def test_unknown_task_and_noise(scans):
    with pytest.raises(ConfigError, match="'xray' is not one of ") as refusal:
        simulate("xray", scans["MR"], ImageSimulation())
    assert all(task in str(refusal.value) for task in TASKS)
    measurement = _simulate(scans, "denoise")
    odd = Measurement(**{**vars(measurement), "parameters": {"noise": "pink", "sigma": 1.0}})
    with pytest.raises(ConfigError, match="'pink' is not one of gaussian, rician, poisson"):
        acquisition_of(odd).noise  # noqa: B018


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (ImageSimulation, {"noise_level": -0.1}, r"noise_level must be 0 or more; got -0\.1"),
        (CoarseSimulation, {"factor": 0}, "factor at least 1; got .*0"),
        (KspaceSimulation, {"coils": 0}, "coils must be at least 1; got 0"),
        (ProjectionSimulation, {"views": 0}, "views must be at least 1, photons positive; got 0"),
        (ProjectionSimulation, {"photons": 0.0}, r"photons positive; got 60, 0\.0"),
        (CoarseSimulation, {"noise_level": -0.1}, r"noise_level must be 0 or more .*got -0\.1"),
        (CoarseSimulation, {"direction": "sideways"}, "'sideways' is not one of in-plane, through-plane"),
    ],
)
def test_nonsense_settings(kind, settings, words):
    with pytest.raises(ConfigError, match=words):
        kind(**settings)


def test_scale_comes_from_what_was_measured(scans):
    for task in ("denoise", "superres", "kspace"):
        measurement = _simulate(scans, task, acceleration=1.0, noise_level=0.01)
        found = acquisition_of(measurement)
        scale = found.scale(measurement.data[1], found.operator())
        assert scale == pytest.approx(float(np.percentile(scans["MR"].array[1], 99)), rel=0.1)
        assert found.problem(1).scale == scale
    measurement = _simulate(scans, "ct")
    found = acquisition_of(measurement)
    assert found.scale(measurement.data[1], found.operator()) == MU_WATER
    empty = acquisition_of(_simulate(scans, "denoise"))
    assert empty.scale(torch.zeros(36, 30), empty.operator()) == 1.0
