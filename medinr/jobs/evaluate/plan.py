"""The plan of an evaluation: tasks, methods and scans, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medinr.acquisition.ways import acquisition_class
from medinr.config import EvaluateConfig
from medinr.config.protocol import NamedTask, load_task
from medinr.errors import ConfigError, ManifestError
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.raw.recognise import is_raw
from medinr.jobs.evaluate.leakage import refuse_leakage, refuse_trained
from medinr.jobs.evaluate.requirements import Requirement, parse_requirement
from medinr.jobs.methods.registry import METHODS, choose_methods
from medinr.jobs.methods.trained_baselines import training_manifest
from medinr.models.checkpoint import find_model, read_card
from medinr.models.model import RANDOM


@dataclass(frozen=True)
class Plan:
    """Tasks, methods, scans and claims of an evaluation.

    Attributes
    ----------
    tasks : dict of str to NamedTask
    methods : dict of str to tuple of str
        Of each task.
    scans : tuple of (str, ManifestRow)
        Task and scan.
    requirements : tuple of Requirement
    """

    tasks: dict[str, NamedTask]
    methods: dict[str, tuple[str, ...]]
    scans: tuple[tuple[str, ManifestRow], ...]
    requirements: tuple[Requirement, ...] = ()


def plan(manifest: Manifest, config: EvaluateConfig, *, near: Path | None = None, require: Sequence[str] = ()) -> Plan:
    """Plan an evaluation, and refuse what cannot be evaluated before anything is computed.

    Raises
    ------
    LeakageError
        When a scan's subject or hash is among a model's training scans.
    ManifestError
        When no scan of the split suits any task.
    ConfigError
        When a task, method or claim cannot be understood, or no method suits a task.
    """
    tasks = {task.name: _with_model(task, config.models) for task in (load_task(name, near) for name in config.tasks)}
    methods = {name: choose_methods(task, config.methods) for name, task in tasks.items()}
    for name, chosen in methods.items():
        if not chosen:
            raise ConfigError(f"Task {name} suits none of the methods {', '.join(config.methods)}.")
    scans = tuple((name, row) for name, task in tasks.items() for row in _rows(manifest, config, task))
    if not scans:
        raise ManifestError(
            f"The manifest has no scan in split {config.split!r} for {', '.join(t.kind for t in tasks.values())}. "
            "Check its columns split, modality and contrast."
        )
    for name, row in scans:
        model = tasks[name].config.model
        if model != RANDOM and any(METHODS[method].trained for method in methods[name]):
            refuse_leakage(read_card(find_model(model)), row.subject, row.sha256, row.path)
        if any(METHODS[method].learns for method in methods[name]):
            own = tasks[name].config
            refuse_trained(training_manifest(own), own.baselines.training, row)
    return Plan(tasks, methods, scans, tuple(parse_requirement(text, methods) for text in require))


def _with_model(task: NamedTask, models: Sequence[str]) -> NamedTask:
    """Return a task with the first of some models that was trained on its modality."""
    for name in models:
        if read_card(find_model(name)).modality == acquisition_class(task.kind).modality:
            return replace(task, config=replace(task.config, model=name))
    return task


def _rows(manifest: Manifest, config: EvaluateConfig, task: NamedTask) -> Iterator[ManifestRow]:
    for row in manifest.select(split=config.split, modality=acquisition_class(task.kind).modality):
        if is_raw(manifest.resolve(row)) != task.real:
            continue
        if not config.contrasts or not row.contrast or row.contrast in config.contrasts:
            yield row
