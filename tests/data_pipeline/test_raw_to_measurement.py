"""Raw data to a measurement: the operator explains the samples, and the noise level and grid are right."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from medinr.acquisition.ways import acquisition_of
from medinr.data.raw.prepare import calibration_extent, prepare, with_coil_maps
from medinr.data.raw.settings import LineSelection, RawSettings
from medinr.data.raw.to_measurement import measurement_from_raw
from medinr.errors import ConfigError, GeometryError
from medinr.io.measurement import read_measurement, write_measurement
from medinr.operators import (
    FanBeam,
    Gaussian,
    NonUniformFourier,
    ParallelBeam,
    TransmissionPoisson,
    birdcage_maps,
    cartesian_mask,
    point_mask,
    radial_trajectory,
    undersampled_fourier,
)
from medinr.raw import CARTESIAN, NON_CARTESIAN, SINOGRAM, RawMeasurement

SHAPE = (48, 40)
SIGMA = 0.02


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def head() -> torch.Tensor:
    """A smooth complex ellipse, zero around it."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SHAPE[0]), torch.linspace(-1, 1, SHAPE[1]), indexing="ij")
    inside = torch.sigmoid(25 * (0.7 - torch.hypot(x / 0.85, y)))
    return torch.polar(inside * (1 + 0.3 * torch.cos(5 * x) * torch.cos(4 * y)), 0.8 * x - 0.3 * y * y)


def kspace(coils: int = 4, slices: int = 2, sigma: float = SIGMA) -> tuple[torch.Tensor, torch.Tensor]:
    """Fully sampled noisy k-space ``(slice, coil, ky, kx)`` and the maps."""
    maps = birdcage_maps(SHAPE, coils) if coils > 1 else torch.ones(1, *SHAPE, dtype=torch.complex64)
    full = undersampled_fourier(SHAPE, list(range(SHAPE[0])), maps)
    images = torch.stack([head() * (1 + k) for k in range(slices)])
    return Gaussian(sigma).sample(full(images), seeded()), maps


def raw_kspace(data: torch.Tensor, mask: torch.Tensor | None = None, **arrays: torch.Tensor) -> RawMeasurement:
    facts = {"image_shape": SHAPE, "spacing_mm": (1.2, 1.5)}
    if mask is not None:
        data, arrays = data * mask, {**arrays, "mask": mask}
    return RawMeasurement("kspace", data, CARTESIAN, facts, arrays)


def points() -> torch.Tensor:
    return point_mask(SHAPE, 3.0, 16, seed=1).as_tensor()


def lines() -> torch.Tensor:
    keep = torch.zeros(SHAPE[0], dtype=torch.bool)
    keep[::2] = keep[16:32] = True
    return keep[:, None].expand(SHAPE).contiguous()


@pytest.mark.parametrize("mask", [None, points(), lines()], ids=["full", "points", "lines"])
@pytest.mark.parametrize("coils", [1, 4])
def test_the_operator_explains_the_samples_to_within_their_noise(mask, coils):
    data, maps = kspace(coils)
    given = {"coil_maps": maps} if coils > 1 else {}
    measurement = measurement_from_raw(raw_kspace(data, mask, **given))
    found = acquisition_of(measurement)
    operator = found.operator()
    reference = torch.stack([head(), 2 * head()])
    whitened = (operator(reference) - measurement.data) / SIGMA
    assert float(whitened.abs().square().mean() / 2) == pytest.approx(1.0, abs=0.05)
    assert measurement.image_shape == SHAPE
    assert measurement.spacing == pytest.approx((1.2, 1.5))
    assert found.noise.sigma == pytest.approx(SIGMA, rel=0.25)
    assert measurement.parameters["achieved_acceleration"] == pytest.approx(
        1.0 if mask is None else mask.numel() / int(mask.sum())
    )


@pytest.mark.parametrize("thickness", [None, 1.3])
def test_voxels_are_known_where_the_file_tells_pixels_and_thickness(thickness):
    raw = raw_kspace(kspace(1)[0])
    if thickness is not None:
        raw = replace(raw, facts={**raw.facts, "slice_thickness_mm": thickness})
    assert measurement_from_raw(raw).parameters["voxels_known"] is (thickness is not None)


