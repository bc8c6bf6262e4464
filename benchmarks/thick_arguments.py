"""Options of the benchmark of thick slices."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from medinr.errors import ConfigError

Run = Callable[[argparse.Namespace, Callable[[str], None]], Table]


def add_thick(add: Callable[[str, Run, str], argparse.ArgumentParser]) -> None:
    """Add ``thick-slices``."""
    thick = add("thick-slices", _thick, "Scans made of thick slices, sharpened, beside cubic B-splines.")
    thick.add_argument("--data", type=Path, nargs="+", required=True, metavar="SCAN", help="magnitude MR scans")
    thick.add_argument(
        "--planes",
        type=int,
        default=12,
        metavar="N",
        help="planes across the slices, in the middle, that are sharpened (default: 12)",
    )
    thick.add_argument(
        "--profile", choices=("gaussian", "rect"), default="gaussian", help="of the slices that are made"
    )
    thick.add_argument("--model", default="brain_mr", help="shipped model or .safetensors file (default: %(default)s)")


def _thick(options: argparse.Namespace, announce: Callable[[str], None]) -> Table:
    from benchmarks.thick_slices import benchmark_thick_slices

    if options.planes < 1:
        raise ConfigError(f"thick-slices wants --planes of 1 or more; got {options.planes}.")
    return benchmark_thick_slices(
        options.data,
        options.planes,
        options.profile,
        options.model,
        options.out,
        overwrite=options.overwrite,
        announce=announce,
    )
