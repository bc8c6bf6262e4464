"""Tiny models, and the command line run in this process."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from medinr.cli import main
from medinr.io.nifti import write_nifti
from medinr.jobs.measure import is_measured
from medinr.models.card import ModelCard
from medinr.models.checkpoint import save_model
from medinr.models.model import Model
from medinr.network.trunk import Trunk, TrunkSettings
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.priors.denoiser_prior import DenoiserPrior

#: Settings that make a run short.
QUICK = ("--set", "plug_and_play.iterations=2", "--set", "total_variation.iterations=5")

#: And one with a network, beside these.
QUICK_NETWORK = ("--set", "network.image_domain.passes=1", "--set", "network.refinement_iterations=2")


def save_tiny_model(path: Path, modality: str, subjects=("someone",), hashes=("0" * 64,), seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    architecture, prior = TrunkSettings(width=24, depth=2, omega=10.0), DenoiserSettings(channels=4, layers=2)
    card = ModelCard(
        name=path.stem,
        modality=modality,
        unit="water" if modality == "CT" else "percentile",
        length_scale=12.0,
        grid_shape=(16, 16),
        grid_spacing=(1.5, 1.5),
        architecture=asdict(architecture),
        prior=prior,
        subjects=tuple(subjects),
        scan_hashes=tuple(hashes),
        scans=("someone slice 1",),
        licences=("CC0",),
    )
    denoiser = DenoiserPrior(LocalDenoiser(prior, generator))
    save_model(path, Model.of(Trunk(architecture, generator), denoiser, card))
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Callable[..., Path]:
    """Makes a model: ``tiny_model(folder / "name.safetensors", "MR", subjects=...)``."""
    return save_tiny_model


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, str]:
    """A tiny model per modality, as the command line wants it."""
    folder = tmp_path_factory.mktemp("models")
    return {kind: str(save_tiny_model(folder / f"tiny_{kind}.safetensors", kind)) for kind in ("MR", "CT")}


@pytest.fixture(scope="session")
def scans(synthetic, tmp_path_factory) -> dict[str, Path]:
    """One small scan per task: MR as NIfTI, CT as DICOM folder."""
    folder = tmp_path_factory.mktemp("scans")
    geometry = synthetic.affine((0.9, 0.8, 3.0), angles=(3.0, -2.0, 5.0))
    head = write_nifti(synthetic.phantom((4, 24, 20), geometry=geometry), folder / "head.nii.gz")
    chest = folder / "chest"
    synthetic.write_dicom_series(chest, synthetic.phantom((3, 24, 20), "CT", geometry))
    return {"denoise": head, "superres": head, "kspace": head, "ct": chest}


@pytest.fixture
def medinr(capsys) -> Callable[..., SimpleNamespace]:
    """Runs one command: exit code, standard output and standard error."""

    def run(*arguments: object) -> SimpleNamespace:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run


@pytest.fixture
def without_figures(monkeypatch) -> None:
    """Drawing takes longer than a tiny reconstruction."""
    monkeypatch.setattr("medinr.jobs.reconstruct.result.reconstruction_figures", lambda *_: [])


@pytest.fixture
def reconstruct(medinr, models, scans) -> Callable[..., SimpleNamespace]:
    """Reconstructs the tiny scan of a task with the tiny model, by plug-and-play or ``inr``, warnings being errors."""

    def run(
        task: str,
        out: Path,
        *more: object,
        source: Path | None = None,
        slices: str = "1",
        method: str | None = None,
    ) -> SimpleNamespace:
        source = scans[task] if source is None else source
        model = models["CT" if task == "ct" else "MR"]
        choice = () if source.suffix == ".safetensors" else ("--slices", slices)
        way = () if method is None else ("--method", method)
        quick = (*QUICK, *QUICK_NETWORK) if method == "inr" else QUICK
        # A scan is no measurement: one is simulated of it.
        name = "reconstruct" if is_measured(source) else "reconstruct-simulated"
        command = (name, source, "--task", task, "--model", model, "--out", out, *choice, *way)
        return medinr(*command, *quick, "--debug", *more)

    return run
