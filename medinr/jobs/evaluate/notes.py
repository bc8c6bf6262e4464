"""Settings, versions and caveats of an evaluation, written to its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medinr.acquisition.acquired_image import AcquiredImage
from medinr.acquisition.acquired_repeat import AcquiredRepeat
from medinr.acquisition.acquired_thick import AcquiredThick
from medinr.acquisition.ways import acquisition_class
from medinr.config import EvaluateConfig
from medinr.config.protocol import NamedTask
from medinr.errors import OutputExistsError
from medinr.jobs.evaluate.plan import Plan
from medinr.jobs.evaluate.results import FORMAT, read_facts, write_facts
from medinr.jobs.methods.registry import METHODS, unavailable
from medinr.jobs.record import versions
from medinr.jobs.settings_facts import settings_facts
from medinr.models.model import RANDOM

#: Caveats of simulated measurements, by modality.
NOTES = {
    "MR": "MR scans are magnitude images: undersampling simulated from them gives better images than a scanner's.",
    "CT": "CT measurements are simulated from reconstructed slices by the projector that reconstructs them.",
}

#: Caveat of image files of which nothing else is given.
BLIND = "Noise was added to image files, and no method is told how much; the scans' own noise is in the references."

#: Caveat of MR references.
OWN_NOISE = (
    "A reference has noise of its own, which is estimated from the whole MR scan before anything is simulated; no "
    "method sees the estimate. PSNR and the other metrics count it as error. psnr_corrected takes its variance off the "
    "squared error; at least 5 % of the variance is left, or all of the error where that is less. This assumes that "
    "the error does not correlate with the reference's noise. It does where a method keeps some of the noise of its "
    "input, which has the reference's in it: then psnr_corrected is too high. Compare methods by PSNR; psnr_corrected "
    "shows how much of the error is the reference's own noise."
)

#: Caveat of repeats.
REPEATS = (
    "One of several real repeats of an acquisition was given, and no method is told its noise. The reference is the "
    "mean of the others, without what the brightness of whole volumes drifts by. Its own noise, the variance of the "
    "others over their number, is subtracted from the squared error of PSNR and NRMSE, not in SSIM, HFEN and GMSD; at "
    "least 5 % of the variance is left, or all of the error where that is less. This noise is independent of what "
    "methods are given, so PSNR itself is corrected here, and psnr_corrected is not given. "
    "A mean of magnitudes keeps the bias of their noise. Every method but the input takes that bias out, so it is put "
    "back into their images, by the noise found from all repeats. Motion and pulse between repeats count as noise."
)

#: Caveat of files of thick slices.
THICK = (
    "Thick slices were made of finer scans, and no method is told their profile or noise; the judged planes lie across "
    "them."
)

#: Caveat of raw data.
REAL = "The reference of raw data is the image of all of them, noise included: no method can be free of error."


def note_settings(out: Path, config: EvaluateConfig, todo: Plan) -> None:
    """Write ``evaluation.json``, or add to it.

    Raises
    ------
    OutputExistsError
        When the folder holds an evaluation with other settings.
    """
    facts: dict[str, Any] = {
        "format": FORMAT,
        "settings": settings_facts(config),
        "versions": versions(),
        "seed": config.seed,
        "tasks": {name: _task_facts(task) for name, task in todo.tasks.items()},
        "methods": {
            method: {
                "words": METHODS[method].words,
                "settings": {
                    name: settings_facts(METHODS[method].settings(todo.tasks[name].config))
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
        before = _without_folders(read_facts(out))
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


def _without_folders(facts: dict[str, Any]) -> dict[str, Any]:
    """Reduce settings that an earlier version wrote with paths."""
    tasks = {
        name: task | {"facts": settings_facts(task["facts"])} if "facts" in task else task
        for name, task in facts["tasks"].items()
    }
    methods = {
        name: method | {"settings": settings_facts(method["settings"])} if "settings" in method else method
        for name, method in facts["methods"].items()
    }
    return facts | {"tasks": tasks, "methods": methods}


def _task_facts(task: NamedTask) -> dict[str, Any]:
    modality = acquisition_class(task.kind).modality
    return {
        "kind": task.kind,
        "modality": modality,
        "unit": "a.u." if modality == "MR" else "1/mm" if task.real else "HU",
        "words": task.words,
        "facts": settings_facts(task.config),
    }


def _notes(todo: Plan) -> list[str]:
    used = [todo.tasks[name] for name in dict.fromkeys(name for name, _ in todo.scans)]
    simulated = [acquisition_class(task.kind) for task in used if not task.real]
    kinds = {kind.modality for kind in simulated if kind.tells_noise}
    notes = [NOTES[modality] for modality in sorted(kinds, reverse=True)]
    repeated = [one for one in simulated if issubclass(one, AcquiredRepeat)]
    spoiled = [one for one in simulated if one not in repeated]
    if any(issubclass(one, AcquiredImage) for one in spoiled):
        notes.append(BLIND)
    if any(one.modality == "MR" for one in spoiled):
        notes.append(OWN_NOISE)
    if repeated:
        notes.append(REPEATS)
    if any(issubclass(one, AcquiredThick) for one in spoiled):
        notes.append(THICK)
    if any(task.real for task in used):
        notes.append(REAL)
    models = sorted({t.config.model for t in todo.tasks.values() if t.config.model != RANDOM})
    if models:
        names = ", ".join(Path(model).stem for model in models)
        notes.append(
            f"No evaluated scan or person is among those the models were trained on ({names}; by code and hash)."
        )
    missed = {name for task in todo.tasks.values() for name in unavailable(task)}
    notes.extend(f"{name} was left out: {METHODS[name].lacks}." for name in sorted(missed))
    notes.append("Baselines' weights and iterations are those of the task's configuration, one for all scans.")
    return notes