def test_points_of_all_coils_are_held_out_together_and_never_the_centre():
    data, maps = kspace()
    measurement = measurement_from_raw(raw_kspace(data, points(), coil_maps=maps))
    found = acquisition_of(measurement)
    assert found.group_axis == -1
    assert measurement.data.shape == (2, 4, int(points().sum()))
    where = points().nonzero()[list(found.protected())]
    assert len(where) >= 16 * 16
    assert int((where - torch.tensor(SHAPE) // 2).abs().max()) <= 8


def test_lines_are_held_out_whole():
    data, maps = kspace()
    measurement = measurement_from_raw(raw_kspace(data, lines(), coil_maps=maps))
    assert acquisition_of(measurement).group_axis == -2
    assert measurement.data.shape == (2, 4, int(lines()[:, 0].sum()), SHAPE[1])


@pytest.mark.parametrize("method", ["espirit", "walsh"])
def test_estimated_maps_explain_the_scan_as_well_as_the_true_ones(method):
    data, maps = kspace(sigma=0.002)
    raw = with_coil_maps(raw_kspace(data, points()), method)
    assert "16 x 16 samples" in raw.steps[-1]
    measurement = measurement_from_raw(raw)
    assert measurement.arrays["coil_maps"].shape == (2, 4, *SHAPE)
    scan = acquisition_of(measurement)
    assert not scan.shares_operator
    found = measurement.arrays["coil_maps"][1]
    inside = head().abs() > 0.5
    overlap = (found.conj() * maps).sum(0).abs()[inside]
    assert float(overlap.min()) > 0.99
    zero_filled = scan.direct(measurement.data[1], scan.operator(1))
    true = undersampled_fourier(SHAPE, points(), maps)
    expected = true.H(measurement.data[1])
    difference = (zero_filled.abs() - expected.abs())[inside]
    assert float(difference.abs().max()) < 0.05 * float(expected.abs().max())


def test_without_a_full_centre_there_are_no_maps():
    mask = points()
    mask[SHAPE[0] // 2 + 2, :] = False
    raw = raw_kspace(kspace()[0], mask)
    assert max(calibration_extent(raw)) < 8
    with pytest.raises(GeometryError, match="fully sampled centre"):
        with_coil_maps(raw)
    with pytest.raises(ConfigError, match="coil_maps"):
        measurement_from_raw(raw)


def test_preparation_compresses_whitens_and_says_so():
    data, _ = kspace(coils=6)
    covariance = torch.eye(6, dtype=torch.complex64) * SIGMA**2
    raw = prepare(raw_kspace(data, noise_covariance=covariance), RawSettings(coils=4, acceleration=2.0))
    assert raw.data.shape[1] == 4
    assert raw.acceleration == pytest.approx(2.0)
    words = " ".join(raw.steps)
    for word in ("whitened", "compressed", "Undersampled", "sensitivities"):
        assert word in words
    assert acquisition_of(measurement_from_raw(raw)).noise.sigma == 1.0


@pytest.mark.parametrize(
    "selection", [LineSelection(), LineSelection(0.25, "equispaced"), LineSelection(0.1, "random", 7)]
)
def test_lines_that_stay_are_drawn_as_said(selection):
    raw = raw_kspace(kspace(1)[0])
    found = prepare(raw, RawSettings(acceleration=3.0), selection)
    wanted = cartesian_mask(SHAPE[0], 3.0, selection.centre_fraction, selection.mask, selection.seed).as_tensor()
    assert torch.equal(found.arrays["mask"].any(-1), wanted.flatten().bool())
    assert torch.equal(found.data, raw.data * found.arrays["mask"])
    if selection == LineSelection():
        assert torch.equal(prepare(raw, RawSettings(acceleration=3.0)).data, found.data)
    else:
        assert not torch.equal(prepare(raw, RawSettings(acceleration=3.0)).data, found.data)


def test_a_radial_scan_is_gridded_to_its_image():
    trajectory = radial_trajectory(80, 96, SHAPE)
    scan = NonUniformFourier((1, *SHAPE), trajectory)
    data = Gaussian(0.01).sample(scan(head()[None]), seeded())[None]
    facts = {"image_shape": SHAPE}
    raw = RawMeasurement("kspace", data, NON_CARTESIAN, facts, {"trajectory": trajectory})
    measurement = measurement_from_raw(raw)
    assert "The pixel size is not known; 1 mm is assumed." in measurement.parameters["steps"]
    assert acquisition_of(measurement).group_axis == -2
    gridded = acquisition_of(measurement)
    image = gridded.direct(measurement.data[0], gridded.operator())
    error = torch.linalg.vector_norm(image - head()) / torch.linalg.vector_norm(head())
    assert float(error) < 0.1


def sinogram(projector, noise: float = 0.003) -> torch.Tensor:
    return projector(disc(projector)) + noise * torch.randn(projector.range.shape, generator=seeded())


def disc(projector) -> torch.Tensor:
    (y, x), (dy, dx) = projector.domain.shape, projector.spacing
    rows = (torch.arange(y) - (y - 1) / 2)[:, None] * dy
    columns = (torch.arange(x) - (x - 1) / 2) * dx
    return 0.02 * torch.sigmoid(4 * (9.0 - torch.hypot(columns - 3, rows + 2)))


ANGLES = torch.arange(90, dtype=torch.float64) * math.pi / 45


@pytest.mark.parametrize("kind", ["parallel", "fan"])
def test_sinograms_keep_their_geometry_and_come_back_in_1_per_mm(kind):
    if kind == "parallel":
        made = ParallelBeam((64, 64), (0.5, 0.5), ANGLES / 2, 64, 0.5, centre=1.5)
        facts = {"geometry": "parallel", "angles": tuple((ANGLES / 2).tolist()), "centre_offset": 3.0}
    else:
        made = FanBeam((64, 64), (0.5, 0.5), ANGLES, 100.0, 200.0, 64, 1.0, detector_offset=-2.0)
        facts = {"geometry": "fan", "angles": tuple(ANGLES.tolist()), "centre_offset": 2.0}
        facts |= {"source_origin_mm": 100.0, "source_detector_mm": 200.0}
    facts["detector_spacing_mm"] = made.detector_spacing
    raw = RawMeasurement("sinogram", sinogram(made)[None].float(), SINOGRAM, facts)
    measurement = measurement_from_raw(raw)
    assert measurement.spacing == pytest.approx((0.5, 0.5))
    views = acquisition_of(measurement)
    operator = views.operator()
    torch.testing.assert_close(operator(disc(made)), made(disc(made)))
    assert views.noise.sigma == pytest.approx(0.003, rel=0.15)
    image = views.direct(measurement.data[0], operator)
    middle = disc(made) > 0.0199
    assert float(image[middle].mean()) == pytest.approx(0.02, rel=0.03)
    assert measurement.unit == "1/mm"


def test_counted_photons_are_the_noise_model_and_a_smaller_grid_keeps_the_field_of_view():
    made = ParallelBeam((64, 64), (0.5, 0.5), ANGLES / 2, 64, 0.5)
    facts = {"geometry": "parallel", "angles": tuple((ANGLES / 2).tolist()), "photons": 5e4}
    raw = RawMeasurement("sinogram", sinogram(made)[None].float(), SINOGRAM, facts)
    measurement = measurement_from_raw(raw, 32)
    assert acquisition_of(measurement).noise == TransmissionPoisson(5e4)
    assert measurement.spacing == pytest.approx((2.0, 2.0))
    assert any("detector is not known" in step for step in measurement.parameters["steps"])


def test_the_rotation_centre_is_found_when_the_file_does_not_say_it():
    made = ParallelBeam((64, 64), (1.0, 1.0), torch.arange(180) * math.pi / 180, 96, 1.0, centre=4.0)
    facts = {"geometry": "parallel", "angles": tuple((np.arange(180) * math.pi / 180).tolist())}
    raw = RawMeasurement("sinogram", sinogram(made)[None].float(), SINOGRAM, facts)
    assert prepare(raw, RawSettings()).facts["centre_offset"] == pytest.approx(4.0, abs=0.5)
    assert "centre_offset" not in prepare(raw, RawSettings(rotation_centre="header")).facts
    few = prepare(raw, RawSettings(every=3))
    assert few.data.shape[1] == 60


@pytest.mark.parametrize("mask", [points(), lines()], ids=["points", "lines"])
def test_a_saved_measurement_has_the_same_operator(tmp_path, mask):
    data, maps = kspace()
    measurement = measurement_from_raw(raw_kspace(data, mask, coil_maps=maps))
    write_measurement(measurement, tmp_path / "m.safetensors")
    back = read_measurement(tmp_path / "m.safetensors")
    assert torch.equal(back.data, measurement.data)
    assert torch.equal(acquisition_of(back).operator()(head()), acquisition_of(measurement).operator()(head()))


@pytest.mark.parametrize(
    "wrong", [{"maps": "guess"}, {"rotation_centre": "left"}, {"acceleration": 0.5}, {"every": 0}, {"coils": -1}]
)
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(ConfigError):
        RawSettings(**wrong)
