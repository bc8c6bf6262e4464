"""Steps on raw measurements: what they keep, what they change, and the sentence they leave."""

import numpy as np
import pytest
import skimage.data
import skimage.transform
import torch

from medinr.data.raw.coils import compress_coils, prewhiten
from medinr.data.raw.steps import choose_slices, crop_detector, remove_oversampling, undersample
from medinr.data.raw.views import find_rotation_centre, remove_stripes
from medinr.errors import ConfigError, GeometryError, ShapeError
from medinr.operators import Fourier, ParallelBeam
from medinr.raw import CARTESIAN, NON_CARTESIAN, SINOGRAM, RawMeasurement


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.complex(torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))


def kspace_of(images, arrays=None, **facts):
    shape = tuple(images.shape[-2:])
    data = Fourier(tuple(images.shape))(images)
    return RawMeasurement("kspace", data, CARTESIAN, {"image_shape": shape} | facts, arrays or {})


def image_of(raw):
    return Fourier(tuple(raw.data.shape[-2:])).H(raw.data)


def sinogram(angles=6, elements=10, **facts):
    data = torch.arange(2.0 * angles * elements).reshape(2, angles, elements)
    known = {"geometry": "parallel", "angles": tuple(np.linspace(0, 3, angles))}
    return RawMeasurement("sinogram", data, SINOGRAM, known | facts, {"weights": 1 + data})


@pytest.mark.parametrize(("axis", "size", "kept"), [("kx", 24, 12), ("kx", 25, 12), ("ky", 20, 11), ("ky", 21, 11)])
def test_oversampling_goes_and_the_image_stays(axis, size, kept):
    shape = (9, size) if axis == "kx" else (size, 9)
    recon = (9, kept) if axis == "kx" else (kept, 9)
    images = noise(1, 2, *shape)
    maps = noise(2, *shape, seed=1)
    mask = torch.zeros(shape, dtype=torch.bool)
    (mask if axis == "kx" else mask.T)[::2] = True
    raw = kspace_of(images, {"coil_maps": maps}, recon_shape=recon, readout_axis=axis, spacing_mm=(1.5, 0.5))
    first = size // 2 - kept // 2
    inside = (..., slice(first, first + kept)) if axis == "kx" else (..., slice(first, first + kept), slice(None))
    done = remove_oversampling(raw)
    torch.testing.assert_close(image_of(done), images[inside])
    torch.testing.assert_close(done.arrays["coil_maps"], maps[inside])
    assert done.facts["image_shape"] == recon
    assert done.facts["spacing_mm"] == (1.5, 0.5)
    assert done.steps == (f"Readout oversampling was removed: {size} to {kept} samples along {axis}.",)
    # Lines that were not measured stay so, and the two steps may change places.
    lines = mask.any(1) if axis == "kx" else mask.any(0)
    before, after = remove_oversampling(undersample(raw, lines)), undersample(done, lines)
    torch.testing.assert_close(before.data, after.data)
    assert torch.equal(before.arrays["mask"], after.arrays["mask"])
    assert "nothing was removed" in remove_oversampling(done).steps[-1]


def test_oversampling_needs_whole_readouts():
    raw = kspace_of(noise(1, 1, 6, 8), recon_shape=(6, 4))
    half = torch.ones(6, 8, dtype=torch.bool)
    half[:, :3] = False
    with pytest.raises(ShapeError, match="asymmetric echo"):
        remove_oversampling(undersample(raw, half))


def test_white_noise_stays_white_without_oversampling():
    raw = kspace_of(noise(1, 1, 64, 128), recon_shape=(64, 64))
    assert float(remove_oversampling(raw).data.real.std()) == pytest.approx(1.0, abs=0.05)


def coloured(coils=4, samples=(64, 64)):
    mixing = torch.linalg.cholesky(torch.eye(coils) + 0.4) * torch.linspace(0.5, 3, coils)[:, None] + 0j
    mixing = mixing + 0.3j * torch.tril(torch.ones(coils, coils), -1)
    data = torch.einsum("ab,sbyx->sayx", mixing, noise(1, coils, *samples))
    covariance = mixing @ mixing.mH
    maps = noise(coils, *samples, seed=5)
    return RawMeasurement(
        "kspace", data, CARTESIAN, {"image_shape": samples}, {"noise_covariance": covariance, "coil_maps": maps}
    )


def test_prewhitened_noise_is_white():
    raw = coloured()
    white = prewhiten(raw)
    samples = white.data[0].flatten(1)
    covariance = samples @ samples.mH / (2 * samples.shape[1])
    torch.testing.assert_close(covariance, torch.eye(4) + 0j, atol=0.06, rtol=0)
    torch.testing.assert_close(white.arrays["noise_covariance"], torch.eye(4) + 0j)
    assert white.facts["noise_sigma"] == 1.0
    # Maps are mixed as the samples are: what was their ratio still is.
    whitener = torch.linalg.inv(torch.linalg.cholesky(raw.arrays["noise_covariance"]))
    expected = torch.einsum("ab,byx->ayx", whitener, raw.arrays["coil_maps"])
    torch.testing.assert_close(white.arrays["coil_maps"], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prewhiten(white).data, white.data)


