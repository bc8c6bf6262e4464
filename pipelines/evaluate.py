"""Manifest in, folder of results out: every method on the same measurements of held-out scans."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from medinr.pipelines.assemble import assemble
from medinr.pipelines.cells import WORK
from medinr.pipelines.crew import Crew
from medinr.pipelines.methods import METHODS, choose_methods, unavailable
from medinr.pipelines.record import versions
from medinr.pipelines.taught import training_manifest
from medinr.pipelines.units import Done, Unit

from medinr.config import EvaluateConfig
from medinr.config.protocol import NamedTask, load_task
from medinr.data.simulate import TASK_MODALITY
from medinr.errors import ConfigError, ManifestError, OutputExistsError
from medinr.evaluate.leakage import refuse_leakage, refuse_taught
from medinr.evaluate.requirements import Requirement, parse_requirement
from medinr.evaluate.results import FORMAT, Results, read_facts, write_facts
from medinr.io.claims import sweep, wait_for_claim
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.raw import is_raw
from medinr.trunks.checkpoint import find_trunk, read_card

#: Seconds before asking again for units that another evaluation in the same folder has claimed.
PAUSE = 0.5

#: What a reader must know of simulated measurements, by modality.
NOTES = {
    "MR": "MR scans are magnitude images: undersampling simulated from them looks better than on a scanner.",
    "CT": "CT measurements are simulated from reconstructed slices by the projector that reconstructs them.",
}

#: What a reader must know of raw data.
REAL = "Raw data are judged against the image of all of them, which holds their noise: no method can be free of error."


@dataclass(frozen=True)
class Plan:
    """What an evaluation is going to do.

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


@dataclass(frozen=True)
class Status:
    """How far an evaluation is: units in all and done by (task, method), and the last one done."""

    planned: Counter[tuple[str, str]] = field(default_factory=Counter)
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    last: Done | None = None


Watch = Callable[[Status], None]


def plan(manifest: Manifest, config: EvaluateConfig, *, near: Path | None = None, require: Sequence[str] = ()) -> Plan:
    """Decide everything and refuse what must be refused, before anything is computed.

    Raises
    ------
    LeakageError
        When a scan's subject or hash is among a trunk's training scans.
    ManifestError
        When no scan of the split suits any task.
    ConfigError
        When a task, method or claim cannot be understood, or no method suits a task.
    """
    tasks = {task.name: _with_trunk(task, config.trunks) for task in (load_task(name, near) for name in config.tasks)}
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
        trunk = tasks[name].config.trunk
        if trunk != "random" and any(METHODS[method].trained for method in methods[name]):
            refuse_leakage(read_card(find_trunk(trunk)), row.subject, row.sha256, row.path)
        if any(METHODS[method].taught for method in methods[name]):
            own = tasks[name].config
            refuse_taught(training_manifest(own), own.peer.training, row)
    return Plan(tasks, methods, scans, tuple(parse_requirement(text, methods) for text in require))


def _with_trunk(task: NamedTask, trunks: Sequence[str]) -> NamedTask:
    """A task with the first of some trunks that was trained on its modality."""
    for name in trunks:
        if read_card(find_trunk(name)).modality == TASK_MODALITY[task.kind]:
            return replace(task, config=replace(task.config, trunk=name))
    return task


