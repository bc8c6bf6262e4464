"""Tiny models and scans, and the benchmarks' command line run in this process."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.__main__ import main
from medinr.io.nifti import write_nifti
from medinr.models.card import ModelCard
from medinr.models.checkpoint import save_model
from medinr.models.model import Model
from medinr.network.trunk import Trunk, TrunkSettings
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.priors.denoiser_prior import DenoiserPrior


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, str]:
    """A tiny untrained model of MR, as the command line wants it."""
    path = tmp_path_factory.mktemp("models") / "tiny_MR.safetensors"
    generator = torch.Generator().manual_seed(0)
    architecture, prior = TrunkSettings(width=24, depth=2, omega=10.0), DenoiserSettings(channels=4, layers=2)
    card = ModelCard(
        name=path.stem,
        modality="MR",
        unit="percentile",
        length_scale=12.0,
        grid_shape=(16, 16),
        grid_spacing=(1.5, 1.5),
        architecture=asdict(architecture),
        prior=prior,
        subjects=("someone",),
        scan_hashes=("0" * 64,),
        scans=("someone slice 1",),
        licences=("CC0",),
    )
    denoiser = DenoiserPrior(LocalDenoiser(prior, generator))
    save_model(path, Model.of(Trunk(architecture, generator), denoiser, card))
    return {"MR": str(path)}


@pytest.fixture(scope="session")
def scans(synthetic, tmp_path_factory) -> dict[str, Path]:
    """One small MR scan as NIfTI."""
    geometry = synthetic.affine((0.9, 0.8, 3.0), angles=(3.0, -2.0, 5.0))
    path = tmp_path_factory.mktemp("scans") / "head.nii.gz"
    return {"kspace": write_nifti(synthetic.phantom((4, 24, 20), geometry=geometry), path)}


@pytest.fixture
def benchmark(capsys) -> Callable[..., SimpleNamespace]:
    """Runs one benchmark: exit code, standard output and standard error."""

    def run(*arguments: object) -> SimpleNamespace:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run