def test_prewhitening_refuses_what_it_cannot_know():
    with pytest.raises(ConfigError, match="no noise scan"):
        prewhiten(kspace_of(noise(1, 2, 4, 4)))
    singular = torch.ones(2, 2, dtype=torch.complex64)
    with pytest.raises(GeometryError, match="not positive definite"):
        prewhiten(kspace_of(noise(1, 2, 4, 4), {"noise_covariance": singular}))


def low_rank(coils=6, rank=2, turning=False):
    """Coils that are mixtures of few, the same everywhere or turning along the readout."""
    sources = noise(1, rank, 12, 16)
    mixing = noise(coils, rank, seed=2)
    if not turning:
        return kspace_of(torch.einsum("ar,sryx->sayx", mixing, sources), {"coil_maps": noise(coils, 12, 16, seed=3)})
    bend = torch.linspace(0, 3, 16)
    mixings = mixing[..., None] * torch.exp(1j * bend * torch.arange(coils)[:, None, None])
    return kspace_of(torch.einsum("arx,sryx->sayx", mixings, sources))


def test_svd_keeps_all_the_energy_of_few_sources():
    raw = low_rank()
    done = compress_coils(raw, 2)
    assert done.data.shape == (1, 2, 12, 16)
    assert done.arrays["coil_maps"].shape == (2, 12, 16)
    torch.testing.assert_close(done.data.abs().square().sum(1), raw.data.abs().square().sum(1), rtol=1e-4, atol=1e-4)
    assert "6 coils were compressed to 2 by SVD, which hold 100.00 % of the energy." in done.steps
    identity = torch.eye(6) + 0j
    covariance = compress_coils(raw.after("", arrays={"noise_covariance": identity}), 3).arrays["noise_covariance"]
    torch.testing.assert_close(covariance, torch.eye(3) + 0j)
    with pytest.raises(ConfigError, match="1 to 6 coils; got 7"):
        compress_coils(raw, 7)
    with pytest.raises(ConfigError, match="'svd' and 'gcc'"):
        compress_coils(raw, 2, "pca")


@pytest.mark.parametrize("axis", ["kx", "ky"])
def test_geometric_compression_follows_coils_that_rotate(axis):
    raw = low_rank(turning=True)
    if axis == "ky":
        raw = RawMeasurement("kspace", raw.data.mT, CARTESIAN, {"image_shape": (16, 12), "readout_axis": "ky"})
    images = image_of(raw).abs().square().sum(1)
    geometric, plain = compress_coils(raw, 2, "gcc"), compress_coils(raw, 2)
    torch.testing.assert_close(image_of(geometric).abs().square().sum(1), images, rtol=1e-3, atol=1e-3)
    lost = float((image_of(plain).abs().square().sum(1) - images).abs().sum() / images.sum())
    assert lost > 0.2
    assert "100.00 % of the energy" in geometric.steps[-1]


def test_geometric_compression_mixes_maps_and_wants_white_noise():
    raw = low_rank(turning=True)
    same = raw.after("", arrays={"coil_maps": image_of(raw)[0]})
    done = compress_coils(same, 3, "gcc")
    # Maps that are the images themselves must be mixed into the new images.
    torch.testing.assert_close(done.arrays["coil_maps"], image_of(done)[0], rtol=1e-3, atol=1e-3)
    covariance = torch.eye(6) + 0.2j * (torch.ones(6, 6).triu(1) - torch.ones(6, 6).tril(-1))
    with pytest.raises(ConfigError, match="prewhiten first"):
        compress_coils(raw.after("", arrays={"noise_covariance": covariance}), 2, "gcc")
    with pytest.raises(ConfigError, match="whole readouts"):
        compress_coils(undersample(raw, torch.eye(12, 16, dtype=torch.bool)), 2, "gcc")


def test_undersampling_lines_and_points():
    raw = kspace_of(noise(2, 3, 12, 10))
    done = undersample(raw, every=4, first=1, centre=3)
    lines = [1, 5, 6, 7, 9]
    assert torch.nonzero(done.arrays["mask"].all(1)).ravel().tolist() == lines
    torch.testing.assert_close(done.data[:, :, lines], raw.data[:, :, lines])
    assert int(done.data.ne(0).any(-1).sum()) == 2 * 3 * len(lines)
    assert done.acceleration == pytest.approx(12 / 5)
    assert done.steps == (
        "Undersampled afterwards: 50 of 120 measured samples were kept, every 4th from 1 and 3 around the centre.",
    )
    points = undersample(done, torch.eye(12, 10, dtype=torch.bool))
    assert torch.nonzero(points.arrays["mask"].diagonal()).ravel().tolist() == lines
    along = undersample(raw.after("", facts={"readout_axis": "ky"}), every=2)
    assert along.arrays["mask"].all(0).tolist() == [True, False] * 5
    for arguments, error, words in (
        ({}, ConfigError, "either a mask"),
        ({"mask": [True] * 12, "every": 2}, ConfigError, "either a mask"),
        ({"every": 0}, ConfigError, "every >= 1"),
        ({"mask": [True] * 7}, ShapeError, r"\(7,\); k-space has 12 lines along ky"),
        ({"mask": [False] * 12}, ConfigError, "leave no sample"),
    ):
        with pytest.raises(error, match=words):
            undersample(raw, **arguments)


