"""`medinr denoise` and `medinr superres` from file to file, with a tiny model; and the commands of docs/my-scan.md."""

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch

from medinr.data.resample import continued_onto
from medinr.io.dicom.read import read_dicom_series
from medinr.io.nifti import read_nifti, write_nifti
from medinr.models.card import ModelCard
from medinr.models.checkpoint import save_model
from medinr.models.model import Model
from medinr.network.trunk import Trunk, TrunkSettings
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.priors.scan_denoiser import ScanDenoiser, ScanDenoiserSettings

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "my-scan.md"

SIGMA = 20.0


def _model(path: Path, modality: str) -> Path:
    generator = torch.Generator().manual_seed(0)
    trunk, small = TrunkSettings(width=24, depth=2, omega=10.0), DenoiserSettings(channels=4, layers=2)
    large = ScanDenoiserSettings()
    card = ModelCard(
        name=path.stem,
        modality=modality,
        unit="water" if modality == "CT" else "percentile",
        length_scale=12.0,
        grid_shape=(16, 16),
        grid_spacing=(1.5, 1.5),
        architecture=asdict(trunk),
        prior=small,
        subjects=("someone",),
        scan_hashes=("0" * 64,),
        scans=("someone slice 1",),
        licences=("CC0",),
        scan_denoiser=large,
    )
    prior = DenoiserPrior(LocalDenoiser(small, generator), scan_denoiser=ScanDenoiser(large, generator))
    save_model(path, Model.of(Trunk(trunk, generator), prior, card))
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan_models")
    return {kind: _model(folder / f"tiny_{kind}.safetensors", kind) for kind in ("MR", "CT")}


def noisy(synthetic, modality="MR", seed=0, shape=(4, 72, 64)):
    """A phantom of smooth tissue with noise of `SIGMA`: magnitudes, or HU."""
    scan = synthetic.phantom(shape, modality, synthetic.affine((1.0, 1.0, 3.0)), seed)
    rng = np.random.default_rng(seed)
    array = scan.array + rng.normal(0, SIGMA, scan.shape)
    if modality == "MR":
        array = np.hypot(array, rng.normal(0, SIGMA, scan.shape))
    return scan.with_array(np.rint(array).astype(np.float32))


def test_a_nifti_file_denoised_with_the_noise_that_is_found(medinr, tiny, synthetic, tmp_path):
    source = write_nifti(noisy(synthetic), tmp_path / "head_T1w.nii.gz", dtype="int16")
    out = tmp_path / "out"
    found = medinr("denoise", source, "--model", tiny["MR"], "--out", out, "--debug", "--blend", "1")
    assert found.code == 0, found.err
    result = json.loads((out / "result.json").read_text())
    # The phantom has noise of its own (uniform, +-20).
    assert 0.8 * SIGMA < result["noise"]["sigma"] < 1.6 * SIGMA
    assert result["noise"]["kind"] == "rician"
    assert result["model"]["name"] == "tiny_MR.safetensors"
    before, after, removed = (
        np.asarray(nib.load(path).dataobj).astype(float)
        for path in (source, out / "denoised.nii.gz", out / "residual.nii.gz")
    )
    assert np.abs(before - after - removed).max() <= 0.5
    assert result["removed"]["voxels"] > 0


@pytest.mark.parametrize(("method", "learns"), [("inr", "what the denoiser gives"), ("inr-without-denoiser", "scan")])
def test_coordinate_networks(medinr, tiny, synthetic, monkeypatch, tmp_path, method, learns):
    targets = []

    def fit(volume, noise, trunk, length_scale, *, target=None, progress=None):
        targets.append(target)
        return volume.array - np.float32(length_scale)

    monkeypatch.setattr("medinr.network.scan_fit.fit_scan", fit)
    source = write_nifti(noisy(synthetic, shape=(2, 32, 28)), tmp_path / "head_T1w.nii.gz")
    command = ("denoise", source, "--method", method, "--model", tiny["MR"], "--sigma", SIGMA, "--blend", "1")
    found = medinr(*command, "--out", tmp_path / "out", "--debug")
    assert found.code == 0, found.err
    assert json.loads((tmp_path / "out" / "result.json").read_text())["settings"]["method"] == method
    assert all((target is None) == (learns == "scan") for target in targets)
    change = read_nifti(source).array - read_nifti(tmp_path / "out" / "denoised.nii.gz").array
    assert np.median(change) == pytest.approx(12.0, abs=0.1)


@pytest.mark.parametrize("method", ["inr", "inr-without-denoiser"])
def test_finer_voxels_by_coordinate_networks(medinr, tiny, synthetic, monkeypatch, tmp_path, method):
    targets = []

    def fit(volume, grid, noise, trunk, length_scale, *, target=None, thickness=None, progress=None):
        targets.append(target)
        return SimpleNamespace(volume=continued_onto(volume, grid.affine, grid.shape), residual=thickness / 10)

    monkeypatch.setattr("medinr.network.scan_sharpen.sharpen_by_networks", fit)
    source = write_nifti(noisy(synthetic, shape=(2, 16, 14)), tmp_path / "head_T1w.nii.gz")
    command = ("superres", source, "--factor", "1,1,2", "--method", method, "--model", tiny["MR"], "--sigma", SIGMA)
    found = medinr(*command, "--out", tmp_path / "out", "--debug")
    assert found.code == 0, found.err
    assert json.loads((tmp_path / "out" / "result.json").read_text())["residual_over_sigma"] == [0.3]
    assert all((target is None) == (method != "inr") for target in targets)
    assert all(target is None or target.shape[1:] <= (16, 14) for target in targets)


