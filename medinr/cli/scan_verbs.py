"""The commands that treat a scan as it was acquired: they pass options to a pipeline, and print what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from medinr.cli.shared_options import choice_of, strict_code

if TYPE_CHECKING:
    from medinr.jobs.scan.result import ScanOutcome


def denoise(options: argparse.Namespace, console: Console) -> int:
    """`medinr denoise`: 3 when ``--strict`` finds a warning."""
    console.print("Reading the scan ...", highlight=False)
    # Imported after the first line, as PyTorch takes a while to load.
    from medinr.cli.bars import stage_bars
    from medinr.jobs.scan.request import ScanRequest
    from medinr.pipelines.denoise import denoise as run

    said: list[str] = []
    request = ScanRequest(**_asked(options), each_alone=options.each_alone)
    with stage_bars(console) as bars:
        done = run(
            request,
            announce=_announce(console, said),
            progress=lambda slices, total: bars("denoising", slices, total),
            dry_run=options.dry_run,
        )
    return _say(console, options, done, said)


def superres(options: argparse.Namespace, console: Console) -> int:
    """`medinr superres`: 3 when ``--strict`` finds a warning."""
    console.print("Reading the scan ...", highlight=False)
    from medinr.cli.bars import stage_bars
    from medinr.jobs.scan.request import ScanRequest
    from medinr.pipelines.superres import superres as run

    said: list[str] = []
    request = ScanRequest(**_asked(options))
    with stage_bars(console) as bars:
        done = run(
            request,
            spacing=options.spacing,
            factor=options.factor,
            like=options.like,
            slice_thickness=options.slice_thickness,
            announce=_announce(console, said),
            progress=lambda steps, total: bars("finer grid", steps, total),
            dry_run=options.dry_run,
        )
    return _say(console, options, done, said)


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    names = ("source", "out", "slices", "phase", "sigma", "noise_scan", "coils", "blend", "mask", "model", "method")
    named = {name: getattr(options, name) for name in (*names, "force", "overwrite", "deidentify")}
    return named | {"choice": choice_of(options)}


def _announce(console: Console, said: list[str]) -> Callable[[str], None]:
    def say(words: str) -> None:
        said.append(words)
        console.print(words, highlight=False, style="yellow" if words.startswith("Warning:") else None)

    return say


def _say(console: Console, options: argparse.Namespace, done: ScanOutcome | None, said: Sequence[str]) -> int:
    """Print what is not said yet of a result, if there is one, and give the exit code."""
    if done is None:
        return 0
    for note in done.notes:
        console.print(f"note: {note}", highlight=False)
    for words in (f"Warning: {warning}" for warning in done.warnings):
        if words not in said:
            console.print(words, highlight=False, style="yellow")
    console.print(f"Done in {done.seconds:.0f} s. Written to {options.out}: {', '.join(done.outputs)}", highlight=False)
    console.print("Compare with the scan as it was acquired: small structure can be removed, or invented.")
    return strict_code(options, done.warnings)
