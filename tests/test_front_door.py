"""What `import medinr` offers, what it costs, and what arrays become."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import medinr as mi
from medinr.errors import ConfigError, GeometryError, IntensityError, ShapeError
from medinr.models.model import Model
from medinr.network.trunk import Trunk, TrunkSettings
from medinr.operators import Gaussian, birdcage_maps, cartesian_mask, undersampled_fourier
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.priors.denoiser_prior import DenoiserPrior

QUICK = {"plug_and_play": {"iterations": 3}}
SHAPE = (32, 28)


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def model() -> Model:
    generator = torch.Generator().manual_seed(0)
    denoiser = LocalDenoiser(DenoiserSettings(channels=4, layers=2), generator)
    trunk = Trunk(TrunkSettings(width=24, depth=2, omega=10.0), generator)
    return Model(DenoiserPrior(denoiser), None, 20.0, lambda: trunk)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return ((y / 0.8).square() + (x / 0.7).square() < 1).float() * (0.6 + 0.3 * torch.cos(4 * x))


@pytest.fixture(scope="module")
def kspace(image) -> np.ndarray:
    """Two slices of three coils, every second line outside the centre left out."""
    maps = birdcage_maps(SHAPE, 3)
    full = undersampled_fourier(SHAPE, cartesian_mask(SHAPE[0], 1.0, 0.1), maps)(torch.complex(image, 0.2 * image))
    full = full.repeat(2, 1, 1, 1)
    full = full + 0.005 * torch.randn(full.shape, dtype=full.dtype, generator=torch.Generator().manual_seed(1))
    full[..., 1:10:2, :] = 0
    full[..., 23:32:2, :] = 0
    return full.numpy()


def test_every_name_is_there_and_documented():
    assert len(mi.__all__) == len(set(mi.__all__)) == 27
    assert set(dir(mi)) == set(mi.__all__)
    for name in mi.__all__:
        assert getattr(mi, name).__doc__ or name == "__version__"
    with pytest.raises(AttributeError, match=r"no attribute 'recontsruct'; it has .*reconstruct"):
        mi.recontsruct  # noqa: B018


def test_an_import_loads_nothing_and_operators_load_torch_alone():
    loaded = _python("import sys, medinr; print(*sorted({m.split('.')[0] for m in sys.modules}))").split()
    assert not {"torch", "numpy", "scipy", "monai", "yaml", "nibabel"} & set(loaded)
    loaded = _python("import sys, medinr as mi; mi.operators; print(*sorted({m.split('.')[0] for m in sys.modules}))")
    assert "torch" in loaded.split()
    assert not {"monai", "pydicom", "nibabel", "scipy", "skimage", "matplotlib", "yaml", "sigpy"} & set(loaded.split())


def test_plug_and_play_loads_nothing_of_networks_files_or_registration():
    code = """
