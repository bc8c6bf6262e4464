"""The commands on manifests: they pass options to the pipeline, and print what it found."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from medinr.cli.bars import stage_bars
from medinr.config import find_manifest
from medinr.io.manifest import SPLITS, Manifest
from medinr.jobs.inspect.describe import describe_manifest
from medinr.jobs.manifest.build import BuildSettings, Built, Copy
from medinr.jobs.manifest.pseudonyms import salt_path

#: Lines of a list that are printed.
_MOST_LINES = 40


def manifest(options: argparse.Namespace, console: Console) -> None:
    """`medinr manifest`."""
    console.print(describe_manifest(find_manifest(options.manifest)), highlight=False)


def manifest_build(options: argparse.Namespace, console: Console) -> None:
    """`medinr manifest build`."""
    from medinr.pipelines.manifest import build

    settings = BuildSettings(options.licence, options.split, options.seed, options.subject_from)
    with stage_bars(console) as progress:
        built = build(
            options.folder, options.out, settings, salt=options.salt, overwrite=options.overwrite, progress=progress
        )
    _print_excluded(built, console)
    _print_copies(built.copies, console)
    console.print(_table(built.manifest))
    if built.kept:
        console.print(f"{built.kept} persons keep the split that they had in the manifest replaced.", highlight=False)
    console.print(f"{len(built.manifest)} scans are listed in {options.out}.", highlight=False)
    if options.salt is None:
        console.print(
            f"The salt of the pseudonyms is {salt_path(options.out)}: keep it for later builds, and give it to nobody.",
            highlight=False,
        )
    console.print(
        "Names of files and folders stand in the manifest as they are. Do they name patients? Then rename them first.",
        highlight=False,
    )


def manifest_verify(options: argparse.Namespace, console: Console) -> int:
    """`medinr manifest verify`: 2 when something is wrong."""
    from medinr.pipelines.manifest import verify

    with stage_bars(console) as progress:
        findings = verify(options.manifest, images=not options.hashes_only, progress=progress)
    if findings:
        table = Table(box=SIMPLE, pad_edge=False)
        for column in ("finding", "scan or person", "what"):
            table.add_column(column, overflow="fold")
        for finding in sorted(findings, key=lambda one: not one.wrong):
            table.add_row(finding.kind if finding.wrong else f"note: {finding.kind}", finding.scan, finding.words)
        console.print(table, soft_wrap=False)
    wrong = Counter(finding.kind for finding in findings if finding.wrong)
    compared = "hashes" if options.hashes_only else "hashes and pictures"
    verdict = ", ".join(f"{count} x {kind}" for kind, count in wrong.items())
    console.print(f"Wrong: {verdict}." if wrong else f"Nothing is wrong ({compared}).", highlight=False)
    return 2 if wrong else 0


def manifest_split(options: argparse.Namespace, console: Console) -> None:
    """`medinr manifest split`."""
    from medinr.pipelines.manifest import split

    new = split(
        options.manifest, options.out, fractions=options.fractions, seed=options.seed, overwrite=options.overwrite
    )
    console.print(_table(new))
    console.print(f"Written to {options.out}. `medinr manifest verify` compares the pictures of the splits.")


def _table(rows: Manifest) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("split")
    for column in ("persons", "scans", "MR", "CT"):
        table.add_column(column, justify="right")
    table.add_column("contrasts", overflow="fold")
    for split in SPLITS:
        part = rows.select(split=split)
        if len(part):
            modalities = Counter(row.modality for row in part)
            contrasts = Counter(row.contrast for row in part if row.contrast)
            table.add_row(
                split,
                str(len({row.subject for row in part})),
                str(len(part)),
                str(modalities["MR"]),
                str(modalities["CT"]),
                ", ".join(f"{count} {name}" for name, count in sorted(contrasts.items())),
            )
    return table


def _print_excluded(built: Built, console: Console) -> None:
    if built.excluded:
        console.print(f"{len(built.excluded)} left out:", highlight=False)
        _print_some((f"  {one.name}: {one.reason}" for one in built.excluded), console)
    if built.others:
        others = ", ".join(f"{count} x {kind}" for kind, count in sorted(built.others.items()))
        console.print(f"Other files: {others}", highlight=False)


def _print_copies(copies: Iterable[Copy], console: Console) -> None:
    across = [copy for copy in copies if len(copy.subjects) > 1]
    within = [copy for copy in copies if len(copy.subjects) == 1]
    for found, words in (
        (across, "pairs are the same picture under two persons, who were put in one split. Are they one person?"),
        (within, "pairs of one person are the same picture (another format, another filter)."),
    ):
        if found:
            console.print(f"{len(found)} {words}", style="yellow" if found is across else None, highlight=False)
            _print_some((f"  {one.one} = {one.other} (distance {one.distance:.3f})" for one in found), console)


def _print_some(lines: Iterable[str], console: Console) -> None:
    every = list(lines)
    for line in every[:_MOST_LINES]:
        console.print(line, highlight=False)
    if len(every) > _MOST_LINES:
        console.print(f"  and {len(every) - _MOST_LINES} more", highlight=False)
