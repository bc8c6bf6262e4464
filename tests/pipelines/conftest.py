"""Tiny trunks, and the command line run in this process."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from medinr.cli import main
from medinr.inr.network import Trunk, TrunkSettings
from medinr.io.nifti import write_nifti
from medinr.prior.denoiser import DenoiserSettings, LocalDenoiser
from medinr.prior.local import LocalPrior
from medinr.trunks.checkpoint import Checkpoint, TrunkCard, save_checkpoint

#: Settings that make a run short.
QUICK = ("--set", "fit.imitation.passes=1", "--set", "fit.guide.iterations=2", "--set", "fit.finish=2")
QUICK = (*QUICK, "--set", "peer.iterations=5")


def save_tiny_trunk(path: Path, modality: str, subjects=("someone",), hashes=("0" * 64,), seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    architecture, prior = TrunkSettings(width=24, depth=2, omega=10.0), DenoiserSettings(channels=4, layers=2)
    card = TrunkCard(
        name=path.stem,
        modality=modality,
        unit="water" if modality == "CT" else "percentile",
        length_scale=12.0,
        grid_shape=(16, 16),
        grid_spacing=(1.5, 1.5),
        architecture=architecture,
        prior=prior,
        subjects=tuple(subjects),
        scan_hashes=tuple(hashes),
        scans=("someone slice 1",),
        licences=("CC0",),
    )
    denoiser = LocalPrior(LocalDenoiser(prior, generator))
    save_checkpoint(path, Checkpoint(Trunk(architecture, generator), denoiser, card))
    return path


@pytest.fixture(scope="session")
def tiny_trunk(tmp_path_factory) -> Callable[..., Path]:
    """Makes a trunk: ``tiny_trunk(folder / "name.safetensors", "MR", subjects=...)``."""
    return save_tiny_trunk


@pytest.fixture(scope="session")
def trunks(tmp_path_factory) -> dict[str, str]:
    """A tiny trunk per modality, as the command line wants it."""
    folder = tmp_path_factory.mktemp("trunks")
    return {kind: str(save_tiny_trunk(folder / f"tiny_{kind}.safetensors", kind)) for kind in ("MR", "CT")}


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
    """Drawing takes longer than a tiny fit."""
    monkeypatch.setattr("medinr.pipelines.reconstruct.reconstruction_figures", lambda *_: [])


@pytest.fixture
def reconstruct(medinr, trunks, scans) -> Callable[..., SimpleNamespace]:
    """Reconstructs the tiny scan of a task with the tiny trunk, warnings being errors."""

    def run(task: str, out: Path, *more: object, source: Path | None = None, slices: str = "1") -> SimpleNamespace:
        source = scans[task] if source is None else source
        trunk = trunks["CT" if task == "ct" else "MR"]
        choice = () if source.suffix == ".safetensors" else ("--slices", slices)
        command = ("reconstruct", source, "--task", task, "--trunk", trunk, "--out", out, *choice)
        return medinr(*command, *QUICK, "--debug", *more)

    return run
