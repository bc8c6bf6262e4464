import math

import numpy as np
import pytest
import sigpy.mri.app
import torch

from medinr.errors import ConfigError, IntensityError, ShapeError
from medinr.operators import (
    Coils,
    Fourier,
    birdcage_maps,
    cartesian_trajectory,
    espirit_maps,
    low_resolution_maps,
    walsh_maps,
)

ESTIMATORS = (espirit_maps, walsh_maps, low_resolution_maps)


def _scan(shape=(48, 40), coils=5, noise=1e-3, seed=0):
    """True maps, the object's mask, and noisy k-space."""
    y, x = (cartesian_trajectory(shape) / torch.tensor(shape)).unbind(-1)
    inside = torch.hypot(y, x) < 0.38
    image = inside * torch.polar(1 + 0.3 * torch.cos(9 * y + 5 * x), 2 * x)
    maps = birdcage_maps(shape, coils, dtype=torch.complex128)
    generator = torch.Generator().manual_seed(seed)
    kspace = Fourier((coils, *shape))(maps * image)
    return maps, inside, kspace + noise * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)


def _misfit(estimate, maps, inside):
    """Sine of the angle between the maps, pixel by pixel: indifferent to their phase."""
    overlap = (estimate.conj() * maps).sum(0).abs()
    return (1 - overlap.square()).clamp(min=0).sqrt()[inside]


@pytest.mark.parametrize(
    ("estimator", "worst", "typical"),
    [(espirit_maps, 0.02, 0.005), (walsh_maps, 0.15, 0.03), (low_resolution_maps, 0.2, 0.04)],
)
def test_true_maps_are_found(estimator, worst, typical):
    maps, inside, kspace = _scan()
    misfit = _misfit(estimator(kspace, 24), maps, inside)
    assert float(misfit.max()) < worst
    assert float(misfit.mean()) < typical


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_maps_are_normalised_smooth_and_explain_the_scan(estimator):
    _, inside, kspace = _scan()
    estimate = estimator(kspace, 24)
    energy = estimate.abs().square().sum(0)
    torch.testing.assert_close(energy[inside], torch.ones(int(inside.sum()), dtype=torch.float64))
    images, coils = Fourier(kspace.shape).H(kspace), Coils(estimate)
    assert float((coils(coils.H(images)) - images)[:, inside].norm() / images[:, inside].norm()) < 0.05
    step = (estimate[:, 1:] - estimate[:, :-1]).abs().sum(0)
    assert float(step[inside[1:] & inside[:-1]].max()) < 0.3


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_single_precision_gives_the_same_maps(estimator):
    _, inside, kspace = _scan()
    single = estimator(kspace.to(torch.complex64), 20)
    assert single.dtype == torch.complex64
    assert float((single - estimator(kspace, 20)).abs()[:, inside].max()) < 1e-3


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_scale_and_phase_of_kspace_do_not_matter(estimator):
    _, inside, kspace = _scan()
    other = estimator(1e-6j * kspace, 20)
    assert float((other - estimator(kspace, 20)).abs()[:, inside].max()) < 1e-6


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_only_the_centre_is_used(estimator):
    _, _, kspace = _scan()
    centre = torch.zeros_like(kspace)
    centre[:, 14:34, 10:30] = kspace[:, 14:34, 10:30]
    torch.testing.assert_close(estimator(centre, 20), estimator(kspace, 20))


@pytest.mark.parametrize("shape", [(32, 30), (31, 33)])
def test_espirit_agrees_with_sigpy(shape):
    """The same vectors, phase apart: SigPy makes the first coil real, and power iteration ends before rounding."""
    _, _, kspace = _scan(shape, noise=1e-2)
    theirs, value = sigpy.mri.app.EspiritCalib(
        kspace.numpy(), calib_width=20, show_pbar=False, output_eigenvalue=True
    ).run()
    theirs, clear = torch.from_numpy(theirs), torch.from_numpy(np.abs(value.squeeze() - 0.95) > 1e-3)
    ours = espirit_maps(kspace, 20)
    assert bool(((ours.abs().sum(0) > 0) == (theirs.abs().sum(0) > 0))[clear].all())
    both = clear & (theirs.abs().sum(0) > 0)
    assert float(both.float().mean()) > 0.3
    phase = torch.sgn((theirs.conj() * ours).sum(0))
    assert float((phase * theirs - ours).abs()[:, both].max()) < 1e-4


