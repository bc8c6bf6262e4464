"""Quality of each network backbone: all are pretrained alike, then scored on a subject left out of pretraining.

Train split only. A backbone is scored at the pixels it was fitted to, between them, and against the clean image after a
fit of a noisy one, each after a fixed number of passes: the reference never chooses the step that counts.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from medinr.config import find_manifest
from medinr.data.dataset import TrainingSlices, load_training_slices
from medinr.errors import ConfigError
from medinr.io.atomic import write_json
from medinr.io.manifest import Manifest, read_manifest
from medinr.jobs.record import new_result, versions
from medinr.metrics.image_quality import psnr
from medinr.network.coordinates import plane_coordinates
from medinr.network.image_domain import ImageDomainSettings, best_head, fit_image_domain
from medinr.network.kfac import KfacSettings
from medinr.network.pretraining import PretrainSettings, pretrain
from medinr.network.trunk import Trunk, TrunkSettings
from medinr.optimise import OptimiserSettings

#: Field of view in mm, as for the shipped trunk of brain MR (128 pixels of 1.8 mm).
FIELD_OF_VIEW = 230.4

#: Standard deviation of the noise, relative to the slice's maximum.
NOISE = 0.05


@dataclass(frozen=True)
class Recipe:
    """Settings of one backbone.

    Attributes
    ----------
    omega : float
        On a grid of 128 pixels; it grows with the grid's Nyquist frequency.
    muon_rate, adam_rate : float
        Of pretraining.
    kfac : KfacSettings
        Of the fits.
    """

    omega: float
    muon_rate: float = 3e-3
    adam_rate: float = 1e-3
    kfac: KfacSettings = field(default_factory=KfacSettings)


DAMPED = KfacSettings(damping=0.1, trust=0.02)

#: Chosen on training subjects: of two to four values of omega and up to three pairs of rates, the one with the largest
#: sum of fitted, between and denoised on another subject than the default one (patient04; 150 steps, 8 passes).
#: Smaller omegas are better between pixels and worse on them. The first full steps of ReLU networks diverge (the guard
#: reverses them, two to four times in a fit) unless they are damped.
RECIPES = {
    "siren": Recipe(omega=30.0),
    "finer": Recipe(omega=30.0),
    "wire": Recipe(omega=5.0),
    "gauss": Recipe(omega=10.0),
    "fourier": Recipe(omega=30.0, muon_rate=1e-2, kfac=DAMPED),
    "hash": Recipe(omega=30.0, kfac=DAMPED),
}


@dataclass(frozen=True)
class Scores:
    """Scores of a backbone on one slice; PSNR in dB, data range: the slice's maximum.

    Attributes
    ----------
    untouched : float
        Of the pretrained trunk with its best head.
    fitted : float
        After the passes.
    between : float
        At the pixels left out when every other row and column is fitted.
    denoised : float
        Against the clean slice, after a fit of the noisy one.
    seconds_per_pass : float
        Of the fit to all pixels, both closed-form heads included.
    """

    untouched: float
    fitted: float
    between: float
    denoised: float
    seconds_per_pass: float


def benchmark_backbones(
    manifest: str,
    size: int,
    slices: int,
    passes: float,
    out: Path,
    *,
    steps: int = 400,
    held_out: str = "",
    held_out_slices: int = 3,
    backbones: Sequence[str] = tuple(RECIPES),
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Table:
    """Pretrain every backbone on the same slices and score it on a subject left out.

    Parameters
    ----------
    manifest : str
        CSV file or shipped manifest; brain MR of its train split is used.
    size : int
        Slices are brought to ``size x size`` pixels over `FIELD_OF_VIEW`.
    slices : int
        To pretrain on.
    passes : float
        Times every pixel is seen in a fit.
    out : Path
        Gets ``backbones.json``.
    steps : int
        Of pretraining.
    held_out : str
        Subject to score on; by default the last one.
    held_out_slices : int
    backbones : sequence of str
    overwrite : bool
        Replace a finished result.
    announce : callable
        Called with a line after every backbone.

    Returns
    -------
    rich.table.Table

    Raises
    ------
    ConfigError
        When a backbone has no recipe, or no second subject is there.
    """
    path = new_result(out, "backbones.json", overwrite)
    if unknown := set(backbones) - set(RECIPES):
        raise ConfigError(f"Backbone {min(unknown)!r} is not one of {', '.join(RECIPES)}.")
    training, unseen = split_by_subject(manifest, size, slices, held_out, held_out_slices)
    points = plane_coordinates((size, size), (training.spacing_mm,) * 2, FIELD_OF_VIEW / 2)
    found: dict[str, list[Scores]] = {}
    for name in backbones:
        trunk = train(name, RECIPES[name], training.images, points, steps)
        fitting = ImageDomainSettings(passes=passes, kfac=RECIPES[name].kfac)
        found[name] = [score(trunk, image, points, fitting, seed) for seed, image in enumerate(unseen.images)]
        announce(f"{name}: {', '.join(f'{key} {value:.2f}' for key, value in _mean(found[name]).items())}")
    means = {name: _mean(scores) for name, scores in found.items()}
    facts: dict[str, Any] = {"size": size, "passes": passes, "steps": steps, "noise": NOISE}
    facts |= {"trained_on": training.labels, "scored_on": unseen.labels, "versions": versions()}
    facts["recipes"] = {name: asdict(RECIPES[name]) for name in backbones}
    facts |= {"mean": means, "slices": {name: [asdict(one) for one in scores] for name, scores in found.items()}}
    write_json(path, facts, overwrite=True)
    return _table(means, size, passes)


def split_by_subject(
    name: str, size: int, slices: int, held_out: str = "", held_out_slices: int = 3
) -> tuple[TrainingSlices, TrainingSlices]:
    """Slices of all train subjects but one, and of that one."""
    manifest = read_manifest(find_manifest(name)).select(split="train", modality="MR")
    subjects = sorted({row.subject for row in manifest})
    held_out = held_out or (subjects or [""])[-1]
    if held_out not in subjects or len(subjects) < 2:
        raise ConfigError(f"Subject {held_out!r} cannot be left out of the training subjects {', '.join(subjects)}.")

    def load(seen: bool, limit: int) -> TrainingSlices:
        rows = tuple(row for row in manifest if (row.subject != held_out) == seen)
        grid: dict[str, Any] = {"shape": (size, size), "spacing_mm": FIELD_OF_VIEW / size}
        return load_training_slices(Manifest(rows, manifest.root), modality="MR", limit=limit, **grid)

    return load(True, slices), load(False, held_out_slices)


def train(name: str, recipe: Recipe, images: Tensor, points: Tensor, steps: int) -> Trunk:
    """Pretrain a trunk on slices ``(n, size, size)``."""
    omega = recipe.omega * images.shape[-1] / 128
    settings = PretrainSettings(
        steps=steps,
        architecture=TrunkSettings(omega=omega, backbone=name),
        optimiser=OptimiserSettings(muon_rate=recipe.muon_rate, adam_rate=recipe.adam_rate),
    )
    return pretrain(images, points, settings).trunk


def score(trunk: Trunk, image: Tensor, points: Tensor, fitting: ImageDomainSettings, seed: int) -> Scores:
    """Score a trunk on a slice ``(size, size)`` it has not seen."""
    clean, passes = image.reshape(-1, 1), fitting.passes
    peak = float(clean.max())

    def quality(values: Tensor, where: Tensor | slice = slice(None)) -> float:
        return psnr(values[where].numpy(), clean[where].numpy(), peak)

    features = trunk.features(points)
    untouched = quality(features @ best_head(features, clean))
    fitted, seconds = _fit(trunk, points, clean, points, fitting, seed)
    coarse = torch.zeros(image.shape, dtype=torch.bool)
    coarse[::2, ::2] = True
    coarse = coarse.reshape(-1)
    between, _ = _fit(trunk, points[coarse], clean[coarse], points, fitting, seed)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    denoised, _ = _fit(trunk, points, clean + NOISE * peak * noise, points, fitting, seed)
    return Scores(untouched, quality(fitted), quality(between, ~coarse), quality(denoised), seconds / passes)


def _fit(
    trunk: Trunk, points: Tensor, values: Tensor, everywhere: Tensor, fitting: ImageDomainSettings, seed: int
) -> tuple[Tensor, float]:
    """Fit values at points; give those everywhere, and the seconds of the fit."""
    trunk = copy.deepcopy(trunk)
    head = nn.Parameter(torch.zeros(trunk.width + 1, 1))
    started = time.perf_counter()
    fit_image_domain(trunk, head, points, values, fitting, generator=torch.Generator().manual_seed(seed))
    seconds = time.perf_counter() - started
    with torch.no_grad():
        return trunk.render(everywhere, head), seconds


def _mean(scores: Sequence[Scores]) -> dict[str, float]:
    return {key.name: fmean(getattr(one, key.name) for one in scores) for key in fields(Scores)}


def _table(means: Mapping[str, Mapping[str, float]], size: int, passes: float) -> Table:
    table = Table(title=f"Backbones, {size} x {size}, {passes:g} passes, PSNR in dB")
    columns = [key.name for key in fields(Scores)]
    table.add_column("backbone")
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, mean in means.items():
        cells = []
        for column in columns:
            best = (min if column == "seconds_per_pass" else max)(other[column] for other in means.values())
            cells.append(f"[bold]{mean[column]:.2f}[/bold]" if mean[column] == best else f"{mean[column]:.2f}")
        table.add_row(name, *cells)
    return table
