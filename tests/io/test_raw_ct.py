"""Data Exchange and HTC 2022 files, and fastMRI's, written here with h5py and scipy."""

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from medinr.pipelines.inspect import inspect

from medinr.errors import ConfigError, FileError, GeometryError, IntensityError, ShapeError
from medinr.io.raw.read import read_raw
from medinr.io.raw.recognise import is_raw
from medinr.operators import Fourier

ANGLES, ROWS, WIDTH = 6, 2, 11
SECRET = "Nightingale"


def line_integrals():
    return np.random.default_rng(0).uniform(0.05, 2, (ANGLES, ROWS, WIDTH))


def write_exchange(path, *, photons=50_000, units="degrees", drop=(), **change):
    rng = np.random.default_rng(1)
    beam = rng.uniform(0.5, 1.5, (ROWS, WIDTH)) * photons
    parts = {
        "data": np.exp(-line_integrals()) * beam + 100,
        "data_white": rng.poisson(beam, (40, ROWS, WIDTH)) * np.linspace(0.9, 1.1, 40)[:, None, None] + 100,
        "data_dark": np.full((5, ROWS, WIDTH), 100.0),
        "theta": np.arange(ANGLES) * 30.0,
    } | change
    with h5py.File(path, "w") as file:
        for name, value in parts.items():
            if name not in drop:
                file[f"exchange/{name}"] = value
        if units and "theta" not in drop:
            file["exchange/theta"].attrs["units"] = units
        file["measurement/sample/name"] = SECRET
    return path


def test_counts_become_line_integrals(tmp_path):
    raw = read_raw(write_exchange(tmp_path / "a.h5"))
    np.testing.assert_allclose(raw.data.numpy(), line_integrals().transpose(1, 0, 2), atol=0.005)
    np.testing.assert_allclose(raw.facts["angles"], np.arange(6) * np.pi / 6)
    assert raw.facts["geometry"] == "parallel"
    assert raw.facts["flat_counts"] == pytest.approx(50_000, rel=0.15)
    # The beam drifts by 20 %, far more than photon noise, and is not taken for it.
    assert raw.facts["photons"] == pytest.approx(50_000, rel=0.3)
    assert "mean of 5 darks" in raw.steps[0]
    assert read_raw(tmp_path / "a.h5", slices=[1]).data.shape == (1, ANGLES, WIDTH)
    np.testing.assert_array_equal(read_raw(tmp_path / "a.h5", slices=[1, 0]).data.numpy(), raw.data.flip(0).numpy())


def test_units_of_angles_and_pixels(tmp_path):
    path = write_exchange(tmp_path / "a.h5", units=None)
    with h5py.File(path, "a") as file:
        file["measurement/instrument/detector/actual_pixel_size_x"] = 3.2
        file["measurement/instrument/detector/actual_pixel_size_x"].attrs["units"] = "um"
    raw = read_raw(path)
    np.testing.assert_allclose(max(raw.facts["angles"]), 5 * np.pi / 6)
    assert raw.facts["detector_spacing_mm"] == pytest.approx(0.0032)
    assert read_raw(path, sidecar={"detector_spacing_mm": 0.5}).facts["detector_spacing_mm"] == 0.5
    radians = write_exchange(tmp_path / "b.h5", units="radians", theta=np.linspace(0, 3, ANGLES))
    np.testing.assert_allclose(read_raw(radians).facts["angles"], np.linspace(0, 3, ANGLES))
    bare = write_exchange(tmp_path / "d.h5", drop=("theta",))
    stepped = read_raw(bare, sidecar={"angle_step": 30, "angle_unit": "degrees", "angle_direction": "clockwise"})
    np.testing.assert_allclose(stepped.facts["angles"], -np.arange(6) * np.pi / 6)
    with pytest.raises(GeometryError, match=r"c\.h5.*more than two rotations"):
        read_raw(write_exchange(tmp_path / "c.h5", units="rad"))