def test_a_dicom_series_of_ct(medinr, tiny, synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "chest", noisy(synthetic, "CT"))
    out = tmp_path / "out"
    command = ("denoise", tmp_path / "chest", "--model", tiny["CT"], "--sigma", SIGMA, "--out", out, "--debug")
    found = medinr(*command)
    assert found.code == 0, found.err
    source, result = read_dicom_series(tmp_path / "chest"), read_dicom_series(out / "dicom")
    np.testing.assert_allclose(result.affine, source.affine, atol=1e-3)
    assert result.unit == "HU"


def test_repeats_tell_their_noise(medinr, tiny, synthetic, tmp_path):
    volumes = [noisy(synthetic, seed=seed).array for seed in range(6)]
    scan = noisy(synthetic)
    nib.save(nib.Nifti1Image(np.stack(volumes, -1).transpose(2, 1, 0, 3), scan.affine), tmp_path / "rest_bold.nii.gz")
    out = tmp_path / "out"
    found = medinr("denoise", tmp_path / "rest_bold.nii.gz", "--model", tiny["MR"], "--out", out, "--debug")
    assert found.code == 0, found.err
    assert "6 repeats" in json.loads((out / "result.json").read_text())["noise"]["how"]
    assert nib.load(out / "denoised.nii.gz").shape == (64, 72, 4, 6)


def test_thick_slices_become_cubic(medinr, tiny, synthetic, tmp_path):
    source = write_nifti(noisy(synthetic, shape=(3, 32, 28)), tmp_path / "head_T1w.nii.gz")
    out = tmp_path / "out"
    command = ("superres", source, "--spacing", "1", "--model", tiny["MR"], "--sigma", SIGMA, "--blend", "1")
    found = medinr(*command, "--out", out, "--debug")
    assert found.code == 0, found.err
    fine = read_nifti(out / "sharpened.nii.gz")
    assert fine.shape == (9, 32, 28)
    result = json.loads((out / "result.json").read_text())
    assert result["residual_over_sigma"][0] < 1.5
    assert result["slice_thickness_mm"] == 3.0


def test_the_same_twice_gives_the_same_bytes(medinr, tiny, synthetic, tmp_path):
    source = write_nifti(noisy(synthetic), tmp_path / "head_T1w.nii.gz")
    for name in ("a", "b"):
        command = ("denoise", source, "--model", tiny["MR"], "--sigma", SIGMA, "--out", tmp_path / name, "--debug")
        assert medinr(*command).code == 0
    for name in ("denoised.nii.gz", "residual.nii.gz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def _commands() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("medinr ")]


@pytest.mark.parametrize("command", _commands())
def test_the_commands_of_the_page(medinr, tiny, synthetic, monkeypatch, tmp_path, command):
    """Each is run as it stands, on small scans of these names; what it finds is said, nothing is computed."""
    monkeypatch.chdir(tmp_path)
    scan = noisy(synthetic)
    rng = np.random.default_rng(5)
    write_nifti(scan, tmp_path / "scan_T1w.nii.gz")
    write_nifti(scan.with_array(np.full(scan.shape, SIGMA, np.float32)), tmp_path / "sigma.nii.gz")
    write_nifti(scan.with_array(rng.rayleigh(SIGMA, scan.shape).astype(np.float32)), tmp_path / "noise.nii.gz")
    phase = rng.uniform(-np.pi, np.pi, scan.shape).astype(np.float32)
    write_nifti(scan.with_array(phase), tmp_path / "scan_part-phase_T1w.nii.gz")
    like = synthetic.phantom((9, 36, 32), geometry=scan.affine @ np.diag([2.0, 2.0, 0.4, 1.0]))
    write_nifti(like, tmp_path / "other_T1w.nii.gz")
    files = {
        "SCAN": "scan_T1w.nii.gz",
        "MAGNITUDE": "scan_T1w.nii.gz",
        "PHASE": "scan_part-phase_T1w.nii.gz",
        "OTHER": "other_T1w.nii.gz",
    }
    words = [files.get(word, word) for word in shlex.split(command)[1:]]
    if words[0] in ("denoise", "superres"):
        # Nothing is timed; the noise, the grid and all refusals are real.
        monkeypatch.setattr("medinr.pipelines.superres.forecast_refinement", lambda *_: _Nothing())
        monkeypatch.setattr("medinr.pipelines.denoise.forecast", lambda *_: _Nothing())
        words += ["--dry-run", "--model", str(tiny["MR"])]
    found = medinr(*words, "--debug")
    assert found.code == 0, found.err
    assert "noise: sigma" in found.out


class _Nothing:
    words = "no time"


def test_the_page_has_commands_of_both_verbs():
    verbs = {command.split()[1] for command in _commands()}
    assert verbs == {"denoise", "superres"}
    assert len(_commands()) > 10
