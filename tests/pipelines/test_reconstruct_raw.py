"""`medinr reconstruct` straight from raw files, and what it refuses in one sentence."""

import json

import h5py
import numpy as np
import pytest
import torch

from medinr.io.nifti import read_nifti
from medinr.operators import Fourier, ParallelBeam

SHAPE = (32, 28)


def image() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, SHAPE[0]), torch.linspace(-1, 1, SHAPE[1]), indexing="ij")
    inside = torch.sigmoid(20 * (0.7 - torch.hypot(x / 0.85, y)))
    return torch.polar(inside * (100 + 30 * torch.cos(4 * x)), 0.5 * x)


@pytest.fixture
def kspace(tmp_path):
    """Single-coil k-space as .npy beside its sidecar; ``change`` spoils either."""

    def write(change=lambda data: data, sidecar: str = "axes: [ky, kx]\nspacing_mm: [2, 1.5]\n"):
        noise = torch.complex(*torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)).unbind())
        data = (Fourier(SHAPE)(image()) + 0.5 * noise).numpy()
        path = tmp_path / "scan.npy"
        np.save(path, change(data))
        path.with_name("scan.npy.yaml").write_text(f"kind: kspace\n{sidecar}")
        return path

    return write


@pytest.fixture
def sinogram(tmp_path):
    """A Data Exchange file of 60 views over half a rotation."""

    def write(change=lambda file: None, angles: np.ndarray | None = None):
        angles = np.arange(60) * 3.0 if angles is None else angles
        projector = ParallelBeam((32, 32), (1.0, 1.0), np.radians(np.arange(60) * 3.0), 32, 1.0)
        y, x = torch.meshgrid(torch.arange(32.0) - 15.5, torch.arange(32.0) - 15.5, indexing="ij")
        counts = 1e4 * torch.exp(-projector(0.02 * torch.sigmoid(2 * (9 - torch.hypot(x - 2, y)))))
        rng = np.random.default_rng(0)
        path = tmp_path / "scan.h5"
        with h5py.File(path, "w") as file:
            file["exchange/data"] = rng.poisson(counts.numpy())[:, None].astype(np.float32)
            file["exchange/data_white"] = rng.poisson(1e4, (8, 1, 32)).astype(np.float32)
            file["exchange/data_dark"] = np.zeros((4, 1, 32), np.float32)
            file["exchange/theta"] = angles
            change(file)
        return path

    return write


def test_k_space_with_lines_left_out_is_compared_with_all_of_it(reconstruct, kspace, tmp_path):
    out = tmp_path / "out"
    more = ("--set", "raw.acceleration=2", "--set", "simulation.centre_fraction=0.3")
    assert reconstruct("kspace", out, *more, source=kspace(), slices="0").code == 0
    result = json.loads((out / "result.json").read_text())
    assert result["measurement"]["achieved_acceleration"] == pytest.approx(2.0)
    assert any("Undersampled afterwards" in step for step in result["measurement"]["steps"])
    assert (out / "comparison_0000.png").exists()
    back = read_nifti(out / "reconstruction.nii.gz", modality="MR")
    assert back.shape == (1, *SHAPE)
    assert back.spacing[:2] == pytest.approx((1.5, 2.0))
    error = np.linalg.norm(back.array[0] - image().abs().numpy()) / np.linalg.norm(image().abs().numpy())
    assert error < 0.15
    # The saved measurement is what was fitted: replayed, it gives the same image.
    again = tmp_path / "again"
    assert reconstruct("kspace", again, source=out / "measurement.safetensors").code == 0
    replayed = read_nifti(again / "reconstruction.nii.gz", modality="MR")
    np.testing.assert_array_equal(replayed.array, back.array)


def test_all_of_the_data_have_no_reference(reconstruct, kspace, tmp_path):
    out = tmp_path / "out"
    assert reconstruct("kspace", out, source=kspace(), slices="0").code == 0
    record = json.loads((out / "result.json").read_text())
    assert "psnr" not in json.dumps(record["slices"])
    assert record["simulated"] is False
    assert not any("imulated" in note for note in record["notes"])


@pytest.mark.usefixtures("without_figures")
def test_a_sinogram_comes_back_as_attenuation(reconstruct, sinogram, tmp_path):
    out = tmp_path / "out"
    assert reconstruct("ct", out, "--set", "raw.rotation_centre=header", source=sinogram(), slices="0").code == 0
    back = read_nifti(out / "reconstruction.nii.gz", modality="CT")
    assert back.shape == (1, 32, 32)
    assert float(back.array[0, 12:20, 14:22].mean()) == pytest.approx(0.02, rel=0.1)