def test_opaque_rays_are_guarded_and_said(tmp_path):
    counts = np.full((ANGLES, ROWS, WIDTH), 20_000.0)
    counts[2, 0, 3] = 99
    raw = read_raw(write_exchange(tmp_path / "a.h5", data=counts))
    assert raw.data[0, 2, 3] == pytest.approx(-np.log(1e-4), rel=1e-5)
    assert "1 transmissions below 0.0001 were raised" in raw.steps[1]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"data": np.full((ANGLES, ROWS, WIDTH), -1.0)},
            IntensityError,
            "exchange/data: 132 of 132 counts are negative",
        ),
        ({"data": np.full((ANGLES, ROWS, WIDTH), np.nan)}, IntensityError, "132 of 132 counts are NaN"),
        ({"data_white": np.full((3, ROWS, WIDTH), 100.0)}, IntensityError, "no brighter than the darks"),
        ({"data_white": np.ones((3, ROWS, 5))}, ShapeError, "exchange/data_white: has shape"),
        ({"theta": np.arange(4.0)}, ShapeError, "4 angles for 6 views"),
        ({"drop": ("theta",)}, FileError, "no dataset 'exchange/theta'. Give the angles"),
        ({"units": "furlongs"}, FileError, "'furlongs' is no angle"),
        ({"data": np.ones((3, 4))}, ShapeError, r"\(angle, y, x\)"),
    ],
)
def test_exchange_files_that_cannot_be_used(tmp_path, change, error, words):
    path = write_exchange(tmp_path / "a.h5", **change)
    with pytest.raises(error, match=words) as caught:
        read_raw(path)
    assert str(path) in str(caught.value)


def test_declared_size_is_checked_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("exchange/data", (100_000, 1000, 1000), "f4", chunks=(1, 10, 1000))
    with pytest.raises(FileError, match=r"a\.h5, exchange/data: declares 100000 x 1000 x 1000.*GiB.*above the limit"):
        read_raw(path)
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file.create_dataset("kspace", (1000, 30, 1000, 1000), "c8", chunks=(1, 1, 10, 1000))
    with pytest.raises(FileError, match=r"kspace: declares .*above the limit"):
        read_raw(tmp_path / "k.h5")


def ct_struct(**change):
    parameters = {
        "angles": np.array([0.0, 90.0, 200.0]),
        "distanceSourceOrigin": 400.0,
        "distanceSourceDetector": 500.0,
        "distanceUnit": "mm",
        "pixelSizePost": 0.2,
        "measurers": SECRET,
    } | change
    sinogram = np.arange(15.0).reshape(3, 5) / 10
    return {"CtDataLimited": {"type": "2d", "sinogram": sinogram, "parameters": parameters}}


def write_struct73(path, struct):
    def put(group, content):
        for name, value in content.items():
            if isinstance(value, dict):
                child = group.create_group(name)
                child.attrs["MATLAB_class"] = np.bytes_("struct")
                put(child, value)
            elif isinstance(value, str):
                item = group.create_dataset(name, data=np.array([[ord(letter)] for letter in value], np.uint16))
                item.attrs["MATLAB_class"] = np.bytes_("char")
            else:
                item = group.create_dataset(name, data=np.atleast_2d(value).T)
                item.attrs["MATLAB_class"] = np.bytes_("double")

    with h5py.File(path, "w", userblock_size=512) as file:
        put(file, struct)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM")


@pytest.mark.parametrize("write", [scipy.io.savemat, write_struct73])
def test_htc_rays_are_those_of_astra(tmp_path, write):
    path = tmp_path / "a.mat"
    write(path, ct_struct())
    raw = read_raw(path)
    assert is_raw(path)
    sinogram = ct_struct()["CtDataLimited"]["sinogram"]
    facts = raw.facts
    assert (facts["source_origin_mm"], facts["source_detector_mm"], facts["detector_spacing_mm"]) == (400, 500, 0.2)
    # ASTRA's fanflat (y up): source (sin, -cos) R, detector centre the other way, elements along (cos, sin).
    for view, degrees in enumerate((0.0, 90.0, 200.0)):
        sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
        source = 400 * np.array([sine, cosine])  # y down
        theta = facts["angles"][view]
        along, across = np.array([np.sin(theta), np.cos(theta)]), np.array([np.cos(theta), -np.sin(theta)])
        np.testing.assert_allclose(-400 * along, source, atol=1e-9)
        for element in range(5):
            astra = 100 * np.array([-sine, -cosine]) + (element - 2) * 0.2 * np.array([cosine, -sine])
            number = next(k for k in range(5) if np.allclose(100 * along + (k - 2) * 0.2 * across, astra))
            assert raw.data[0, view, number] == pytest.approx(sinogram[view, element])
    assert "Half a rotation" in raw.steps[0]
    assert read_raw(path, sidecar={"rotation_centre": 1}).rotation_centre == 3.0
    assert SECRET not in inspect(path).text()


