"""Arrays with a sidecar, and BART's pair of files."""

import itertools

import h5py
import numpy as np
import pytest
import scipy.io
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medinr.errors import ConfigError, FileError, GeometryError, IntensityError, ShapeError
from medinr.io.raw.bart import read_cfl
from medinr.io.raw.read import read_raw
from medinr.io.raw.recognise import is_raw
from medinr.io.raw.sidecar import Sidecar, read_sidecar
from medinr.operators import Fourier

KSPACE = {"kind": "kspace", "axes": ["coil", "ky", "kx"]}
SINOGRAM = {
    "kind": "sinogram",
    "axes": ["angle", "detector"],
    "geometry": "parallel",
    "units": "line integrals",
    "angle_step": 2.0,
    "angle_unit": "degrees",
}


def random_kspace(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def save(path, array, sidecar=None):
    np.save(path, array)
    if sidecar is not None:
        path.with_name(path.name + ".yaml").write_text(yaml.safe_dump(sidecar))
    return path


def write_cfl(stem, array, sizes=None):
    """Write BART's format by hand: sizes in a line of text, samples column-major."""
    sizes = array.shape if sizes is None else sizes
    stem.with_name(stem.name + ".hdr").write_text(f"# Dimensions\n{' '.join(map(str, sizes))} \n# Command\nphantom\n")
    stem.with_name(stem.name + ".cfl").write_bytes(array.astype("<c8").tobytes(order="F"))
    return stem.with_name(stem.name + ".cfl")


def write_mat73(path, **variables):
    """Write what MATLAB -v7.3 does: HDF5 behind a block of 512 bytes, axes reversed, complex numbers as pairs."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            stored = np.ascontiguousarray(value.T)
            if np.iscomplexobj(stored):
                pairs = np.empty(stored.shape, [("real", stored.real.dtype), ("imag", stored.real.dtype)])
                pairs["real"], pairs["imag"] = stored.real, stored.imag
                stored = pairs
            file.create_dataset(name, data=stored).attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, made by a test".ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


def test_sidecar_beside_elsewhere_or_in_hand(tmp_path):
    images = random_kspace(2, 9, 8)
    path = save(
        tmp_path / "a.npy", Fourier((2, 9, 8))(torch.from_numpy(images)).numpy(), KSPACE | {"fov_mm": [180, 80]}
    )
    raw = read_raw(path)
    np.testing.assert_allclose(Fourier((9, 8)).H(raw.data)[0].numpy(), images, atol=1e-5)
    assert raw.facts["spacing_mm"] == (20.0, 10.0)
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(KSPACE))
    assert "spacing_mm" not in read_raw(path, sidecar=other).facts
    assert read_raw(path, sidecar=KSPACE | {"spacing_mm": [2, 3]}).field_of_view == (18.0, 24.0)


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(["slice", "coil", "ky", "kx"]), keep=st.sets(st.sampled_from(["slice", "coil"])))
def test_any_order_of_axes_is_understood(tmp_path_factory, order, keep):
    sizes = {"slice": 3 if "slice" in keep else 1, "coil": 2 if "coil" in keep else 1, "ky": 5, "kx": 4}
    wanted = random_kspace(*sizes.values())
    axes = [axis for axis in order if axis in ("ky", "kx") or axis in keep]
    drop = tuple(i for i, axis in enumerate(sizes) if axis not in axes)
    stored = wanted.squeeze(drop)
    names = [axis for axis in sizes if axis in axes]
    stored = stored.transpose([names.index(axis) for axis in axes])
    path = save(tmp_path_factory.mktemp("axes") / "a.npy", stored)
    np.testing.assert_array_equal(read_raw(path, sidecar={"kind": "kspace", "axes": axes}).data.numpy(), wanted)


def test_zeros_are_not_measured_unless_said(tmp_path):
    kspace = random_kspace(2, 10, 8)
    kspace[:, ::2] = 0
    path = save(tmp_path / "a.npy", kspace, KSPACE)
    raw = read_raw(path)
    assert raw.arrays["mask"].any(dim=1).tolist() == [False, True] * 5
    assert (raw.sampling, raw.acceleration) == ("lines", 2.0)
    assert "mask" not in read_raw(path, sidecar=KSPACE | {"sampling": "full"}).arrays
    np.save(tmp_path / "mask.npy", np.eye(10, 8))
    masked = read_raw(path, sidecar=KSPACE | {"mask": "mask.npy"})
    assert int(masked.arrays["mask"].sum()) == 8
    assert not masked.data[..., ~masked.arrays["mask"]].any()
    # One exact zero in full data is a measured zero.
    full = random_kspace(1, 40, 40)
    full[0, 3, 4] = 0
    assert "mask" not in read_raw(save(tmp_path / "b.npy", full, KSPACE)).arrays


def test_corner_and_centre(tmp_path):
    image = random_kspace(1, 7, 6)
    path = save(tmp_path / "a.npy", np.fft.fft2(np.fft.ifftshift(image, (1, 2)), norm="ortho"), KSPACE)
    raw = read_raw(path, sidecar=KSPACE | {"zero_frequency": "corner"})
    np.testing.assert_allclose(Fourier((7, 6)).H(raw.data)[0].numpy(), image, atol=1e-5)


@pytest.mark.parametrize("write", [lambda path, **v: (scipy.io.savemat(path, v), path)[1], write_mat73])
def test_matlab_of_both_ages(tmp_path, write):
    kspace = random_kspace(9, 8, 3).astype(np.complex128)
    path = write(tmp_path / "a.mat", kdata=kspace, other=np.arange(4.0))
    sidecar = {"kind": "kspace", "axes": ["ky", "kx", "coil"], "variable": "kdata"}
    np.testing.assert_allclose(read_raw(path, sidecar=sidecar).data[0].numpy(), kspace.transpose(2, 0, 1), rtol=1e-6)
    assert is_raw(path)
    with pytest.raises(FileError, match=r"holds kdata, other; name one in the sidecar"):
        read_raw(path, sidecar={key: value for key, value in sidecar.items() if key != "variable"})
    with pytest.raises(FileError, match=r"no variable 'k'; the file holds kdata, other"):
        read_raw(path, sidecar=sidecar | {"variable": "k"})
    short = tmp_path / "short.mat"
    short.write_bytes(path.read_bytes()[:700])
    with pytest.raises(FileError, match="truncated or damaged MATLAB file"):
        read_raw(short, sidecar=sidecar)


def test_spokes_with_a_trajectory(tmp_path):
    data, places = random_kspace(2, 5, 8), np.random.default_rng(0).uniform(-0.5, 0.5, (5, 8, 2))
    path = save(tmp_path / "a.npy", data)
    np.save(tmp_path / "traj.npy", places)
    sidecar = {
        "kind": "kspace",
        "axes": ["coil", "readout", "sample"],
        "image_shape": [16, 12],
        "trajectory": "traj.npy",
        "trajectory_unit": "cycles/pixel",
    }
    raw = read_raw(path, sidecar=sidecar)
    np.testing.assert_allclose(raw.arrays["trajectory"].numpy(), places * (16, 12))
    assert raw.data.shape == (1, 2, 5, 8)
    for change, error, words in (
        ({"trajectory": None}, FileError, "needs its trajectory; name it in the sidecar"),
        ({"trajectory": "gone.npy"}, FileError, "'gone.npy' named in the sidecar is not beside it"),
        ({"trajectory": "../a.npy"}, FileError, "has to lie beside"),
        ({"trajectory": "a.npy"}, ShapeError, r"real \(readout, sample, 2\)"),
        ({"image_shape": None}, ConfigError, "add image_shape"),
    ):
        with pytest.raises(error, match=words):
            read_raw(path, sidecar={k: v for k, v in (sidecar | change).items() if v is not None})


def test_sinograms_and_their_angles(tmp_path):
    lines = np.random.default_rng(0).uniform(0.1, 2, (4, 9))
    path = save(tmp_path / "a.npy", lines)
    raw = read_raw(path, sidecar=SINOGRAM | {"rotation_centre": 5, "detector_spacing_mm": 0.5})
    np.testing.assert_allclose(raw.facts["angles"], np.radians([0, 2, 4, 6]))
    assert (raw.rotation_centre, raw.facts["centre_offset"]) == (5.0, 1.0)
    np.testing.assert_allclose(raw.data[0].numpy(), lines, rtol=1e-6)
    np.save(tmp_path / "t.npy", np.exp(-lines))
    same = read_raw(tmp_path / "t.npy", sidecar=SINOGRAM | {"units": "transmission"})
    np.testing.assert_allclose(same.data.numpy(), raw.data.numpy(), rtol=1e-5)
    assert "logarithm" in same.steps[0]
    turned = read_raw(path, sidecar=SINOGRAM | {"angle_direction": "clockwise"})
    np.testing.assert_allclose(turned.facts["angles"], -np.radians([0, 2, 4, 6]))
    with pytest.raises(GeometryError, match=r"a\.npy.*more than two rotations.*degrees"):
        read_raw(path, sidecar=SINOGRAM | {"angle_step": 45.0, "angle_unit": "rad"})
    with pytest.raises(ShapeError, match="4 views need as many angles"):
        read_raw(path, sidecar=SINOGRAM | {"angles": [0.0, 1.0]})
    with pytest.raises(GeometryError, match="A fan needs"):
        read_raw(path, sidecar=SINOGRAM | {"geometry": "fan", "detector_spacing_mm": 1})
    with pytest.raises(ConfigError, match="needs 'units"):
        read_raw(path, sidecar={key: value for key, value in SINOGRAM.items() if key != "units"})
    with pytest.raises(IntensityError, match="not positive"):
        read_raw(save(tmp_path / "n.npy", lines - 1), sidecar=SINOGRAM | {"units": "transmission"})


def test_without_a_sidecar_the_message_says_what_to_write(tmp_path):
    with pytest.raises(FileError, match=r"Write a\.npy\.yaml next to it with at least 'kind: kspace' and 'axes"):
        read_raw(save(tmp_path / "a.npy", random_kspace(2, 3, 4)))
    with pytest.raises(FileError, match=r"gone\.yaml: the sidecar cannot be read"):
        read_raw(tmp_path / "a.npy", sidecar=tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axis": ["ky"]}, "unknown key 'axis'; did you mean 'axes'"),
        ({"fov": [1, 2]}, "unknown key 'fov'; did you mean 'fov_mm'"),
        ({"axes": ["coils", "ky", "kx"]}, "Unknown axis 'coils'; did you mean 'coil'"),
        ({"axes": ["ky", "ky", "kx"]}, "each axis once"),
        ({"axes": ["coil", "ky", "sample"]}, "ky and kx or readout and sample"),
        ({"axes": "coil"}, "axes is a list"),
        ({"kind": "image"}, "kind is kspace or sinogram"),
        ({"fov_mm": [1, 2], "spacing_mm": [1, 2]}, "give one of them"),
        ({"spacing_mm": [1, -2]}, "pair of positive numbers"),
        ({"spacing_mm": [1, 2, 3]}, "pair of positive numbers"),
        ({"coils": [0, -1]}, "whole numbers from 0"),
        ({"angles": [0.0, 0.1]}, "add angle_unit"),
        ({"angles": [0.0, "x"], "angle_unit": "rad"}, "list of numbers"),
        ({"noise_sigma": "much"}, "positive number"),
    ],
)
def test_sidecars_that_are_wrong(tmp_path, change, words):
    with pytest.raises(ConfigError, match=words):
        read_sidecar(tmp_path / "a.npy", KSPACE | change)


def test_a_sidecar_file_that_is_no_mapping(tmp_path):
    for content in ("[1, 2]", "a: [", "\x00"):
        (tmp_path / "a.yaml").write_text(content)
        with pytest.raises(FileError, match=r"a\.yaml"):
            read_sidecar(tmp_path / "a.npy", tmp_path / "a.yaml")
    assert read_sidecar(tmp_path / "a.npy") == Sidecar()


def test_arrays_that_cannot_be_used(tmp_path):
    for change, error, words in (
        (lambda k: k.real, FileError, r"holds float32; k-space is complex"),
        (lambda k: k[0], ShapeError, r"shape \(5, 4\), the sidecar names axes \[coil, ky, kx\]"),
        (lambda k: k * np.array([1, 0])[:, None, None], IntensityError, "coil 1 of slice 0 is zero"),
        (lambda k: np.where(np.arange(5)[:, None] == 3, np.nan, k), IntensityError, "2 line.*coil 0, line 3"),
    ):
        path = save(tmp_path / "a.npy", change(random_kspace(2, 5, 4)), KSPACE)
        with pytest.raises(error, match=words) as caught:
            read_raw(path)
        assert "a.npy" in str(caught.value)
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match=r"o\.npy.*not a whole"):
        read_raw(tmp_path / "o.npy", sidecar=KSPACE)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileError, match="not a whole"):
        read_raw(path)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_cfl_of_any_size_is_mapped_column_major(tmp_path_factory, sizes):
    array = random_kspace(*sizes)
    path = write_cfl(tmp_path_factory.mktemp("cfl") / "k.1", array)
    found = read_cfl(path)
    assert found.shape == (*sizes, *[1] * (16 - len(sizes)))
    assert not found.flags.writeable
    np.testing.assert_array_equal(found.reshape(sizes, order="F"), array)


def test_bart_kspace(tmp_path):
    kspace = random_kspace(2, 3, 5, 4)  # slice, coil, ky, kx
    stored = np.zeros((4, 5, 1, 3, *[1] * 9, 2), np.complex64)
    stored[:, :, 0, :, 0, 0, 0, 0, 0, 0, 0, 0, 0, :] = kspace.transpose(3, 2, 1, 0)
    path = write_cfl(tmp_path / "k", stored)
    for name in (path, path.with_suffix(".hdr"), tmp_path / "k"):
        assert is_raw(name)
        np.testing.assert_array_equal(read_raw(name).data.numpy(), kspace)
    np.testing.assert_array_equal(read_raw(path, slices=[1]).data.numpy(), kspace[1:])
    assert read_raw(path).facts["readout_axis"] == "kx"
    averaged = write_cfl(tmp_path / "a", np.stack([stored, 3 * stored], axis=-1))
    np.testing.assert_allclose(read_raw(averaged).data.numpy(), 2 * kspace, rtol=1e-6)


def test_bart_partitions_and_spokes(tmp_path):
    volume = random_kspace(4, 5, 6)  # kx, ky, kz
    raw = read_raw(write_cfl(tmp_path / "v", volume))
    back = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(volume, 2), axis=2, norm="ortho"), 2)
    np.testing.assert_allclose(raw.data[:, 0].numpy(), back.transpose(2, 1, 0), atol=1e-6)
    spokes = write_cfl(tmp_path / "s", random_kspace(1, 8, 5, 2))
    places = np.random.default_rng(0).uniform(-8, 8, (3, 8, 5))
    places[2] = 0
    write_cfl(tmp_path / "t", places)
    raw = read_raw(spokes, sidecar={"trajectory": "t.cfl", "image_shape": [16, 16]})
    assert raw.data.shape == (1, 2, 5, 8)
    np.testing.assert_allclose(raw.arrays["trajectory"].numpy(), places[1::-1].transpose(2, 1, 0), rtol=1e-6)
    with pytest.raises(FileError, match="Name its trajectory"):
        read_raw(spokes)
    write_cfl(tmp_path / "t", places + 1)
    with pytest.raises(ShapeError, match="leaves the plane"):
        read_raw(spokes, sidecar={"trajectory": "t.cfl", "image_shape": [16, 16]})


def test_bart_files_that_lie(tmp_path):
    kspace = random_kspace(4, 5)
    for sizes, words in (
        ((4, 6), r"declares 4 x 6 .* 192 bytes; the file is 160 bytes"),
        ((100_000, 100_000, 100), "GiB.*above the limit"),
        ((4, 0), "at least one sample"),
        (("four", 5), "no line of whole numbers"),
    ):
        path = write_cfl(tmp_path / "k", kspace, sizes)
        with pytest.raises(FileError, match=words):
            read_raw(path)
    path.with_suffix(".hdr").unlink()
    with pytest.raises(FileError, match=r"k\.hdr: the header of k\.cfl cannot be read"):
        read_raw(path)
    with pytest.raises(FileError, match="dimension 4 of size 2"):
        read_raw(write_cfl(tmp_path / "m", random_kspace(4, 5, 1, 2, 2)))
    with pytest.raises(ConfigError, match="contains kind itself"):
        read_raw(
            write_cfl(tmp_path / "m", kspace), sidecar={"kind": "kspace", "axes": ["ky", "kx"]} | {"kind": "kspace"}
        )


def test_what_is_not_raw(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "a.hdr").write_bytes(bytes(348))
    assert not any(map(is_raw, itertools.chain(tmp_path.iterdir(), [tmp_path / "gone", tmp_path])))
    with pytest.raises(FileError, match="no raw file that is known"):
        read_raw(tmp_path / "a.txt")
    with pytest.raises(FileError, match="is a folder"):
        read_raw(tmp_path)