def test_undersampling_views_and_readouts():
    raw = sinogram()
    done = undersample(raw, every=2, first=1)
    np.testing.assert_allclose(done.facts["angles"], raw.facts["angles"][1::2])
    assert torch.equal(done.data, raw.data[:, 1::2])
    assert torch.equal(done.arrays["weights"], 1 + done.data)
    with pytest.raises(ShapeError, match=r"6 angles"):
        undersample(raw, [True])
    path = torch.arange(40.0).reshape(4, 5, 2)
    facts = {"image_shape": (9, 9)}
    spokes = RawMeasurement("kspace", noise(1, 2, 4, 5), NON_CARTESIAN, facts, {"trajectory": path})
    few = undersample(spokes, [True, False, False, True])
    assert torch.equal(few.arrays["trajectory"], path[[0, 3]])
    assert torch.equal(few.data, spokes.data[:, :, [0, 3]])


def test_choosing_slices():
    raw = sinogram()
    one = choose_slices(raw, [1])
    assert torch.equal(one.data, raw.data[1:])
    assert torch.equal(one.arrays["weights"], 1 + raw.data[1:])
    maps = noise(3, 2, 4, 4)
    k = choose_slices(kspace_of(noise(3, 2, 4, 4), {"coil_maps": maps}), [2, 0])
    assert torch.equal(k.arrays["coil_maps"], maps[[2, 0]])
    assert k.steps == ("Slices 2, 0 of 3 were kept.",)
    with pytest.raises(ConfigError, match="has 0 to 1"):
        choose_slices(raw, [2])


def test_cropping_the_detector_leaves_the_axis_where_it_was():
    raw = sinogram(centre_offset=0.75)
    done = crop_detector(raw, 3, 9)
    assert torch.equal(done.data, raw.data[..., 3:9])
    assert done.rotation_centre + 3 == raw.rotation_centre
    with pytest.raises(ConfigError, match="has 0 to 9"):
        crop_detector(raw, 3, 11)
    with pytest.raises(ConfigError, match="for sinograms"):
        crop_detector(kspace_of(noise(1, 1, 4, 4)), 0, 2)


def projections(shift=0):
    """Half a rotation around a phantom, the rotation axis `shift` elements beyond the middle of the detector."""
    image = skimage.transform.resize(skimage.data.shepp_logan_phantom(), (96, 96), anti_aliasing=True)
    angles = np.arange(120) * np.pi / 120
    operator = ParallelBeam((96, 96), (1.0, 1.0), angles.tolist(), 141)
    data = torch.roll(operator(torch.from_numpy(image).float()), shift, -1)
    facts = {"geometry": "parallel", "angles": tuple(angles)}
    return RawMeasurement("sinogram", 0.05 * data[None], SINOGRAM, facts)


@pytest.mark.parametrize("shift", [0, -5, 4])
def test_the_rotation_centre_is_found(shift):
    found = find_rotation_centre(projections(shift))
    assert found.rotation_centre == pytest.approx(70 + shift, abs=0.5)
    assert f"{found.rotation_centre:.2f} of 0 to 140" in found.steps[0]


def test_the_rotation_centre_needs_half_a_rotation():
    raw = projections()
    with pytest.raises(GeometryError, match=r"over 133\.5 degrees"):
        find_rotation_centre(undersample(raw, [True] * 90 + [False] * 30))
    with pytest.raises(ConfigError, match="has 0 to 0"):
        find_rotation_centre(raw, slice_number=1)
    with pytest.raises(ConfigError, match="between 9 and 3"):
        find_rotation_centre(raw, search=(9, 3))


def test_stripes_of_small_gain_errors_are_removed():
    clean = projections()
    gains = torch.zeros(141)
    gains[40:100:7] = 0.08
    striped = clean.after("", data=clean.data + gains)
    mended = remove_stripes(striped, size=9)

    def flaw(raw):
        return float((raw.data - clean.data)[..., 30:110].mean(1).square().mean().sqrt())

    assert flaw(mended) < 0.6 * flaw(striped)
    assert mended.data.dtype == clean.data.dtype
    assert mended.steps[-1] == "Stripes were removed by algotom (sorting, size 9)."
    with pytest.raises(ConfigError, match="'sorting' and 'all'"):
        remove_stripes(clean, "wavelet")


def test_dead_elements_are_filled_in_when_all_stripes_go():
    clean = projections()
    data = clean.data.clone()
    data[..., 60] = 1.7
    mended = remove_stripes(clean.after("", data=data), "all", size=5)
    left, dead = (float((values - clean.data)[..., 60].abs().mean()) for values in (mended.data, data))
    assert left < 0.25 * dead
    assert "all" in mended.steps[-1]