def test_htc_files_that_cannot_be_used(tmp_path):
    path = tmp_path / "a.mat"
    for change, error, words in (
        ({"distanceUnit": "inch"}, FileError, "distanceUnit is 'inch'"),
        ({"angles": np.arange(4.0)}, ShapeError, "for 4 angles"),
        ({"pixelSizePost": "wide"}, FileError, "pixelSizePost: wide is not a number"),
        ({"distanceSourceDetector": 300.0}, GeometryError, "the last the larger"),
    ):
        scipy.io.savemat(path, ct_struct(**change))
        with pytest.raises(error, match=words) as caught:
            read_raw(path)
        assert str(path) in str(caught.value)
    struct = ct_struct()
    del struct["CtDataLimited"]["sinogram"]
    scipy.io.savemat(path, struct)
    with pytest.raises(FileError, match="no field 'sinogram'"):
        read_raw(path)
    scipy.io.savemat(path, ct_struct())
    with pytest.raises(ConfigError, match="contains geometry itself"):
        read_raw(path, sidecar={"geometry": "parallel"})
    with pytest.raises(FileError, match="has one, number 0"):
        read_raw(path, slices=[1])


def write_fastmri(path, kspace, mask=None):
    header = f"""<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
    <subjectInformation><patientName>{SECRET}</patientName></subjectInformation>
    <experimentalConditions><H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz></experimentalConditions>
    <encoding><encodedSpace><matrixSize><x>16</x><y>10</y><z>1</z></matrixSize>
    <fieldOfView_mm><x>320</x><y>200</y><z>4.5</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>8</x><y>10</y><z>1</z></matrixSize>
    <fieldOfView_mm><x>160</x><y>200</y><z>4.5</z></fieldOfView_mm></reconSpace>
    <encodingLimits/><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        file["ismrmrd_header"] = header
        file.attrs["patient_id"] = SECRET
        if mask is not None:
            file["mask"] = mask
    return path


def test_fastmri(tmp_path):
    rng = np.random.default_rng(0)
    images = (rng.normal(size=(2, 3, 16, 10)) + 1j * rng.normal(size=(2, 3, 16, 10))).astype(np.complex64)
    kspace = Fourier(images.shape)(torch.from_numpy(images)).numpy()
    path = write_fastmri(tmp_path / "a.h5", kspace)
    raw = read_raw(path)
    np.testing.assert_allclose(Fourier((16, 10)).H(raw.data).numpy(), images, atol=1e-5)
    assert raw.facts["readout_axis"] == "ky"
    assert raw.facts["recon_shape"] == (8, 10)
    assert raw.facts["spacing_mm"] == (20.0, 20.0)
    assert read_raw(path, slices=[1]).data.shape[0] == 1
    mask = np.array([0, 1, 0, 1, 1, 1, 0, 1, 0, 1])
    masked = read_raw(write_fastmri(tmp_path / "b.h5", kspace, mask))
    assert masked.arrays["mask"].all(dim=0).tolist() == mask.astype(bool).tolist()
    assert (masked.sampling, masked.acceleration) == ("lines", pytest.approx(10 / 6))
    assert not masked.data[..., ~masked.arrays["mask"]].any()
    single = read_raw(write_fastmri(tmp_path / "c.h5", kspace[:, 0]))
    assert single.data.shape == (2, 1, 16, 10)
    assert SECRET not in inspect(path).text() + repr(raw) + repr(raw.provenance)
    with pytest.raises(FileError, match="mask: has 4 columns"):
        read_raw(write_fastmri(tmp_path / "d.h5", kspace, mask[:4]))
    with pytest.raises(FileError, match="fastMRI has"):
        read_raw(write_fastmri(tmp_path / "e.h5", kspace[0, 0]))


def test_hdf5_of_another_kind_lists_what_it_holds(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["some/image"] = np.ones(3)
    with pytest.raises(FileError, match=r"neither Data Exchange.*it holds some/image"):
        read_raw(tmp_path / "a.h5")


@pytest.mark.parametrize("part", [0.1, 0.4, 0.7, 0.95])
def test_files_cut_short_are_named(tmp_path, part):
    path = write_exchange(tmp_path / "a.h5")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    assert is_raw(path)
    with pytest.raises(FileError, match=r"a\.h5: truncated or damaged HDF5.*Copy it again"):
        read_raw(path)
    struct = tmp_path / "a.mat"
    scipy.io.savemat(struct, ct_struct())
    whole = struct.read_bytes()
    struct.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(FileError, match=r"a\.mat"):
        read_raw(struct)
