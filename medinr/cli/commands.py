"""One function per command that computes: it passes options to a pipeline, and prints the result."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from medinr.cli.bars import fit_bar, training_bars
from medinr.cli.reconstruct_arguments import OF_IMAGES
from medinr.cli.shared_options import choice_of, strict_code
from medinr.config import EvaluateConfig, ReconstructConfig, find_config, find_manifest, load_config, load_task_config
from medinr.errors import ConfigError, InputError
from medinr.io.manifest import read_manifest
from medinr.jobs.evaluate.requirements import judge, parse_requirement
from medinr.jobs.evaluate.sentences import regret_sentence
from medinr.jobs.evaluate.table import comparison_sentence, comparison_table, methods_of, tasks_of
from medinr.models.checkpoint import load_model, read_card, shipped_models
from medinr.uncertainty.bootstrap import REPEATS

if TYPE_CHECKING:
    from medinr.jobs.reconstruct.result import Reconstruction


def pretrain(options: argparse.Namespace, console: Console) -> None:
    """`medinr pretrain`."""
    from medinr.config.pretrain import PretrainConfig
    from medinr.pipelines.pretrain import pretrain as run

    path = find_config(options.config)
    config = load_config(PretrainConfig, path, options.overrides)
    with training_bars(console, config.training.steps, config.denoiser_steps) as bars:
        card = run(
            config,
            options.out,
            near=path.parent,
            overwrite=options.overwrite,
            progress=bars.network,
            prior_progress=bars.prior,
            follow_up_progress=bars.follow_ups,
        )
    console.print(
        f"Model {card.name}: {len(card.scans)} slices of {len(card.subjects)} subjects, "
        f"mean training PSNR {card.results['psnr_mean']:.2f} dB, in {options.out}"
    )


def reconstruct(options: argparse.Namespace, console: Console) -> int:
    """`medinr reconstruct`: 3 when ``--strict`` finds a warning."""
    from medinr.jobs.measure import refuse_scan
    from medinr.pipelines.reconstruct import reconstruct as run

    config = _reconstruction_config(options)
    refuse_scan(options.source, options.task)
    if options.of_images:
        raise ConfigError(f"{', '.join(OF_IMAGES)} are for images; {options.source.name} is none. Leave them out.")
    with fit_bar(console) as progress:
        result = run(
            options.source,
            options.out,
            config,
            slices=options.slices,
            sidecar=options.sidecar,
            auxiliary=options.auxiliary,
            fallback=options.fallback,
            overwrite=options.overwrite,
            progress=progress,
        )
    _print_reconstruction(result, result.notes, options.out, console)
    return strict_code(options, result.warnings)


def reconstruct_simulated(options: argparse.Namespace, console: Console) -> int:
    """`medinr reconstruct-simulated`: what it is of is said before anything is done, and again below the result."""
    from medinr.jobs.simulated import SIMULATED
    from medinr.pipelines.reconstruct_simulated import reconstruct_simulated as run

    config = _reconstruction_config(options)
    console.print(SIMULATED, highlight=False)
    with fit_bar(console) as progress:
        result = run(
            options.source,
            options.out,
            config,
            slices=options.slices,
            choice=choice_of(options),
            auxiliary=options.auxiliary,
            fallback=options.fallback,
            overwrite=options.overwrite,
            progress=progress,
            deidentify=options.deidentify,
        )
    _print_reconstruction(result, [note for note in result.notes if note != SIMULATED], options.out, console)
    console.print(SIMULATED, highlight=False)
    return strict_code(options, result.warnings)


def _reconstruction_config(options: argparse.Namespace) -> ReconstructConfig:
    config = load_task_config(options.task, options.overrides, method=options.method, model=options.model)
    if options.uncertainty and not config.uncertainty.repeats:
        config = replace(config, uncertainty=replace(config.uncertainty, repeats=REPEATS))
    return config


def _print_reconstruction(result: Reconstruction, notes: Sequence[str], out: Path, console: Console) -> None:
    for number, record in zip(result.measurement.slice_numbers, result.records, strict=True):
        console.print(f"slice {number}: {record.times['medinr']:.1f} s; {record.reason}", highlight=False)
    for note in notes:
        console.print(f"note: {note}", highlight=False)
    for warning in result.warnings:
        console.print(f"Warning: {warning}", style="yellow", highlight=False)
    if result.auxiliary is not None:
        console.print(result.auxiliary.sentence(), highlight=False)
    console.print(repr(result.volume), highlight=False)
    console.print(f"Written to {out}: {', '.join(sorted(p.name for p in out.iterdir()))}")


def simulate(options: argparse.Namespace, console: Console) -> None:
    """`medinr simulate`."""
    from medinr.pipelines.simulate import simulate as run

    measurement = run(
        options.source,
        options.out,
        load_task_config(options.task, options.overrides),
        slices=options.slices,
        overwrite=options.overwrite,
        choice=choice_of(options),
    )
    console.print(f"{measurement!r} written to {options.out}", highlight=False)


def evaluate(options: argparse.Namespace, console: Console) -> int:
    """`medinr evaluate`: 1 when a claim of --require does not hold."""
    from medinr.cli.progress import evaluation_progress
    from medinr.pipelines.evaluate import evaluate as run

    path = find_config(options.config)
    config = load_config(EvaluateConfig, path, options.overrides)
    config = replace(
        config,
        tasks=options.tasks or config.tasks,
        methods=options.methods or config.methods,
        models=tuple(options.models) or config.models,
    )
    manifest = read_manifest(find_manifest(options.manifest))
    with evaluation_progress(console) as watch:
        results = run(
            manifest,
            config,
            options.out,
            near=path.parent,
            require=options.require,
            workers=options.workers,
            overwrite=options.overwrite,
            watch=watch,
        )
    table = results.table
    for task in tasks_of(table):
        console.print(comparison_table(table, task), soft_wrap=False)
        console.print(comparison_sentence(table, task), highlight=False)
    if stopping := regret_sentence(table):
        console.print(stopping, highlight=False)
    console.print(f"Every number: {options.out / 'results.csv'}")
    methods = {task: methods_of(table, task) for task in tasks_of(table)}
    verdicts = [judge(parse_requirement(text, methods), table) for text in options.require]
    for verdict in verdicts:
        console.print(verdict.words, highlight=False)
    return 0 if all(verdict.held for verdict in verdicts) else 1


def report(options: argparse.Namespace, console: Console) -> None:
    """`medinr report`."""
    from medinr.pipelines.report import report as run
    from medinr.report import Budget

    written = run(
        options.folder,
        options.out,
        title=options.title,
        budget=Budget(options.megabytes),
        pdf=options.pdf,
        figures=options.figures,
        overwrite=options.overwrite,
    )
    page = written[0]
    console.print(
        f"{page}: {page.stat().st_size / 1e6:.1f} MB, opens in any browser without a network", highlight=False
    )
    if options.pdf:
        console.print(f"Printed: {page.with_suffix('.pdf')}", highlight=False)
    if options.figures:
        drawn = [path for path in written if path.parent != page.parent]
        console.print(f"{len(drawn)} figures: {page.with_name(page.stem + '_figures')}", highlight=False)


def models(options: argparse.Namespace, console: Console) -> None:
    """`medinr models`."""
    if options.name:
        from medinr.models.spectrum import freeze_depth, layer_spectra

        found = load_model(options.name)
        if found.card is None:
            raise InputError("Random weights have no card.")
        spectra = layer_spectra(found.trunk.weights)
        layers = {
            "layers": [asdict(spectrum) for spectrum in spectra],
            "freeze_up_to": {
                "layer": freeze_depth(spectra),
                "because": "highest stable rank (Sideri-Lampretsa et al. 2026, arXiv 2605.08298)",
            },
        }
        console.print_json(json.dumps(asdict(found.card) | layers))
        return
    for name, path in shipped_models().items():
        card = read_card(path)
        y, x = card.grid_shape
        console.print(
            f"{name}: {card.modality}, {len(card.scans)} slices of {len(card.subjects)} subjects, "
            f"{x} x {y} pixels of {card.grid_spacing[0]:g} mm, {card.unit}",
            highlight=False,
        )


def models_choose(options: argparse.Namespace, console: Console) -> None:
    """`medinr models choose`."""
    from medinr.jobs.choose_model import ranking, verdict
    from medinr.pipelines.choose_model import choose_model

    measurement, candidates = choose_model(
        options.source,
        load_task_config(options.task, options.overrides),
        models=options.models,
        slices=options.slices,
        sidecar=options.sidecar,
        announce=lambda name: console.print(f"{name} ...", highlight=False),
        choice=choice_of(options),
    )
    console.print(ranking(measurement, candidates), soft_wrap=False)
    console.print(verdict(measurement, candidates), highlight=False)


def check_operator(options: argparse.Namespace, console: Console) -> int:
    """`medinr check-operator`: 1 when a property fails."""
    from medinr.cli.targets import find_operator
    from medinr.operators import operator_report

    report = operator_report(find_operator(options.target), options.seed, options.tolerance)
    console.print(str(report), highlight=False)
    return 0 if report.ok else 1


def demo(options: argparse.Namespace, console: Console) -> None:
    """`medinr demo`."""
    from medinr.pipelines.demo import demo as run

    config = load_task_config("kspace")
    with fit_bar(console) as progress:
        scores = run(config, options.out, overwrite=options.overwrite, progress=progress)
    console.print(comparison_table(scores, "kspace"), soft_wrap=False)
    console.print(comparison_sentence(scores, "kspace"), highlight=False)
    console.print(f"Figure, NIfTI and JSON are in {Path(options.out)}.")
