"""Options of the benchmarks of scans as they were acquired."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from medinr.cli.shared_options import parse_positive

Run = Callable[[argparse.Namespace, Callable[[str], None]], Table]

#: Adds a benchmark: its name, what runs it, and a line of help.
Add = Callable[[str, Run, str], argparse.ArgumentParser]


def add_acquired(add: Add) -> None:
    """Add ``acquired-noise``, ``spine-repeats`` and ``ct-dose``."""
    noise = add("acquired-noise", _noise, "Spoiled MR scans denoised blindly, beside baselines.")
    noise.add_argument("--data", type=Path, nargs="+", required=True, metavar="SCAN", help="magnitude MR scans")
    noise.add_argument(
        "--slices", type=parse_positive, default=8, metavar="N", help="of each scan (default: %(default)s)"
    )
    noise.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise (default: %(default)s)")
    _shared(noise, "brain_mr")

    repeats = add("spine-repeats", _repeats, "One of several repeats denoised, against the mean of the others.")
    repeats.add_argument("--data", type=Path, required=True, metavar="FILE", help="4D NIfTI file of repeats")
    repeats.add_argument(
        "--repeats",
        type=parse_positive,
        default=5,
        metavar="N",
        help="repeats that are denoised (default: %(default)s)",
    )
    _shared(repeats, "brain_mr")

    dose = add("ct-dose", _dose, "Low-dose CT with and without low-contrast inserts, against the reference.")
    dose.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="with ground_truth.raw and dose_010/")
    _shared(dose, "chest_ct")


def _shared(parser: argparse.ArgumentParser, model: str) -> None:
    parser.add_argument("--model", default=model, help="shipped model or .safetensors file (default: %(default)s)")
    parser.add_argument(
        "--baselines",
        nargs="+",
        default=[],
        metavar="NAME",
        help="such as BM4D (default: all whose library is installed)",
    )
    parser.add_argument(
        "--oracle", action="store_true", help="also every setting of every baseline; takes hours with BM4D"
    )


def _noise(options: argparse.Namespace, announce: Callable[[str], None]) -> Table:
    from benchmarks.acquired_noise import benchmark_acquired_noise

    return benchmark_acquired_noise(
        options.data,
        options.slices,
        options.model,
        options.baselines,
        options.out,
        oracle=options.oracle,
        seed=options.seed,
        overwrite=options.overwrite,
        announce=announce,
    )


def _repeats(options: argparse.Namespace, announce: Callable[[str], None]) -> Table:
    from benchmarks.acquired_repeats import benchmark_spine_repeats

    return benchmark_spine_repeats(
        options.data,
        options.repeats,
        options.model,
        options.baselines,
        options.out,
        oracle=options.oracle,
        overwrite=options.overwrite,
        announce=announce,
    )


def _dose(options: argparse.Namespace, announce: Callable[[str], None]) -> Table:
    from benchmarks.acquired_ct import benchmark_ct_dose

    return benchmark_ct_dose(
        options.data,
        options.model,
        options.baselines,
        options.out,
        oracle=options.oracle,
        overwrite=options.overwrite,
        announce=announce,
    )