import json, sys
import numpy as np
import medinr as mi
kspace = np.ones((24, 24), np.complex64)
mi.reconstruct(kspace, sigma=0.1, settings={"plug_and_play": {"iterations": 1}})
heavy = ("monai", "SimpleITK", "pydicom", "nibabel", "h5py", "ismrmrd", "matplotlib", "pandas", "sigpy", "rich")
print(json.dumps([name for name in sys.modules if name.startswith("medinr.network") or name in heavy]))
"""
    assert json.loads(_python(code)) == []


def test_kspace_of_several_slices_and_coils(kspace, model):
    found = mi.reconstruct(kspace, spacing=(0.9, 0.8), model=model, settings=QUICK)
    assert found.array.shape == (2, *SHAPE)
    assert found.array.dtype == np.complex64
    assert found.residual < 2
    assert np.linalg.norm(found.affine[:3, :2], axis=0) == pytest.approx([0.8, 0.9])


def test_zeros_a_mask_and_line_numbers_say_the_same(kspace, model):
    lines = np.flatnonzero(np.abs(kspace).sum((0, 1, 3)))
    mask = np.zeros(SHAPE[0], bool)
    mask[lines] = True
    given = {"model": model, "settings": QUICK}
    expected = mi.reconstruct(kspace, **given).image
    assert torch.equal(mi.reconstruct(kspace, mask=mask, **given).image, expected)
    some = mi.reconstruct(kspace[..., lines, :], lines=list(lines), line_count=SHAPE[0], **given)
    assert torch.equal(some.image, expected)
    assert torch.equal(mi.reconstruct(torch.from_numpy(kspace), **given).image, expected)


def test_given_coil_maps_are_used(kspace, model):
    maps = birdcage_maps(SHAPE, 3)
    with_maps = mi.reconstruct(kspace[0], coil_maps=maps, model=model, settings=QUICK)
    without = mi.reconstruct(kspace[0], model=model, settings=QUICK)
    assert with_maps.image.shape == SHAPE
    assert not torch.allclose(with_maps.image, without.image)


@pytest.mark.parametrize("factor", [100.0, 1e-5])
@pytest.mark.parametrize("kind", ["kspace", "sinogram", "image", "coarse", "operator"])
def test_the_unit_of_the_data_does_not_matter(kind, factor, kspace, image, model):
    A = undersampled_fourier(SHAPE, cartesian_mask(SHAPE[0], 2.0, 0.2))
    noisy = (image + 0.03 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))).abs()
    angles = np.arange(14) * np.pi / 14
    scan = mi.operators.ParallelBeam(SHAPE, (1.0, 1.0), torch.from_numpy(angles), 41, 1.0)
    rays = scan(0.02 * image) + 0.005 * torch.randn(14, 41, generator=torch.Generator().manual_seed(3))
    cases = {
        "kspace": lambda f: mi.reconstruct(f * kspace[0], model=model, settings=QUICK),
        # A trained denoiser and all iterations, which damp the rounding of many conjugate-gradient iterations.
        "sinogram": lambda f: mi.reconstruct(f * rays, angles=angles),
        "image": lambda f: mi.reconstruct(f * noisy, sigma=0.03 * f, model=model),
        "coarse": lambda f: mi.reconstruct(f * noisy, factor=2, model=model, settings=QUICK),
        "operator": lambda f: mi.reconstruct(
            f * A(noisy + 0j), operator=A, noise=0.01 * f, model=model, settings=QUICK
        ),
    }
    one, other = cases[kind](1.0).image, cases[kind](factor).image / factor
    assert float((other - one).norm() / one.norm()) < 1e-4


def test_a_sinogram_of_a_fan_is_attenuation_per_mm(model):
    angles = np.arange(30) * 2 * np.pi / 30
    scan = mi.operators.FanBeam(SHAPE, (1.0, 1.0), torch.from_numpy(angles), 200.0, 400.0, 90, 1.0)
    truth = torch.full(SHAPE, 0.02)
    data = scan(truth) + 0.001 * torch.randn(30, 90, generator=torch.Generator().manual_seed(0))
    given = {"source_origin": 200.0, "source_detector": 400.0, "detector_spacing": 1.0}
    # Two iterations of an untrained denoiser explain little, which is said.
    with pytest.warns(UserWarning, match="times the noise of the measurement unexplained"):
        found = mi.reconstruct(data, angles=angles, **given, model=model, settings={**QUICK, "raw": {"size": 30}})
    assert found.image.shape == (30, 30)
    assert float(found.image[12:18, 12:18].mean()) == pytest.approx(0.02, rel=0.1)


def test_a_volume_through_an_operator_of_ones_own(image, model):
    class Halves(mi.operators.LinearOperator):
        """Means of neighbouring slices."""

        domain = mi.operators.Space((4, *SHAPE), "real")
        range = mi.operators.Space((2, *SHAPE), "real")

        def _apply(self, x):
            return x.unflatten(-3, (2, 2)).mean(-3)

        def _adjoint(self, y):
            return y.repeat_interleave(2, -3) / 2

    volume = torch.stack([image, image, 0.5 * image, 0.5 * image])
    A = Halves()
    found = mi.reconstruct(A(volume), operator=A, noise=Gaussian(0.01), spacing=(2.0, 1.0, 1.0), model=model)
    assert found.image.shape == (4, *SHAPE)
    assert float((A(found.image) - A(volume)).abs().max()) < 0.1
    with pytest.raises(ConfigError, match="tv is for slices"):
        mi.reconstruct(A(volume), operator=A, noise=0.01, model=model, method="tv")


@pytest.mark.parametrize("method", ["tv", "wavelet", "inr", "TGV", "zero-filled"])
def test_methods_are_chosen_by_name(method, kspace, model):
    settings = {"total_variation": {"iterations": 5}, "baselines": {"wavelet_iterations": 5}}
    settings |= {"network": {"image_domain": {"passes": 1}}} if method == "inr" else {}
    found = mi.reconstruct(kspace[0], model=model, method=method, settings={**settings, **QUICK})
    assert found.image.shape == SHAPE
    assert np.isfinite(found.residual)


def test_a_measurement_of_a_scan_goes_in_as_it_is(model):
    scan = mi.Volume(np.random.default_rng(0).random((2, *SHAPE), np.float32), np.diag([1.0, 1.0, 3.0, 1.0]), "MR")
    measurement = mi.simulate(scan, "superres", factor=2)
    found = mi.reconstruct(measurement, model=model, settings=QUICK)
    assert found.image.shape == (2, *SHAPE)
    assert np.array_equal(found.affine, measurement.affine)


def test_a_noisy_image_is_denoised_where_its_noise_is_told(image, model):
    noisy = (image + 0.05 * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(4))).abs().numpy()
    found = mi.reconstruct(noisy, sigma=0.05, spacing=(3.0, 1.0, 1.0), model=model)
    assert found.image.shape == (2, *SHAPE)
    assert found.affine.diagonal() == pytest.approx([-1.0, -1.0, 3.0, 1.0])
    assert not np.array_equal(found.array, noisy)


@pytest.mark.parametrize("more", [{}, {"sigma": 0.1}, {"factor": 2}, {"operator": mi.operators.Identity((2, 4, 4))}])
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_a_scan_is_no_measurement(modality, more):
    scan = mi.Volume(np.ones((2, 4, 4), np.float32), np.eye(4), modality)
    words = r"mi\.denoise\(scan\) and mi\.superres\(scan, \.\.\.\) treat a scan as it was acquired; mi\.simulate"
    with pytest.raises(ConfigError, match=words):
        mi.reconstruct(scan, **more)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"data": np.ones((2, 2, 2, 2, 2), complex)}, ShapeError, "k-space is"),
        ({"data": np.ones((4, 4), complex), "angles": [0, 1]}, ShapeError, "There are 2 angles; .* 4 views"),
        ({"data": np.ones((4, 4), complex), "factor": 2}, ConfigError, "factor do not go with complex k-space"),
        ({"data": np.ones((4, 4)), "mask": np.ones(4)}, ConfigError, "mask do not go with a real image"),
        ({"data": np.full((32, 32), np.nan), "sigma": 0.1}, IntensityError, "NaN"),
        ({"data": np.ones((32, 32))}, ConfigError, r"mi\.denoise.* say what the array is: noisy \(sigma\), coarse"),
        ({"data": np.ones((32, 32)), "sigma": 0.1, "spacing": (1.0, -1.0)}, GeometryError, "spacing is"),
        ({"data": np.ones((32, 32)), "sigma": 0.1, "device": "cuda:7"}, ConfigError, "cuda:7"),
        ({"data": np.ones((32, 32)), "sigma": 0.1, "noise": 1.0}, ConfigError, "go with an operator"),
        ({"data": np.ones((8, 8), complex), "lines": [0, 1]}, ShapeError, "give line_count"),
        (
            {"data": np.ones((2, 8), complex), "lines": [0, 9], "line_count": 8},
            ShapeError,
            "from 0 to 7; got 2, 0 to 9",
        ),
        (
            {"data": np.ones((32, 32)), "sigma": 0.1, "settings": {"plug_and_play": {"itertions": 1}}},
            ConfigError,
            "Did",
        ),
        ({"data": np.ones((32, 32)), "sigma": 0.1, "method": "magic"}, ConfigError, "no method 'magic'"),
        ({"data": np.ones((32, 32)), "sigma": 0.1, "method": "sirt"}, ConfigError, "SIRT is not for task denoise"),
        ({"data": np.ones((4, 4)), "operator": mi.operators.Identity((5, 4)), "noise": 1.0}, ShapeError, r"\(5, 4\)"),
        ({"data": np.ones((5, 4)), "operator": mi.operators.Identity((5, 4))}, ConfigError, "needs its noise"),
    ],
)
def test_what_does_not_go_together_is_explained(changes, error, words):
    with pytest.raises(error, match=words):
        mi.reconstruct(**changes)


def test_help_answers_at_once():
    """No torch and nothing else heavy is loaded for --help."""
    code = """
import sys
from medinr.cli import main
try:
    main(["--help"])
except SystemExit:
    print("torch" in sys.modules)
"""
    assert _python(code).splitlines()[-1] == "False"


def test_the_types_of_the_front_door_are_those_of_the_lazy_table():
    source = Path(mi.__file__).read_text()
    for name, (module, attribute) in mi._NAMES.items():
        where = f"from {module} import {attribute} as {name}" if attribute else f"from medinr import {name} as {name}"
        assert where in source
