"""The raw measurement itself: what it tells, and what it refuses."""

import copy
import pickle

import pytest
import torch

from medinr.errors import ConfigError, GeometryError, InputError, ShapeError
from medinr.raw import CARTESIAN, NON_CARTESIAN, SINOGRAM, RawMeasurement


def kspace(mask=None, **arrays):
    arrays = arrays | ({} if mask is None else {"mask": mask})
    data = torch.ones(2, 3, 8, 6, dtype=torch.complex64)
    return RawMeasurement("kspace", data, CARTESIAN, {"image_shape": (8, 6), "spacing_mm": [2, 3]}, arrays)


def sinogram(**facts):
    known = {"geometry": "parallel", "angles": (0.0, 1.0, 2.0)}
    return RawMeasurement("sinogram", torch.ones(1, 3, 8), SINOGRAM, known | facts)


def test_what_it_tells():
    lines = torch.zeros(8, 6, dtype=torch.bool)
    lines[::2] = True
    raw = kspace(lines)
    assert repr(raw) == (
        "RawMeasurement kspace, 2 slices, 3 coils, ky 8 x kx 6, lines sampling, acceleration 2.00, from array"
    )
    assert raw.field_of_view == (16, 18)
    points = lines.clone()
    points[1, 1] = True
    assert kspace(points).sampling == "points"
    # The same mask selects lines or not, depending on which way the readout runs.
    assert raw.after("x", facts={"readout_axis": "ky"}).sampling == "points"
    assert kspace().sampling == "full"
    assert sinogram().rotation_centre == 3.5
    assert sinogram(centre_offset=-1.25).rotation_centre == 2.25
    path = torch.zeros(8, 6, 2)
    radial = RawMeasurement(
        "kspace", raw.data, NON_CARTESIAN, {"image_shape": (9, 9), "trajectory": "radial"}, {"trajectory": path}
    )
    assert (radial.sampling, radial.acceleration) == ("radial", None)


def test_steps_leave_the_first_as_it_was():
    raw = kspace(coil_maps=torch.ones(3, 8, 6, dtype=torch.complex64))
    later = raw.after("Doubled.", data=2 * raw.data, facts={"spacing_mm": None}, arrays={"coil_maps": None})
    assert later.steps == ("Doubled.",)
    assert later.field_of_view is None
    assert not later.arrays
    assert raw.steps == ()
    assert raw.field_of_view == (16, 18)
    assert "coil_maps" in raw.arrays
    with pytest.raises(TypeError):
        raw.facts["spacing_mm"] = (1, 1)
    with pytest.raises(TypeError):
        raw.arrays["mask"] = None
    with pytest.raises(AttributeError):
        raw.kind = "sinogram"


@pytest.mark.parametrize("duplicate", [lambda raw: pickle.loads(pickle.dumps(raw)), copy.deepcopy])
def test_it_travels_to_workers(duplicate):
    raw = kspace(torch.ones(8, 6, dtype=torch.bool)).after("Looked at.")
    there = duplicate(raw)
    assert repr(there) == repr(raw)
    assert dict(there.facts) == dict(raw.facts)
    assert torch.equal(there.data, raw.data)
    assert torch.equal(there.arrays["mask"], raw.arrays["mask"])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"kind": "image"}, ConfigError, "'image'"),
        ({"axes": ("coil", "slice", "ky", "kx")}, ConfigError, r"got 'kspace' \(coil, slice, ky, kx\)"),
        ({"data": torch.ones(3, 8, 6, dtype=torch.complex64)}, ShapeError, r"got shape \(3, 8, 6\)"),
        ({"data": torch.ones(2, 3, 8, 6)}, ShapeError, "complex values; got torch.float32"),
        ({"data": torch.ones(0, 3, 8, 6, dtype=torch.complex64)}, ShapeError, "none empty"),
        ({"facts": {}}, GeometryError, "needs image_shape"),
        ({"facts": {"image_shape": (6, 8)}}, ShapeError, "is not the k-space grid"),
        ({"facts": {"image_shape": (8, 6), "patient": "x"}}, ConfigError, "Unknown fact 'patient'"),
        ({"facts": {"image_shape": (8, 6), "spacing_mm": (1, 0)}}, GeometryError, "spacing_mm"),
        ({"facts": {"image_shape": (8, 6), "noise_sigma": -1.0}}, GeometryError, "noise_sigma is a positive"),
        ({"facts": {"image_shape": (8, 6), "readout_axis": "z"}}, ConfigError, "readout_axis"),
        ({"axes": NON_CARTESIAN}, GeometryError, "needs its trajectory"),
        ({"arrays": {"mask": torch.ones(8, 6)}}, ShapeError, "A mask is bool"),
        ({"arrays": {"mask": torch.zeros(8, 6, dtype=torch.bool)}}, ShapeError, "False throughout"),
        ({"arrays": {"mask": torch.ones(6, 8, dtype=torch.bool)}}, ShapeError, r"mask has shape \(6, 8\)"),
        ({"arrays": {"noise_covariance": torch.eye(2)}}, ShapeError, r"it is \(3, 3\)"),
        ({"arrays": {"maps": torch.eye(2)}}, ConfigError, "Unknown array 'maps'"),
    ],
)
def test_kspace_that_does_not_fit(change, error, words):
    parts = {
        "kind": "kspace",
        "data": torch.ones(2, 3, 8, 6, dtype=torch.complex64),
        "axes": CARTESIAN,
        "facts": {"image_shape": (8, 6)},
        "arrays": {},
    } | change
    with pytest.raises(error, match=words) as caught:
        RawMeasurement(**parts)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("facts", "error", "words"),
    [
        ({"geometry": "cone"}, GeometryError, "'parallel' or 'fan'; got 'cone'"),
        ({"angles": (0.0, 1.0)}, ShapeError, "3 views need as many angles"),
        ({"angles": (0.0, 90.0, 180.0)}, GeometryError, "Are they degrees"),
        ({"angles": (0.0, float("nan"), 1.0)}, GeometryError, "NaN"),
        ({"geometry": "fan", "source_origin_mm": 4.0, "detector_spacing_mm": 1.0}, GeometryError, "A fan needs"),
        ({"detector_spacing_mm": 0.0}, GeometryError, "detector_spacing_mm is a positive"),
        ({"image_shape": (3, 3)}, ConfigError, "Unknown fact 'image_shape'"),
    ],
)
def test_sinograms_that_do_not_fit(facts, error, words):
    with pytest.raises(error, match=words):
        sinogram(**facts)
