"""ISMRMRD files written here by its own library, and what is read from them."""

import ismrmrd
import numpy as np
import pytest
import torch
from ismrmrd import xsd
from medinr.pipelines.inspect import inspect

from medinr.errors import FileError, IntensityError
from medinr.io.raw.read import read_raw
from medinr.io.raw.recognise import is_raw
from medinr.operators import Fourier

NY, NX, COILS = 12, 20, 3
SECRET = "Nightingale"


def phantom(slices=1, coils=COILS, shape=(NY, NX), seed=0):
    """Complex images (slice, coil, y, x) with nothing symmetric about them."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(slices, coils, *shape)) + 1j * rng.normal(size=(slices, coils, *shape))
    return images.astype(np.complex64)


def kspace_of(images):
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes), norm="ortho"), axes).astype(np.complex64)


def header(trajectory="cartesian", centre=NY // 2, matrix=(NX, NY, 1), calibration=None, bandwidth=None):
    size = xsd.matrixSizeType(x=matrix[0], y=matrix[1], z=matrix[2])
    encoded = xsd.encodingSpaceType(
        matrixSize=size, fieldOfView_mm=xsd.fieldOfViewMm(x=400.0, y=240.0, z=5.0 * matrix[2])
    )
    recon = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=10, y=12, z=1), fieldOfView_mm=xsd.fieldOfViewMm(x=200.0, y=240.0, z=5.0)
    )
    limits = xsd.encodingLimitsType(
        kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=NY - 1, center=centre),
    )
    encoding = xsd.encodingType(
        encodedSpace=encoded,
        reconSpace=recon,
        encodingLimits=limits,
        trajectory=xsd.trajectoryType(trajectory),
    )
    if calibration:
        encoding.parallelImaging = xsd.parallelImagingType(
            accelerationFactor=xsd.accelerationFactorType(kspace_encoding_step_1=2, kspace_encoding_step_2=1),
            calibrationMode=xsd.calibrationModeType(calibration),
        )
    result = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63_870_000),
        subjectInformation=xsd.subjectInformationType(patientName=SECRET, patientID=SECRET + "-1"),
        encoding=[encoding],
    )
    if bandwidth:
        result.acquisitionSystemInformation = xsd.acquisitionSystemInformationType(
            relativeReceiverNoiseBandwidth=bandwidth
        )
    return result


def readout(data, line=0, partition=0, slice=0, average=0, flags=(), dwell=5.0, centre=None, traj=None, **idx):
    acquisition = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data, np.complex64), traj)
    acquisition.idx.kspace_encode_step_1 = line
    acquisition.idx.kspace_encode_step_2 = partition
    acquisition.idx.slice = slice
    acquisition.idx.average = average
    for name, value in idx.items():
        setattr(acquisition.idx, name, value)
    acquisition.sample_time_us = dwell
    acquisition.center_sample = data.shape[1] // 2 if centre is None else centre
    for flag in flags:
        acquisition.set_flag(flag)
    return acquisition


def write(path, acquisitions, **kwargs):
    with ismrmrd.Dataset(str(path), "dataset", create_if_needed=True) as file:
        file.write_xml_header(xsd.ToXML(header(**kwargs)).encode())
        for number, acquisition in enumerate(acquisitions):
            acquisition.scan_counter = number
            file.append_acquisition(acquisition)
    return path


def lines_of(kspace, lines=None, **kwargs):
    """Readouts of (slice, coil, ky, kx), shuffled as a scanner would interleave them."""
    slices, _, ny, _ = kspace.shape
    order = [(s, y) for s in range(slices) for y in (range(ny) if lines is None else lines)]
    np.random.default_rng(1).shuffle(order)
    return [readout(kspace[s, :, y], line=y, slice=s, **kwargs) for s, y in order]


def image_of(raw):
    return Fourier(tuple(raw.data.shape[-2:])).H(raw.data).numpy()


def test_shuffled_lines_give_back_the_image(tmp_path):
    images = phantom(slices=2)
    path = write(tmp_path / "a.h5", lines_of(kspace_of(images)))
    raw = read_raw(path)
    assert is_raw(path)
    assert raw.data.dtype == torch.complex64
    assert raw.axes == ("slice", "coil", "ky", "kx")
    np.testing.assert_allclose(image_of(raw), images, atol=1e-5)
    assert "mask" not in raw.arrays
    assert raw.facts["spacing_mm"] == (20.0, 20.0)
    assert raw.facts["recon_shape"] == (12, 10)
    assert raw.facts["slice_thickness_mm"] == 5.0
    assert raw.facts["readout_axis"] == "kx"
    assert raw.field_of_view == (240.0, 400.0)
    np.testing.assert_allclose(image_of(read_raw(path, slices=[1])), images[1:], atol=1e-5)


def test_missing_lines_become_a_mask_around_the_headers_centre(tmp_path):
    kspace = kspace_of(phantom())
    # Partial Fourier: the scanner counts its 9 lines from 0 and calls number 3 the centre.
    kept = [readout(kspace[0, :, NY // 2 - 3 + i], line=i) for i in range(9)]
    raw = read_raw(write(tmp_path / "a.h5", kept, centre=3))
    lines = raw.arrays["mask"].all(dim=1)
    assert torch.nonzero(lines).ravel().tolist() == list(range(3, 12))
    np.testing.assert_array_equal(raw.data[0, :, 3:].numpy(), kspace[0, :, 3:])
    assert not raw.data[0, :, :3].any()
    assert raw.sampling == "lines"
    assert raw.acceleration == pytest.approx(12 / 9)


def test_asymmetric_echo_and_reversed_readouts_lie_around_their_centre(tmp_path):
    kspace = kspace_of(phantom())
    short = [readout(kspace[0, :, y, 6:], line=y, centre=NX // 2 - 6) for y in range(NY)]
    raw = read_raw(write(tmp_path / "short.h5", short))
    np.testing.assert_array_equal(raw.data[0, ..., 6:].numpy(), kspace[0, ..., 6:])
    assert torch.nonzero(raw.arrays["mask"].all(dim=0)).ravel().tolist() == list(range(6, NX))
    # Played backwards, sample n // 2 arrives as number n - 1 - n // 2.
    turned = [
        readout(kspace[0, :, y, ::-1], line=y, centre=NX - 1 - NX // 2, flags=[ismrmrd.ACQ_IS_REVERSE])
        for y in range(NY)
    ]
    raw = read_raw(write(tmp_path / "turned.h5", turned))
    np.testing.assert_array_equal(raw.data.numpy(), kspace)


def test_averages_are_averaged_and_weighed(tmp_path):
    kspace = kspace_of(phantom())
    both = [
        readout(kspace[0, :, y] * scale, line=y, average=a) for y in range(NY) for a, scale in enumerate((0.5, 1.5))
    ]
    raw = read_raw(write(tmp_path / "a.h5", both))
    np.testing.assert_allclose(raw.data.numpy(), kspace, atol=1e-6)
    assert raw.facts["averages"] == 2
    assert "averaged" in raw.steps[0]
    some = read_raw(write(tmp_path / "b.h5", both[:13]))
    assert some.arrays["weights"][:7, 0].tolist() == [2, 2, 2, 2, 2, 2, 1]


def test_noise_scans_give_the_covariance_at_the_dwell_time_of_the_data(tmp_path):
    rng = np.random.default_rng(3)
    mixing = np.array([[2.0, 0, 0], [0.5j, 1, 0], [0, -0.3, 0.5]])
    white = rng.normal(size=(COILS, 40_000)) + 1j * rng.normal(size=(COILS, 40_000))
    noise = readout(mixing @ white, flags=[ismrmrd.ACQ_IS_NOISE_MEASUREMENT], dwell=10.0)
    path = write(tmp_path / "a.h5", [noise, *lines_of(kspace_of(phantom()), dwell=5.0)], bandwidth=0.8)
    covariance = read_raw(path).arrays["noise_covariance"].numpy()
    # Half the dwell time, twice the bandwidth and variance; the receiver passed 0.8 of it.
    np.testing.assert_allclose(covariance, mixing @ mixing.conj().T * 2 / 0.8, atol=0.15)
    np.testing.assert_allclose(covariance, covariance.conj().T, atol=1e-6)
    kept = read_raw(path, sidecar={"coils": [0, 2]})
    assert kept.data.shape[1] == 2
    np.testing.assert_array_equal(kept.arrays["noise_covariance"].numpy(), covariance[np.ix_([0, 2], [0, 2])])


def test_other_readouts_are_left_out_and_said(tmp_path):
    kspace = kspace_of(phantom())
    strange = 100 * np.ones((COILS, NX))
    more = [
        readout(strange, line=4, flags=[ismrmrd.ACQ_IS_NAVIGATION_DATA]),
        readout(strange, line=4, flags=[ismrmrd.ACQ_IS_PARALLEL_CALIBRATION]),
        readout(strange, line=4, repetition=1),
    ]
    raw = read_raw(write(tmp_path / "a.h5", [*more, *lines_of(kspace)]))
    np.testing.assert_array_equal(raw.data.numpy(), kspace)
    assert any("2 navigator" in note for note in raw.provenance.notes)
    assert any("first of 2 values of repetition" in note for note in raw.provenance.notes)
    # Calibration lines that the header calls embedded are lines like others.
    calibration = [readout(kspace[0, :, y], line=y, flags=[ismrmrd.ACQ_IS_PARALLEL_CALIBRATION]) for y in (5, 7)]
    every_other = lines_of(kspace, lines=range(0, NY, 2))
    raw = read_raw(write(tmp_path / "b.h5", [*calibration, *every_other], calibration="embedded"))
    assert int(raw.arrays["mask"].all(dim=1).sum()) == 8


def test_partitions_become_slices(tmp_path):
    volume = phantom(slices=1, coils=COILS * 4).reshape(COILS, 4, NY, NX)
    axes = (1, 2, 3)
    kspace = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(volume, axes), axes=axes, norm="ortho"), axes)
    all_lines = [readout(kspace[:, z, y], line=y, partition=z) for z in range(4) for y in range(NY)]
    raw = read_raw(write(tmp_path / "a.h5", all_lines, matrix=(NX, NY, 4)))
    np.testing.assert_allclose(image_of(raw), volume.transpose(1, 0, 2, 3), atol=1e-5)
    assert "4 partitions" in raw.steps[0]
    # Corners of the (ky, kz) plane were left out: slices across the readout are as exact.
    across = read_raw(write(tmp_path / "b.h5", all_lines[1:], matrix=(NX, NY, 4)))
    assert across.data.shape == (NX, COILS, 4, NY)
    assert across.facts["spacing_mm"] == (5.0, 20.0)
    assert torch.nonzero(~across.arrays["mask"]).tolist() == [[0, 0]]
    full = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(kspace, 3), axis=3, norm="ortho"), 3).transpose(3, 0, 1, 2)
    full[:, :, 0, 0] = 0
    np.testing.assert_allclose(across.data.numpy(), full, atol=1e-5)
    half = [*all_lines[1:], readout(kspace[:, 0, 0, 10:], line=0, centre=0)]
    with pytest.raises(FileError, match="cannot be cut into slices"):
        read_raw(write(tmp_path / "c.h5", half, matrix=(NX, NY, 4)))


def test_a_central_line_of_zero_is_not_believed(tmp_path):
    kspace = kspace_of(phantom())
    raw = read_raw(write(tmp_path / "a.h5", lines_of(kspace), centre=0))
    np.testing.assert_array_equal(raw.data.numpy(), kspace)
    assert any("central line" in note for note in raw.provenance.notes)


@pytest.mark.parametrize("unit", ["cycles/pixel", "cycles/fov"])
def test_radial_readouts_carry_their_trajectory(tmp_path, unit):
    angle, radius = np.arange(6) * np.pi / 6, (np.arange(NX) - NX // 2) / NX
    path = np.stack([np.cos(angle)[:, None] * radius, np.sin(angle)[:, None] * radius], axis=-1)  # (kx, ky) per pixel
    stored = path * ((NX, NY) if unit == "cycles/fov" else (1, 1))
    rng = np.random.default_rng(0)
    data = rng.normal(size=(6, COILS, NX)) + 1j
    spokes = [readout(data[i], line=i, traj=stored[i].astype(np.float32)) for i in (3, 0, 5, 1, 2, 4)]
    raw = read_raw(write(tmp_path / "a.h5", spokes, trajectory="radial"))
    assert raw.axes == ("slice", "coil", "readout", "sample")
    assert raw.sampling == "radial"
    np.testing.assert_allclose(raw.data[0].numpy(), data.transpose(1, 0, 2), rtol=1e-6)
    np.testing.assert_allclose(raw.arrays["trajectory"].numpy(), path[..., ::-1] * (NY, NX), atol=1e-5)


def test_refusals_name_file_and_remedy(tmp_path):
    kspace = kspace_of(phantom())
    with pytest.raises(FileError, match=r"none\.h5.*no such file"):
        read_raw(tmp_path / "none.h5")
    with pytest.raises(FileError, match=r"radial.h5, dataset: the header names trajectory radial.*have none"):
        read_raw(write(tmp_path / "radial.h5", lines_of(kspace), trajectory="radial"))
    with pytest.raises(FileError, match=r"far\.h5.*line 17.*outside the encoded grid"):
        read_raw(write(tmp_path / "far.h5", [readout(kspace[0, :, 0], line=17)]))
    with pytest.raises(FileError, match="slices were sampled differently"):
        read_raw(write(tmp_path / "uneven.h5", [*lines_of(kspace), readout(kspace[0, :, 3], line=3, slice=1)]))
    with pytest.raises(FileError, match="none of 1 readouts"):
        read_raw(write(tmp_path / "noise.h5", [readout(kspace[0, :, 0], flags=[ismrmrd.ACQ_IS_NOISE_MEASUREMENT])]))
    dead = kspace.copy()
    dead[:, 1] = 0
    path = write(tmp_path / "dead.h5", lines_of(dead))
    with pytest.raises(IntensityError, match=r"dead\.h5.*coil 1 of slice 0 is zero throughout.*coils"):
        read_raw(path)
    assert read_raw(path, sidecar={"coils": [0, 2]}).data.shape[1] == 2
    bad = kspace.copy()
    bad[0, 2, 7, 3] = np.nan
    with pytest.raises(IntensityError, match=r"coil 2, line 7"):
        read_raw(write(tmp_path / "nan.h5", lines_of(bad)))


def test_truncated_file_and_damaged_header(tmp_path):
    path = write(tmp_path / "a.h5", lines_of(kspace_of(phantom())))
    whole = path.read_bytes()
    short = tmp_path / "short.h5"
    short.write_bytes(whole[: len(whole) // 2])
    assert is_raw(short)
    with pytest.raises(FileError, match=r"short\.h5: truncated or damaged HDF5"):
        read_raw(short)
    damaged = tmp_path / "header.h5"
    with ismrmrd.Dataset(str(damaged), "dataset", create_if_needed=True) as file:
        file.write_xml_header(b"<ismrmrdHeader><broken")
        file.append_acquisition(readout(np.ones((1, 4))))
    with pytest.raises(FileError, match="header cannot be read"):
        read_raw(damaged)


def test_inspect_tells_the_scan_and_not_the_patient(tmp_path):
    noise = readout(np.random.default_rng(0).normal(size=(COILS, 500)) + 0j, flags=[ismrmrd.ACQ_IS_NOISE_MEASUREMENT])
    path = write(tmp_path / "a.h5", [noise, *lines_of(kspace_of(phantom()), lines=range(0, NY, 2))])
    text = inspect(path).text()
    for words in (
        "k-space, from ismrmrd",
        "slice 1, coil 3, ky 12, kx 20",
        "20 x 12 pixels, 20.000 x 20.000 mm, field of view 400 x 240 mm",
        "1.00 x 2.00 (y, x); 10 x 12 pixels without it",
        "lines, 50.0 % of samples, acceleration 2.00; full centre 20 x 1",
        "noise       measured, standard deviation",
    ):
        assert words in text
    assert SECRET not in text
    assert SECRET not in repr(read_raw(path))
    assert SECRET not in repr(read_raw(path).provenance)
