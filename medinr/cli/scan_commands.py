"""The commands on scans, which load no PyTorch: they pass options to a pipeline, and print the result."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from medinr.cli.shared_options import choice_of


def inspect(options: argparse.Namespace, console: Console) -> int:
    """`medinr inspect`: 2 when nothing that is there can be used."""
    from medinr.pipelines.inspect import inspect as run

    found = run(
        options.path,
        choice=choice_of(options),
        sidecar=options.sidecar,
    )
    console.print(found.json() if options.json else found.text(), highlight=False)
    # Names of files may be those of patients: they stay out of what is piped into a file.
    for words in found.naming_files():
        print(f"medinr: {words}", file=sys.stderr)
    return 0 if found.usable else 2


def convert(options: argparse.Namespace, console: Console) -> None:
    """`medinr convert`."""
    from medinr.pipelines.convert import convert as run

    made = run(
        options.source,
        options.out,
        grid=options.grid,
        spacing=options.spacing,
        of=options.of,
        slices=options.slices,
        choice=choice_of(options),
        overwrite=options.overwrite,
        deidentify=options.deidentify,
    )
    console.print(repr(made.volume), highlight=False)
    for note in made.said():
        console.print(f"note: {note}", highlight=False)
    console.print(f"Written to {options.out}", highlight=False)