def test_espirit_is_zero_where_nothing_is():
    maps, inside, kspace = _scan(noise=1e-2)
    y, x = (cartesian_trajectory(maps.shape[1:]) / torch.tensor(maps.shape[1:])).unbind(-1)
    far = torch.maximum(y.abs(), x.abs()) > 0.47
    found = espirit_maps(kspace, 24, crop=0.95).abs().sum(0) > 0
    assert bool(found[inside].all())
    assert float(found[far].float().mean()) < 0.2


def test_a_second_set_is_wanted_where_the_object_folds_onto_itself():
    """An object wider than the field of view: two positions share a pixel at its edges, none in the middle."""
    shape, coils = (48, 40), 6
    wide = birdcage_maps((96, 40), coils, dtype=torch.complex128)
    y, x = (cartesian_trajectory((96, 40)) / torch.tensor((96, 40))).unbind(-1)
    image = ((y.abs() < 0.33) & (x.abs() < 0.35)).to(torch.complex128)
    # Every second line of the wide field of view is the narrow one, folded.
    kspace = Fourier((coils, 96, 40))(wide * image)[:, ::2]
    kspace = kspace + 1e-3 * torch.randn(kspace.shape, dtype=kspace.dtype, generator=torch.Generator().manual_seed(0))
    maps = espirit_maps(kspace, 24, threshold=0.003, sets=2)
    assert maps.shape == (2, coils, *shape)
    second = maps[1].abs().sum(0) > 0
    assert bool(second[:5, 14:26].all())
    assert not bool(second[20:28, 14:26].any())
    overlap = (maps[0].conj() * maps[1]).sum(0).abs()
    assert float(overlap.max()) < 1e-6


def test_a_real_scan_agrees_with_sigpy(shared_data):
    kspace = np.load(shared_data / "kspace" / "sigpy_tutorial_cartesian_ksp.npy")
    theirs = torch.from_numpy(sigpy.mri.app.EspiritCalib(kspace, show_pbar=False, max_iter=40).run())
    ours = espirit_maps(torch.from_numpy(kspace))
    object_ = theirs.abs().sum(0) > 0
    assert float(((ours.abs().sum(0) > 0) != object_).float().mean()) < 1e-3
    both = object_ & (ours.abs().sum(0) > 0)
    assert float((1 - (theirs.conj() * ours).sum(0).abs())[both].max()) < 1e-3
    for estimator in (walsh_maps, low_resolution_maps):
        assert float((theirs.conj() * estimator(torch.from_numpy(kspace))).sum(0).abs()[both].mean()) > 0.99


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_unusable_kspace_is_refused(estimator):
    _, _, kspace = _scan()
    with pytest.raises(ShapeError, match=r"complex k-space \(coil, ky, kx\)"):
        estimator(kspace.abs())
    with pytest.raises(ConfigError, match=r"region of \(50, 50\) does not lie"):
        estimator(kspace, 50)
    kspace[:, 20] = 0
    with pytest.raises(IntensityError, match="24 of the 576 samples"):
        estimator(kspace, 24)
    kspace[0, 24, 20] = math.nan
    with pytest.raises(IntensityError, match="not finite"):
        estimator(kspace, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": 30}, "kernel of 30"),
        ({"threshold": 0.0}, "between 0 and 1; got 0.0"),
        ({"crop": 1.5}, "got 0.02 and 1.5"),
        ({"sets": 6}, "5 coils allow 1 to 5 sets"),
    ],
)
def test_impossible_parameters_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        espirit_maps(_scan()[2], **options)


def test_even_blocks_are_refused():
    with pytest.raises(ConfigError, match="odd number of pixels; got 4"):
        walsh_maps(_scan()[2], block=4)