def evaluate(
    manifest: Manifest,
    config: EvaluateConfig,
    out: Path,
    *,
    near: Path | None = None,
    require: Sequence[str] = (),
    workers: int = 1,
    overwrite: bool = False,
    watch: Watch = lambda status: None,
) -> Results:
    """Score every method on held-out scans.

    Parameters
    ----------
    manifest : Manifest
    config : EvaluateConfig
    out : Path
        Filled as `medinr.evaluate.results` reads it. Run again, it goes on where it stopped; other tasks, methods or
        slices are added to what is there.
    near : Path, optional
        Folder that task configurations are looked for in first.
    require : sequence of str
        Claims to be checked for sense before anything is computed (`medinr.evaluate.requirements`).
    workers : int
        Processes; each has its share of the threads.
    overwrite : bool
        Begin anew.
    watch : callable
        Called with a `Status` at the start and after every unit.

    Returns
    -------
    Results

    Raises
    ------
    LeakageError, ManifestError, ConfigError
        See `plan`.
    OutputExistsError
        When the folder holds an evaluation with other settings.
    """
    todo = plan(manifest, config, near=near, require=require)
    if overwrite:
        _clear(out)
    with wait_for_claim(out / WORK / "settings.claim"):
        _note_settings(out, config, todo)
    threads = max(1, torch.get_num_threads() // workers)
    with Crew(workers, out, todo.tasks, config.seed, config.curves, threads) as crew:
        try:
            cells = crew.prepare([(name, manifest, row, config.slices) for name, row in todo.scans])
            units = [
                Unit(name, cell, method)
                for (name, _), found in zip(todo.scans, cells, strict=True)
                for cell in found
                for method in todo.methods[name]
            ]
            if not units:
                raise ManifestError(
                    f"No scan of split {config.split!r} suits any of the tasks {', '.join(todo.tasks)}: "
                    "through-plane tasks want axial or coronal scans of nearly cubic voxels, prior tasks a second scan "
                    "in the manifest (an earlier session, another contrast, another person)."
                )
            _run(crew, units, watch)
        finally:
            crew.dismiss()
            results = _assembled(out)
    return results


def _run(crew: Crew, units: list[Unit], watch: Watch) -> None:
    planned = Counter((unit.task, unit.method) for unit in units)
    done: Counter[tuple[str, str]] = Counter()
    watch(Status(planned, done))
    while units:
        busy = []
        for result in crew.run(units):
            if result.busy:
                busy.append(result.unit)
                continue
            done[result.unit.task, result.unit.method] += 1
            watch(Status(planned, done, result))
        units = busy
        if units:
            time.sleep(PAUSE)


def _assembled(out: Path) -> Results:
    # One at a time: what a second evaluation in the folder adds meanwhile must not be overwritten by less.
    with wait_for_claim(out / WORK / "tables.claim"):
        sweep(out / WORK)
        results: Results = assemble(out)
        return results


def _rows(manifest: Manifest, config: EvaluateConfig, task: NamedTask) -> Iterator[ManifestRow]:
    for row in manifest.select(split=config.split, modality=TASK_MODALITY[task.kind]):
        if is_raw(manifest.resolve(row)) != task.real:
            continue
        if not config.contrasts or not row.contrast or row.contrast in config.contrasts:
            yield row


def _clear(out: Path) -> None:
    for name in (WORK, "images", "measurements"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("evaluation.json", "results.csv", "results.parquet"):
        (out / name).unlink(missing_ok=True)


def _note_settings(out: Path, config: EvaluateConfig, todo: Plan) -> None:
    facts: dict[str, Any] = {
        "format": FORMAT,
        "settings": asdict(config),
        "versions": versions(),
        "seed": config.seed,
        "tasks": {name: _task_facts(task) for name, task in todo.tasks.items()},
        "methods": {
            method: {
                "words": METHODS[method].words,
                "settings": {
                    name: METHODS[method].settings(todo.tasks[name].config)
                    for name, chosen in todo.methods.items()
                    if method in chosen
                },
            }
            for method in METHODS
            if any(method in chosen for chosen in todo.methods.values())
        },
        "notes": _notes(todo),
    }
    facts = json.loads(json.dumps(facts))
    if (out / "evaluation.json").exists():
        before = read_facts(out)
        differs = [
            name for name in facts["tasks"] if before["tasks"].get(name, facts["tasks"][name]) != facts["tasks"][name]
        ]
        if differs or before["seed"] != config.seed:
            raise OutputExistsError(
                f"{out} holds an evaluation with other settings ({', '.join(differs) or 'seed'}). "
                "Choose another --out, or begin anew with --overwrite."
            )
        facts["tasks"] = before["tasks"] | facts["tasks"]
        for name, method in facts["methods"].items():
            method["settings"] = before["methods"].get(name, {"settings": {}})["settings"] | method["settings"]
        facts["methods"] = before["methods"] | facts["methods"]
        facts["notes"] = list(dict.fromkeys([*before["notes"], *facts["notes"]]))
    write_facts(out, facts)


def _task_facts(task: NamedTask) -> dict[str, Any]:
    modality = TASK_MODALITY[task.kind]
    return {
        "kind": task.kind,
        "modality": modality,
        "unit": "a.u." if modality == "MR" else "1/mm" if task.real else "HU",
        "words": task.words,
        "facts": asdict(task.config),
    }


def _notes(todo: Plan) -> list[str]:
    used = [todo.tasks[name] for name in dict.fromkeys(name for name, _ in todo.scans)]
    kinds = {TASK_MODALITY[task.kind] for task in used if not task.real}
    notes = [NOTES[modality] for modality in sorted(kinds, reverse=True)]
    if any(task.real for task in used):
        notes.append(REAL)
    trunks = sorted({t.config.trunk for t in todo.tasks.values() if t.config.trunk != "random"})
    if trunks:
        names = ", ".join(Path(trunk).stem for trunk in trunks)
        notes.append(
            f"No evaluated scan or person is among those the trunks were trained on ({names}; by code and hash)."
        )
    missed = {name for task in todo.tasks.values() for name in unavailable(task)}
    notes.extend(f"{name} was left out: the package {METHODS[name].needs} is not installed." for name in sorted(missed))
    notes.append("Peers' weights and iterations are those of the task's configuration, one for all scans.")
    return notes