def test_a_sidecar_belongs_to_raw_data(medinr, scans, kspace, tmp_path):
    sidecar = kspace().with_name("scan.npy.yaml")
    measured = tmp_path / "m.safetensors"
    assert medinr("simulate", scans["kspace"], "--slices", "1", "--out", measured).code == 0
    for command, source in (
        (("reconstruct", "--out", tmp_path / "out"), measured),
        (("models", "choose"), measured),
        (("models", "choose"), scans["kspace"]),
    ):
        found = medinr(*command, source, "--sidecar", sidecar)
        assert found.code == 2
        assert "leave --sidecar out" in found.err


@pytest.mark.parametrize("option", [("--series", "1"), ("--modality", "MR"), ("--straighten",), ("--deidentify",)])
def test_what_chooses_an_image_does_not_go_with_raw_data(medinr, kspace, tmp_path, option):
    found = medinr("reconstruct", kspace(), "--model", "random", "--out", tmp_path / "out", *option)
    assert found.code == 2
    assert f"{option[0]}" in found.err
    assert "are for images; scan.npy is none" in found.err
    assert not (tmp_path / "out").exists()


def test_the_task_must_be_that_of_the_data(medinr, kspace, tmp_path):
    found = medinr("reconstruct", kspace(), "--task", "ct", "--model", "random", "--out", tmp_path / "out")
    assert found.code == 2
    assert "--task kspace" in found.err


def _with_nan(data):
    data = data.copy()
    data[5] = np.nan
    return data


SPOILT_KSPACE = {
    "wrong axes": ({"sidecar": "axes: [coil, ky, kx]\n"}, "axes"),
    "unknown key": ({"sidecar": "axes: [ky, kx]\nspacing: [1, 1]\n"}, "spacing_mm"),
    "missing trajectory": ({"sidecar": "axes: [readout, sample]\nimage_shape: [32, 28]\n"}, "trajectory"),
    "NaN lines": ({"change": _with_nan}, "NaN"),
    "a coil of zeros": (
        {"change": lambda data: np.stack([data, 0 * data]), "sidecar": "axes: [coil, ky, kx]\n"},
        "coil 1",
    ),
}


@pytest.mark.parametrize("fault", SPOILT_KSPACE)
def test_bad_k_space_is_refused_in_a_sentence(medinr, kspace, tmp_path, fault):
    spoil, word = SPOILT_KSPACE[fault]
    found = medinr("reconstruct", kspace(**spoil), "--model", "random", "--out", tmp_path / "out")
    assert found.code == 2
    assert word in found.err
    assert "scan.npy" in found.err
    assert len(found.err.splitlines()) <= 2
    assert not (tmp_path / "out" / "result.json").exists()


def _negative(file):
    file["exchange/data"][3] = -50.0


SPOILT_SINOGRAMS = {
    "negative counts": ({"change": _negative}, "negative"),
    "too few angles": ({"angles": np.arange(12) * 3.0}, "angles"),
}


@pytest.mark.parametrize("fault", SPOILT_SINOGRAMS)
def test_bad_sinograms_are_refused_in_a_sentence(medinr, sinogram, tmp_path, fault):
    spoil, word = SPOILT_SINOGRAMS[fault]
    found = medinr("reconstruct", sinogram(**spoil), "--task", "ct", "--model", "random", "--out", tmp_path / "out")
    assert found.code == 2
    assert word in found.err
    assert len(found.err.splitlines()) <= 2


def test_degrees_by_mistake_are_noticed(medinr, tmp_path):
    np.save(tmp_path / "scan.npy", np.ones((60, 32), np.float32))
    angles = ", ".join(f"{3.0 * k}" for k in range(60))
    lines = [
        "kind: sinogram",
        "axes: [angle, detector]",
        "geometry: parallel",
        "angle_unit: rad",
        f"angles: [{angles}]",
    ]
    (tmp_path / "scan.npy.yaml").write_text("\n".join([*lines, "units: line integrals"]))
    found = medinr("reconstruct", tmp_path / "scan.npy", "--task", "ct", "--model", "random", "--out", tmp_path / "out")
    assert found.code == 2
    assert "degrees" in found.err
    assert "scan.npy" in found.err


def test_a_truncated_file_is_refused_in_a_sentence(medinr, sinogram, tmp_path):
    path = sinogram()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found = medinr("reconstruct", path, "--task", "ct", "--model", "random", "--out", tmp_path / "out")
    assert found.code == 2
    assert "scan.h5" in found.err
    assert len(found.err.splitlines()) <= 2
