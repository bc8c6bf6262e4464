"""No task's file has more keys than a reader can keep in mind, and each of them changes a result."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from medinr.config.shipped import shipped
from medinr.config.task import load_task_config
from medinr.jobs.prepared import prepare_raw
from medinr.jobs.reconstruct.prepare import prepare_job
from medinr.jobs.reconstruct.records import slice_records
from medinr.jobs.reconstruct.uncertainty_maps import uncertainty_facts
from medinr.jobs.simulated import measure_slices
from medinr.models.model import Model
from medinr.network.trunk import Trunk, TrunkSettings
from medinr.operators import Fourier, birdcage_maps
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.raw import CARTESIAN, SINOGRAM, RawMeasurement
from medinr.volume import Volume

TASKS = ("denoise", "superres", "kspace", "ct")

#: Most keys of a task's file.
MOST = 30

#: Keys that name the task, draw numbers, or trade exactness for speed: exempt.
EXEMPT = {"task", "seed", "simulation.seed", "plug_and_play.precision"}

#: What keeps every run short; a key that is tested is not among them.
SHORT = {
    "plug_and_play.iterations": 3,
    "plug_and_play.cg_iterations": 2,
    "total_variation.iterations": 4,
    "uncertainty.repeats": 1,
    "uncertainty.iterations": 2,
}

#: A value of each key that makes a difference, and what else has to be said for it to matter.
CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "model": ("other", {}),
    "method": ("tv", {"uncertainty.repeats": 0}),
    "simulation.acceleration": (2.0, {}),
    "simulation.centre_fraction": (0.25, {}),
    "simulation.mask": ("equispaced", {}),
    "simulation.own_lines": (True, {}),
    "simulation.coils": (2, {}),
    "simulation.snr_db": (20.0, {}),
    "simulation.phase": (0.0, {}),
    "simulation.factor": (3, {}),
    "simulation.direction": ("through-plane", {}),
    "simulation.noise_level": (0.1, {}),
    "simulation.views": (9, {}),
    "simulation.photons": (1e3, {}),
    "simulation.geometry": ("fan", {}),
    "simulation.distances": ([300.0, 600.0], {"simulation.geometry": "fan"}),
    "raw.coils": (2, {"raw": True}),
    "raw.maps": ("walsh", {"raw": True}),
    "raw.acceleration": (2.0, {"raw": True, "simulation.centre_fraction": 0.4}),
    "raw.every": (2, {"raw": True}),
    "raw.rotation_centre": ("header", {"raw": True}),
    "raw.stripes": (True, {"raw": True}),
    "raw.size": (20, {"raw": True}),
    "plug_and_play.iterations": (2, {}),
    "plug_and_play.sigma_start": (0.1, {}),
    "plug_and_play.sigma_end_factor": (3.0, {}),
    "plug_and_play.regularisation_weight": (0.7, {}),
    "plug_and_play.cg_iterations": (1, {"simulation.coils": 2}),
    "plug_and_play.views_per_iteration": (4, {"plug_and_play.iterations": 6}),
    "plug_and_play.momentum": (0.2, {}),
    "plug_and_play.coarse_above": (1e-6, {}),
    "plug_and_play.final_step": ("denoiser", {}),
    "multi_slice": ("always", {"uncertainty.repeats": 0}),
    "uncertainty.repeats": (2, {}),
    "uncertainty.iterations": (1, {}),
    "uncertainty.weights": ([1.0, 0.0, 0.0], {}),
    "uncertainty.mean_error": (0.5, {}),
    "uncertainty.detail_level": (0.2, {}),
    "total_variation.weight": (5.0, {}),
    "total_variation.iterations": (2, {}),
}


def _keys(values: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"


def _file(task: str) -> list[str]:
    return list(_keys(yaml.safe_load(shipped("medinr.configs", "*.yaml")[task].read_text())))


def _model(seed: int) -> Model:
    generator = torch.Generator().manual_seed(seed)
    settings = DenoiserSettings(channels=4, layers=2)
    denoiser = DenoiserPrior(LocalDenoiser(settings, generator), magnitude_denoiser=LocalDenoiser(settings, generator))
    trunk = Trunk(TrunkSettings(width=8, depth=2, omega=10.0), generator)
    return Model(denoiser, None, 20.0, lambda: trunk)


def _scan(task: str) -> Volume:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (14, 16, 15)), indexing="ij")
    body = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1 - 0.2 * z**2
    if task == "ct":
        array = np.where(body, 40 + 300 * (np.hypot(x - 0.2, y) < 0.3), -1000)
        return Volume(array.astype(np.float32), np.diag([-2.0, -2.0, 2.0, 1.0]), "CT", "HU")
    array = body * (400 + 200 * np.cos(5 * x + z) + 100 * (np.hypot(x, y - 0.3) < 0.2))
    return Volume(array.astype(np.float32), np.diag([-2.0, -2.0, 2.0, 1.0]), "MR", "a.u.")


def _raw(task: str) -> RawMeasurement:
    generator = torch.Generator().manual_seed(5)
    if task == "kspace":
        shape = (24, 20)
        y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
        image = ((y / 0.8).square() + (x / 0.7).square() < 1) * (1 + 0.3 * torch.cos(5 * x))
        kspace = Fourier((4, *shape))(birdcage_maps(shape, 4) * image)
        kspace = kspace + 0.01 * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
        return RawMeasurement("kspace", kspace.unsqueeze(0), CARTESIAN, {"image_shape": shape})
    angles = tuple(float(angle) for angle in np.arange(16) * np.pi / 16)
    offsets = np.linspace(-1, 1, 31) - 0.1
    data = np.stack([np.sqrt(np.clip(0.5 - (offsets - 0.2 * np.cos(a)) ** 2, 0, None)) for a in angles])
    noise = 0.01 * torch.randn(data.shape, generator=generator).numpy()
    stripes = 0.05 * (np.arange(31) % 7 == 3)
    facts = {"geometry": "parallel", "angles": angles, "detector_spacing_mm": 2.0}
    return RawMeasurement(
        "sinogram", torch.from_numpy((data + noise + stripes).astype(np.float32))[None], SINOGRAM, facts
    )


def _results(task: str, settings: dict[str, Any], folder: Path) -> list[np.ndarray]:
    """Every image and number of a short reconstruction."""
    raw = settings.pop("raw", False)
    other = settings.pop("model", "") == "other"
    config = load_task_config(task, [f"{key}={_yaml(value)}" for key, value in settings.items()])
    slices = [5, 6, 7, 8] if settings.get("multi_slice") or settings.get("simulation.own_lines") else [7]
    if raw:
        measurement, reference = prepare_raw(_raw(task), config, [0])
    else:
        scan = _scan(task)
        measurement, reference = measure_slices(scan, config, slices)
    job = prepare_job(measurement, config, model=_model(2 if other else 1))
    job = type(job)(**{**vars(job), "folder": folder})
    found = []
    for position, record in enumerate(slice_records(job, overwrite=True)):
        found += [record.images[name] for name in sorted(record.images)]
        of = None if reference is None else reference.images[position]
        summary = uncertainty_facts(record, of, config).get("uncertainty", {})
        found.append(np.array(list(summary.values())))
    return found


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("...").strip()


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_few_keys_and_all_are_tested_here(task):
    keys = _file(task)
    assert len(keys) <= MOST, f"{task}.yaml has {len(keys)} keys."
    assert set(keys) - EXEMPT <= CHANGES.keys()


@pytest.mark.parametrize(("task", "key"), [(task, key) for task in TASKS for key in _file(task) if key not in EXEMPT])
def test_a_key_changes_a_result(task, key, tmp_path):
    value, also = CHANGES[key]
    also = {name: given for name, given in also.items() if name == "raw" or name in _file(task)}
    short = {name: number for name, number in SHORT.items() if name in _file(task) and name != key}
    if task == "denoise":
        short.pop("plug_and_play.iterations", None)
    before = _results(task, {**short, **also}, tmp_path / "before")
    after = _results(task, {**short, **also, key: value}, tmp_path / "after")
    same = len(before) == len(after) and all(
        a.shape == b.shape and np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True)
    )
    assert not same, f"{key}={value} changes nothing of {task}."
