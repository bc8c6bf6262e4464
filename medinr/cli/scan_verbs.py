"""The commands that treat a scan as it was acquired: they pass options to a pipeline, and print what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from rich.console import Console

from medinr.cli.shared_options import choice_of


def denoise(options: argparse.Namespace, console: Console) -> None:
    """`medinr denoise`."""
    console.print("Reading the scan ...", highlight=False)
    # Imported after the first line, as PyTorch takes a while to load.
    from medinr.cli.bars import stage_bars
    from medinr.jobs.scan.request import ScanRequest
    from medinr.pipelines.denoise import denoise as run

    request = ScanRequest(**_asked(options), each_alone=options.each_alone)
    with stage_bars(console) as bars:
        done = run(
            request,
            announce=_announce(console),
            progress=lambda slices, total: bars("denoising", slices, total),
            dry_run=options.dry_run,
        )
    if done is not None:
        _say(console, options, done.notes, done.outputs, done.seconds)


def superres(options: argparse.Namespace, console: Console) -> None:
    """`medinr superres`."""
    console.print("Reading the scan ...", highlight=False)
    from medinr.cli.bars import stage_bars
    from medinr.jobs.scan.request import ScanRequest
    from medinr.pipelines.superres import superres as run

    request = ScanRequest(**_asked(options))
    with stage_bars(console) as bars:
        done = run(
            request,
            spacing=options.spacing,
            factor=options.factor,
            like=options.like,
            slice_thickness=options.slice_thickness,
            announce=_announce(console),
            progress=lambda steps, total: bars("finer grid", steps, total),
            dry_run=options.dry_run,
        )
    if done is not None:
        _say(console, options, done.notes, done.outputs, done.seconds)


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    names = ("source", "out", "slices", "phase", "sigma", "noise_scan", "coils", "blend", "mask", "model", "method")
    named = {name: getattr(options, name) for name in (*names, "force", "overwrite", "deidentify")}
    return named | {"choice": choice_of(options)}


def _announce(console: Console) -> Callable[[str], None]:
    def say(words: str) -> None:
        console.print(words, highlight=False, style="yellow" if words.startswith("Warning:") else None)

    return say


def _say(
    console: Console, options: argparse.Namespace, notes: tuple[str, ...], outputs: tuple[str, ...], seconds: float
) -> None:
    for note in notes:
        console.print(f"note: {note}", highlight=False)
    console.print(f"Done in {seconds:.0f} s. Written to {options.out}: {', '.join(outputs)}", highlight=False)
    console.print("Compare with the scan as it was acquired: small structure can be removed, or invented.")
